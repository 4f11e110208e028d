"""The study's answers as tables: the table that the analysis reads, MTurk's results, and the participants."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_urlsafe

import pandas as pd

from eval.analysis.preference import ANSWERS, NEEDED, checked_answers
from eval.analysis.tables import read_table
from eval.annotation.assignment import SIDES
from eval.annotation.database import now
from eval.annotation.study import UserStudy, short_hash
from instructedit.files import write_aside
from instructedit.types import ConfigError

ANSWERS_FILE, MTURK_FILE, PARTICIPANTS_FILE = "answers.csv", "mturk.csv", "participants.csv"
MTURK = (
    "HITId", "HITTypeId", "Title", "Description", "Keywords", "Reward", "CreationTime", "MaxAssignments",
    "RequesterAnnotation", "AssignmentDurationInSeconds", "AutoApprovalDelayInSeconds", "Expiration",
    "NumberOfSimilarHITs", "LifetimeInSeconds", "AssignmentId", "WorkerId", "AssignmentStatus", "AcceptTime",
    "SubmitTime", "AutoApprovalTime", "ApprovalTime", "RejectionTime", "RequesterFeedback", "WorkTimeInSeconds",
    "LifetimeApprovalRate", "Last30DaysApprovalRate", "Last7DaysApprovalRate", "Input.sample_id", "Input.image_id",
    "Input.instruction", "Input.left", "Input.right", "Input.reference", "Answer.choice", "Approve", "Reject",
)  # fmt: skip
"""The columns of a batch's results on MTurk; a task's own are ``Input.`` and ``Answer.``."""
_MTURK_TIME = "%a %b %d %H:%M:%S UTC %Y"
_REJECTED = "Rejected"
_FAILURES = """
SELECT p.id, coalesce(p.imported_failures, (
  SELECT count(*) FROM items JOIN answers USING (participant, place)
  WHERE participant = p.id AND check_side IS NOT NULL AND choice != check_side
)) AS failures FROM participants p
"""


def answers(study: UserStudy, allowed_failures: int) -> pd.DataFrame:
    """Return all answers but those of participants who have withdrawn, see :mod:`eval.analysis.preference`.

    Args:
        study: The study.
        allowed_failures: Number of attention checks that a participant may fail.
    """
    with study.database.read() as db:
        rows = db.execute(
            f"""
            SELECT p.code AS participant, f.failures <= ? AS passed, place, sample_id, image_id, instruction,
              r.method AS reference, b.method AS baseline, reference_side AS side, choice, shown, given AS answered
            FROM answers JOIN items USING (participant, place) JOIN participants p ON p.id = participant
            JOIN ({_FAILURES}) f ON f.id = p.id JOIN samples s ON s.id = items.sample
            JOIN edits b ON b.id = baseline JOIN edits r ON r.sample = s.id AND r.is_reference
            WHERE check_side IS NULL AND p.id NOT IN (SELECT participant FROM withdrawals) ORDER BY p.id, place
            """,
            (allowed_failures,),
        ).fetchall()
    table = pd.DataFrame([tuple(row) for row in rows], columns=list(ANSWERS))
    return table.assign(passed=table["passed"].astype(bool))


def participants(study: UserStudy, allowed_failures: int) -> pd.DataFrame:
    """Return a row for each participant who has not withdrawn.

    It has the code in other tables, Prolific's ids, times, and the number of failed checks.
    """
    with study.database.read() as db:
        rows = db.execute(
            f"""
            SELECT code AS participant, prolific_pid, study_id, session_id, source, consented, finished, failures,
              failures <= ? AS passed, (SELECT count(*) FROM items WHERE participant = p.id) AS items,
              (SELECT count(*) FROM answers WHERE participant = p.id) AS answers
            FROM participants p JOIN ({_FAILURES}) f USING (id)
            WHERE id NOT IN (SELECT participant FROM withdrawals) ORDER BY p.id
            """,
            (allowed_failures,),
        ).fetchall()
    table = pd.DataFrame([dict(row) for row in rows])
    return table.assign(passed=table["passed"].astype(bool)) if len(table) else table


def export(study: UserStudy, allowed_failures: int, out: Path) -> dict[str, int]:
    """Write the answers, the same as MTurk's results, and the participants; return the rows of each file.

    Only the participants' file has ids of Prolific.
    """
    table = answers(study, allowed_failures)
    tables = {
        ANSWERS_FILE: table, MTURK_FILE: to_mturk(table), PARTICIPANTS_FILE: participants(study, allowed_failures),
    }  # fmt: skip
    for name, content in tables.items():
        with write_aside(out / name) as file:
            file.write(content.to_csv(index=False).encode())
    return {name: len(content) for name, content in tables.items()}


def to_mturk(table: pd.DataFrame) -> pd.DataFrame:
    """Return answers as the results of a batch on MTurk: a HIT for each triplet, an assignment for each answer."""
    rows = []
    for row in table.to_dict("records"):
        left, right = row["reference"], row["baseline"]
        if row["side"] != SIDES[0]:
            left, right = right, left
        shown, answered = (None if pd.isna(row[k]) else datetime.fromisoformat(row[k]) for k in ("shown", "answered"))
        seconds = None if shown is None or answered is None else round((answered - shown).total_seconds())
        rows.append({
            "HITId": short_hash(row["sample_id"], left, right),
            "HITTypeId": short_hash("study"),
            "Title": "Compare two edits of an image",
            "AssignmentId": short_hash(row["participant"], row["sample_id"], row["baseline"]),
            "WorkerId": row["participant"],
            "AssignmentStatus": "Approved" if row["passed"] else _REJECTED,
            "AcceptTime": None if shown is None else shown.strftime(_MTURK_TIME),
            "SubmitTime": None if answered is None else answered.strftime(_MTURK_TIME),
            "WorkTimeInSeconds": seconds,
            "Input.sample_id": row["sample_id"], "Input.image_id": row["image_id"],
            "Input.instruction": row["instruction"], "Input.left": left, "Input.right": right,
            "Input.reference": row["reference"], "Answer.choice": row["choice"],
        })  # fmt: skip
    return pd.DataFrame(rows, columns=list(MTURK))


def from_mturk(table: pd.DataFrame, place: str) -> pd.DataFrame:
    """Return the results of a batch on MTurk as answers.

    Args:
        table: The columns ``WorkerId``, ``Input.sample_id``, ``Input.left``, ``Input.right`` and ``Input.reference``,
            and ``Answer.choice``, or ``Answer.choice.left`` and ``Answer.choice.right`` as Crowd HTML writes radio
            buttons. Assignments that were rejected are those of participants who failed the checks.
        place: The table's name in messages.

    Raises:
        ConfigError: A column is missing, or a value is not accepted.
    """
    for side in SIDES:
        if (column := f"Answer.choice.{side}") in table.columns:
            is_chosen = table[column].astype(str).str.lower() == "true"
            chosen = table.get("Answer.choice", pd.Series(index=table.index, dtype=object))
            table = table.assign(**{"Answer.choice": chosen.mask(is_chosen, side)})
    names = ("WorkerId", "Input.sample_id", "Input.left", "Input.right", "Input.reference", "Answer.choice")
    if missing := [name for name in names if name not in table.columns]:
        raise ConfigError(f"{place}: lacks the columns {', '.join(missing)}; needed are {', '.join(names)}")
    is_left = table["Input.reference"] == table["Input.left"]
    is_right = table["Input.reference"] == table["Input.right"]
    if (wrong := is_left == is_right).any():
        row = int(wrong.to_numpy().argmax())
        raise ConfigError(f"{place}: row {row + 2}: Input.reference is accepted in one of Input.left and Input.right")
    found = pd.DataFrame({
        "participant": table["WorkerId"], "sample_id": table["Input.sample_id"], "reference": table["Input.reference"],
        "baseline": table["Input.right"].where(is_left, table["Input.left"]),
        "side": is_left.map(dict(zip((True, False), SIDES, strict=True))), "choice": table["Answer.choice"],
    })  # fmt: skip
    for column, theirs in (("image_id", "Input.image_id"), ("instruction", "Input.instruction")):
        if theirs in table.columns:
            found[column] = table[theirs]
    if "AssignmentStatus" in table.columns:
        found["passed"] = (table["AssignmentStatus"] != _REJECTED).map(str)
    for column, theirs in (("shown", "AcceptTime"), ("answered", "SubmitTime")):
        if theirs in table.columns:
            found[column] = [_iso(value) for value in table[theirs]]
    return found


def _iso(value: object) -> str | None:
    try:
        return datetime.strptime(f"{value} +0000", f"{_MTURK_TIME} %z").isoformat()
    except ValueError:  # another time zone or none: the time is only shown
        return None


def read_results(path: Path) -> pd.DataFrame:
    """Read a table of answers, in our columns or in MTurk's.

    Raises:
        ConfigError: It is neither.
    """
    table = read_table(path, "answers")
    if "WorkerId" in table.columns and not set(NEEDED) <= set(table.columns):
        table = from_mturk(table, str(path))
    return checked_answers(table, str(path))


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    added: int
    known: int
    """Answers that the study has already."""
    contradicting: int
    """Of those, the ones with another choice; the study keeps its own."""


def import_results(study: UserStudy, table: pd.DataFrame, allowed_failures: int, place: str) -> Imported:
    """Add answers that were given elsewhere, all or none; one that the study has is not counted twice.

    Args:
        study: A study with the same samples and methods.
        table: From :func:`read_results`.
        allowed_failures: Number of attention checks that a participant may fail.
        place: The table's name in messages.

    Raises:
        ConfigError: A row names a sample or a method that the study does not have.
    """
    added = known = contradicting = 0
    with study.database.write() as db:
        edits = {
            (row["sample_id"], row["method"]): row
            for row in db.execute("SELECT e.*, sample_id FROM edits e JOIN samples s ON s.id = e.sample")
        }
        for number, row in enumerate(table.to_dict("records"), start=2):
            reference = edits.get((row["sample_id"], row["reference"]))
            baseline = edits.get((row["sample_id"], row["baseline"]))
            if reference is None or baseline is None or not reference["is_reference"] or baseline["is_reference"]:
                methods = ", ".join(sorted({method for _, method in edits}))
                asked = f"{row['reference']} with {row['baseline']} on sample {row['sample_id']!r}"
                raise ConfigError(
                    f"{place}: row {number}: the study does not compare {asked}; its methods are {methods}"
                )
            participant = _participant(db, row, allowed_failures)
            stored = db.execute(
                "SELECT place, choice FROM items LEFT JOIN answers USING (participant, place)"
                " WHERE participant = ? AND baseline = ? AND check_side IS NULL",
                (participant, baseline["id"]),
            ).fetchone()
            if stored is not None and stored["choice"] is not None:
                known += 1
                contradicting += stored["choice"] != row["choice"]
                continue
            if stored is None:
                place_ = db.execute(
                    "SELECT coalesce(max(place), 0) + 1 FROM items WHERE participant = ?", (participant,)
                ).fetchone()[0]
                own = participant, place_, baseline["sample"], baseline["id"], row["side"], row["shown"]
                db.execute("INSERT INTO items VALUES (?, ?, ?, ?, ?, NULL, ?)", own)
            else:
                place_ = stored["place"]
                key = row["side"], participant, place_
                db.execute("UPDATE items SET reference_side = ? WHERE participant = ? AND place = ?", key)
            given = row["answered"] or now()
            db.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", (participant, place_, row["choice"], given))
            added += 1
    return Imported(added, known, contradicting)


def _participant(db: sqlite3.Connection, row: dict[str, object], allowed_failures: int) -> int:
    known = db.execute("SELECT id FROM participants WHERE code = ?", (row["participant"],)).fetchone()
    if known is not None:
        return int(known["id"])
    moment, code = now(), row["participant"]
    failures = 0 if row["passed"] else allowed_failures + 1
    # Nobody knows the token, so nobody can continue an imported participant.
    found = db.execute(
        "INSERT INTO participants (token, code, source, imported_failures, consented, seen, finished)"
        " VALUES (?, ?, 'import', ?, ?, ?, ?)",
        (token_urlsafe(18), code, failures, moment, moment, moment),
    )
    assert found.lastrowid is not None
    return found.lastrowid
