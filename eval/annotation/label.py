"""Labels of components by people: cases and verdicts in one file, to which verdicts are only ever added."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pandas as pd

from eval.analysis.components import COMPONENTS
from eval.annotation.cases import PICTURES, Case
from eval.annotation.database import Database, add_picture, now

KIND = "labels 1"
COLUMNS = ("id", "run_id", "image_id", "annotator", *COMPONENTS, "comment", "given")
_SCHEMA = """
CREATE TABLE cases (
  id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, sample_id TEXT NOT NULL, image_id TEXT NOT NULL,
  instruction TEXT NOT NULL, texts TEXT NOT NULL, asked TEXT NOT NULL, fingerprint TEXT NOT NULL,
  source TEXT REFERENCES pictures, marked TEXT REFERENCES pictures, edited TEXT REFERENCES pictures,
  is_current INTEGER NOT NULL, UNIQUE (run_id, sample_id, fingerprint)
) STRICT;
CREATE TABLE verdicts (
  id INTEGER PRIMARY KEY AUTOINCREMENT, case_id INTEGER NOT NULL REFERENCES cases, annotator TEXT NOT NULL,
  language INTEGER, segmenter INTEGER, editor INTEGER, comment TEXT NOT NULL, is_skipped INTEGER NOT NULL,
  given TEXT NOT NULL
) STRICT;
CREATE INDEX verdicts_of ON verdicts (annotator, case_id);
"""
_LATEST = "SELECT max(id) AS id, min(id) AS first, case_id, annotator FROM verdicts GROUP BY case_id, annotator"


@dataclass(frozen=True)
class Verdict:
    """What an annotator says about a case."""

    right: Mapping[str, bool | None]
    """By component; None where nothing was said."""
    comment: str = ""
    is_skipped: bool = False


@dataclass(frozen=True)
class Shown:
    """A case as an annotator sees it."""

    id: int
    instruction: str
    texts: Mapping[str, str]
    asked: tuple[str, ...]
    pictures: tuple[str, ...]
    verdict: Verdict | None
    """The annotator's last one."""
    seen: int
    """Number of that verdict, 0 for none; a form returns it, so that an old form overwrites nothing."""
    before: int | None
    """The case that the annotator labelled before this one."""


@dataclass(frozen=True)
class Progress:
    """How far an annotator is."""

    labelled: int
    skipped: tuple[int, ...]
    """Cases."""
    total: int


class LabelStore:
    """Cases and verdicts in one file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path, KIND, _SCHEMA)

    def add(self, cases: Iterable[Case]) -> int:
        """Add the cases that the file does not have, and return their number; verdicts on others stay.

        A case of a sample whose edit was replaced takes the place of the earlier one.
        """
        with self.database.write() as db:
            known = {
                (row["run_id"], row["sample_id"], row["fingerprint"]): row["id"]
                for row in db.execute("SELECT id, run_id, sample_id, fingerprint FROM cases")
            }
            new = 0
            for case in cases:
                key = case.run_id, case.sample_id, case.fingerprint
                if key not in known:
                    known[key] = self._insert(db, case)
                    new += 1
                db.execute(
                    "UPDATE cases SET is_current = (id = ?) WHERE run_id = ? AND sample_id = ?", (known[key], *key[:2])
                )
        return new

    @staticmethod
    def _insert(db: sqlite3.Connection, case: Case) -> int:
        digests = [add_picture(db, case.pictures[name]) if name in case.pictures else None for name in PICTURES]
        texts, asked = json.dumps(dict(case.texts)), " ".join(case.asked)
        found = db.execute(
            "INSERT INTO cases (run_id, sample_id, image_id, instruction, texts, asked, fingerprint, source, marked,"
            " edited, is_current) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
            (case.run_id, case.sample_id, case.image_id, case.instruction, texts, asked, case.fingerprint, *digests),
        ).lastrowid
        assert found is not None
        return found

    def next(self, annotator: str) -> int | None:
        """Return the first case in the annotator's own random order that has no verdict, not even a skip."""
        with self.database.read() as db:
            ids = [row["id"] for row in db.execute("SELECT id FROM cases WHERE is_current ORDER BY id")]
            done = {
                row["case_id"] for row in db.execute("SELECT case_id FROM verdicts WHERE annotator = ?", (annotator,))
            }
        Random(annotator).shuffle(ids)
        return next((i for i in ids if i not in done), None)

    def case(self, annotator: str, case: int) -> Shown | None:
        """Return a case; None if there is none with this number."""
        with self.database.read() as db:
            row = db.execute("SELECT * FROM cases WHERE id = ?", (case,)).fetchone()
            if row is None:
                return None
            last = self._last(db, annotator, case)
            first = db.execute(f"SELECT first FROM ({_LATEST}) WHERE annotator = ? AND case_id = ?", (annotator, case))
            mine = first.fetchone()
            before = db.execute(
                f"SELECT case_id FROM ({_LATEST}) WHERE annotator = ? AND first < ? ORDER BY first DESC LIMIT 1",
                (annotator, 2**62 if mine is None else mine["first"]),
            ).fetchone()
        verdict = None if last is None else _verdict(last)
        pictures = tuple(name for name in PICTURES if row[name] is not None)
        texts, asked = json.loads(row["texts"]), tuple(row["asked"].split())
        seen, earlier = 0 if last is None else last["id"], None if before is None else before["case_id"]
        return Shown(case, row["instruction"], texts, asked, pictures, verdict, seen, earlier)

    def save(self, annotator: str, case: int, verdict: Verdict, seen: int) -> bool | None:
        """Store a verdict durably.

        Args:
            annotator: The annotator's name.
            case: The case's number.
            verdict: The verdict.
            seen: Number of the verdict that the annotator saw, from :class:`Shown`.

        Returns:
            Whether the verdict is now the annotator's last one. It is not if another one was stored since ``seen``, by
            another tab; None if there is no such case.
        """
        with self.database.write() as db:
            if db.execute("SELECT 1 FROM cases WHERE id = ?", (case,)).fetchone() is None:
                return None
            last = self._last(db, annotator, case)
            if last is not None and _verdict(last) == verdict:
                return True
            if (0 if last is None else last["id"]) != seen:
                return False
            values = [verdict.right.get(c) for c in COMPONENTS]
            db.execute(
                "INSERT INTO verdicts (case_id, annotator, language, segmenter, editor, comment, is_skipped, given)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (case, annotator, *values, verdict.comment, verdict.is_skipped, now()),
            )
        return True

    @staticmethod
    def _last(db: sqlite3.Connection, annotator: str, case: int) -> sqlite3.Row | None:
        found: sqlite3.Row | None = db.execute(
            "SELECT * FROM verdicts WHERE annotator = ? AND case_id = ? ORDER BY id DESC LIMIT 1", (annotator, case)
        ).fetchone()
        return found

    def progress(self, annotator: str) -> Progress:
        """Return how far an annotator is."""
        with self.database.read() as db:
            total = db.execute("SELECT count(*) FROM cases WHERE is_current").fetchone()[0]
            rows = db.execute(
                f"SELECT v.case_id, v.is_skipped FROM ({_LATEST}) l JOIN verdicts v USING (id)"
                " JOIN cases c ON c.id = v.case_id WHERE v.annotator = ? AND is_current ORDER BY l.first",
                (annotator,),
            ).fetchall()
        skipped = tuple(row["case_id"] for row in rows if row["is_skipped"])
        return Progress(len(rows) - len(skipped), skipped, total)

    def annotators(self) -> list[str]:
        """Return the names of all who gave a verdict."""
        with self.database.read() as db:
            return [row[0] for row in db.execute("SELECT DISTINCT annotator FROM verdicts ORDER BY 1")]

    def picture(self, case: int, which: str) -> bytes | None:
        """Return a picture of a case as PNG, one of :data:`eval.annotation.cases.PICTURES`; None if it has none."""
        if which not in PICTURES:
            return None
        with self.database.read() as db:
            row = db.execute(f"SELECT {which} FROM cases WHERE id = ?", (case,)).fetchone()
        return None if row is None or row[0] is None else self.database.picture(row[0])

    def table(self) -> pd.DataFrame:
        """Return the last verdicts that are no skips, as :func:`eval.analysis.components.read_labels` reads them."""
        with self.database.read() as db:
            rows = db.execute(
                "SELECT sample_id, run_id, image_id, v.annotator, language, segmenter, editor, comment, given"
                f" FROM ({_LATEST}) l JOIN verdicts v USING (id) JOIN cases c ON c.id = v.case_id"
                " WHERE is_current AND NOT is_skipped ORDER BY v.annotator, l.first"
            ).fetchall()
        table = pd.DataFrame([tuple(row) for row in rows], columns=list(COLUMNS))
        return table.astype(dict.fromkeys(COMPONENTS, "boolean"))


def _verdict(row: sqlite3.Row) -> Verdict:
    right = {c: None if row[c] is None else bool(row[c]) for c in COMPONENTS}
    return Verdict(right, row["comment"], bool(row["is_skipped"]))
