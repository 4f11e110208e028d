"""The user study of the paper's appendix E.4: participants, what each one sees, and their answers, in one file."""

import hashlib
import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from eval.annotation.assignment import SIDES, assign
from eval.annotation.database import Database, add_picture, now
from eval.annotation.triplets import Triplets
from instructedit.files import canonical_json
from instructedit.types import ConfigError

KIND = "study 1"
ABANDONED = timedelta(hours=1)
"""After this time without an answer, a participant's unanswered items no longer count in the balance."""
CHECK = "Attention check: please choose the image on the {side}."
"""The instruction of an attention check."""
INPUT = "input"
PICTURES = (INPUT, *SIDES)
_SCHEMA = """
CREATE TABLE samples (
  id INTEGER PRIMARY KEY, sample_id TEXT NOT NULL UNIQUE, image_id TEXT NOT NULL, instruction TEXT NOT NULL,
  picture TEXT NOT NULL REFERENCES pictures
) STRICT;
CREATE TABLE edits (
  id INTEGER PRIMARY KEY, sample INTEGER NOT NULL REFERENCES samples, method TEXT NOT NULL, run_id TEXT NOT NULL,
  is_reference INTEGER NOT NULL, picture TEXT NOT NULL REFERENCES pictures, UNIQUE (sample, method)
) STRICT;
CREATE TABLE participants (
  id INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, code TEXT NOT NULL UNIQUE, visit TEXT UNIQUE,
  prolific_pid TEXT, study_id TEXT, session_id TEXT, source TEXT NOT NULL, imported_failures INTEGER,
  consented TEXT NOT NULL, seen TEXT NOT NULL, finished TEXT, UNIQUE (prolific_pid, study_id)
) STRICT;
CREATE TABLE items (
  participant INTEGER NOT NULL REFERENCES participants, place INTEGER NOT NULL,
  sample INTEGER NOT NULL REFERENCES samples, baseline INTEGER NOT NULL REFERENCES edits, reference_side TEXT NOT NULL,
  check_side TEXT, shown TEXT, PRIMARY KEY (participant, place)
) STRICT;
CREATE UNIQUE INDEX one_item_a_pair ON items (participant, sample, baseline) WHERE check_side IS NULL;
CREATE TABLE answers (
  participant INTEGER NOT NULL, place INTEGER NOT NULL, choice TEXT NOT NULL CHECK (choice IN ('left', 'right')),
  given TEXT NOT NULL, PRIMARY KEY (participant, place), FOREIGN KEY (participant, place) REFERENCES items
) STRICT;
"""


# Files of earlier versions lack this table, so it is made whenever a study is opened.
_WITHDRAWALS = """
CREATE TABLE IF NOT EXISTS withdrawals (
  participant INTEGER PRIMARY KEY REFERENCES participants, moment TEXT NOT NULL
) STRICT
"""


@dataclass(frozen=True)
class Protocol:
    """What may not change while a study runs."""

    benchmark: str
    reference: str
    samples: int | None
    """Number of samples of each participant; None is all."""
    checks: int
    question: str
    consent: str


@dataclass(frozen=True)
class Visitor:
    """How a participant comes to the study; the ids are those of Prolific's URL parameters, None outside Prolific."""

    visit: str
    """A random text of the consent page, so that sending it twice makes one participant."""
    prolific_pid: str | None = None
    study_id: str | None = None
    session_id: str | None = None


@dataclass(frozen=True)
class Page:
    """The item that a participant answers next."""

    place: int
    """From 1."""
    count: int
    """Number of the participant's items."""
    instruction: str


@dataclass(frozen=True)
class Done:
    """A participant's answers are complete."""

    code: str
    """The participant in exported tables."""
    count: int
    is_prolific: bool


@dataclass(frozen=True)
class Withdrawn:
    """A participant has withdrawn: the answers stay in the file, and are in no table and no analysis."""

    answers: int
    is_prolific: bool


class UserStudy:
    """A study in one file.

    Args:
        path: The file.
        random: Source of the assignment's randomness; by default, the operating system's.
    """

    def __init__(self, path: Path, random: Random | None = None) -> None:
        self.database = Database(path, KIND, _SCHEMA)
        with self.database.write() as db:
            db.execute(_WITHDRAWALS)
        self._random = random or SystemRandom()

    @property
    def protocol(self) -> dict[str, Any] | None:
        """The protocol with which the study began; None before :meth:`begin`."""
        with self.database.read() as db:
            found = {row["key"]: row["value"] for row in db.execute("SELECT key, value FROM settings")}
        return {k.removeprefix("protocol."): v for k, v in found.items() if k.startswith("protocol.")} or None

    def begin(self, protocol: Protocol, made: Iterable[Triplets]) -> None:
        """Copy the images into the file; a study that has begun keeps its own.

        Raises:
            ConfigError: The study began with another protocol, or there are no triplets.
        """
        fresh = {k: v if isinstance(v, str) else canonical_json(v) for k, v in asdict(protocol).items()}
        if (known := self.protocol) is not None:
            if changed := [k for k in fresh if known.get(k) != fresh[k]]:
                is_one = f"{changed[0]}={known.get(changed[0])}"
                raise ConfigError(
                    f"{self.database.path}: this study began with {is_one}; accepted is that, or name=<another study>"
                )
            return
        with self.database.write() as db:
            count = 0
            for place, triplet in enumerate(made, start=1):
                count = place
                self._add(db, place, triplet)
            if not count:
                raise ConfigError(
                    "no sample was edited by the reference and a baseline, so there is nothing to compare"
                )
            db.executemany("INSERT INTO settings VALUES (?, ?)", [(f"protocol.{k}", v) for k, v in fresh.items()])

    @staticmethod
    def _add(db: sqlite3.Connection, place: int, triplet: Triplets) -> None:
        row = place, triplet.sample.id, triplet.image_id, triplet.instruction, add_picture(db, triplet.source)
        db.execute("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", row)
        for edit in (triplet.reference, *triplet.baselines):
            own = place, edit.method, edit.run_id, edit is triplet.reference, add_picture(db, edit.image)
            db.execute("INSERT INTO edits (sample, method, run_id, is_reference, picture) VALUES (?, ?, ?, ?, ?)", own)

    def count(self, samples: int | None) -> int:
        """Return the number of samples that a participant sees.

        Args:
            samples: The greatest number; None is all.
        """
        with self.database.read() as db:
            all_samples: int = db.execute("SELECT count(*) FROM samples").fetchone()[0]
        return all_samples if samples is None else min(samples, all_samples)

    def join(self, visitor: Visitor, samples: int | None, checks: int) -> str:
        """Return the token of a participant, who is new unless the visit or the Prolific ids are known."""
        with self.database.write() as db:
            if known := self._known(db, visitor):
                return known
            token, code, moment = secrets.token_urlsafe(18), secrets.token_hex(4).upper(), now()
            row = token, code, visitor.visit, visitor.prolific_pid, visitor.study_id, visitor.session_id
            participant = db.execute(
                "INSERT INTO participants"
                " (token, code, visit, prolific_pid, study_id, session_id, source, consented, seen)"
                " VALUES (?, ?, ?, ?, ?, ?, 'page', ?, ?)",
                (*row, moment, moment),
            ).lastrowid
            found = assign(self._baselines(db), self._shown(db), samples, checks, self._random)
            db.executemany(
                "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, NULL)",
                [
                    (participant, place, i.sample, i.baseline, i.reference_side, i.check_side)
                    for place, i in enumerate(found, start=1)
                ],
            )
        return token

    def known(self, visitor: Visitor) -> str | None:
        """Return the token of a participant who has come before."""
        with self.database.read() as db:
            return self._known(db, visitor)

    @staticmethod
    def _known(db: sqlite3.Connection, visitor: Visitor) -> str | None:
        row = db.execute(
            "SELECT token FROM participants WHERE visit = ? OR (prolific_pid = ? AND study_id IS ?)",
            (visitor.visit, visitor.prolific_pid, visitor.study_id),
        ).fetchone()
        return None if row is None else str(row["token"])

    @staticmethod
    def _baselines(db: sqlite3.Connection) -> dict[int, dict[str, int]]:
        found: dict[int, dict[str, int]] = {}
        for row in db.execute("SELECT id, sample, method FROM edits WHERE NOT is_reference"):
            found.setdefault(row["sample"], {})[row["method"]] = row["id"]
        return found

    @staticmethod
    def _shown(db: sqlite3.Connection) -> Mapping[tuple[int, int, str], int]:
        since = (datetime.now(UTC) - ABANDONED).isoformat(timespec="milliseconds")
        rows = db.execute(
            "SELECT sample, baseline, reference_side, count(*) FROM items JOIN participants p ON p.id = participant"
            " LEFT JOIN answers USING (participant, place)"
            " WHERE check_side IS NULL AND (choice IS NOT NULL OR p.seen > ?)"
            " AND p.id NOT IN (SELECT participant FROM withdrawals) GROUP BY 1, 2, 3",
            (since,),
        )
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    def page(self, token: str) -> Page | Done | Withdrawn | None:
        """Return the first item without an answer; None if the token is unknown."""
        with self.database.read() as db:
            row = db.execute(
                "SELECT id, code, prolific_pid, (SELECT count(*) FROM items WHERE participant = id) AS count,"
                " (SELECT count(*) FROM answers WHERE participant = id) AS answers, moment AS withdrawn"
                " FROM participants LEFT JOIN withdrawals ON participant = id WHERE token = ?",
                (token,),
            ).fetchone()
            if row is None:
                return None
            if row["withdrawn"] is not None:
                return Withdrawn(row["answers"], row["prolific_pid"] is not None)
            item = db.execute(
                "SELECT place, check_side, shown, instruction FROM items JOIN samples s ON s.id = sample"
                " LEFT JOIN answers USING (participant, place) WHERE participant = ? AND choice IS NULL"
                " ORDER BY place LIMIT 1",
                (row["id"],),
            ).fetchone()
        if item is None:
            return Done(row["code"], row["count"], row["prolific_pid"] is not None)
        if item["shown"] is None:
            self._note_shown(row["id"], item["place"])
        check = item["check_side"]
        return Page(item["place"], row["count"], CHECK.format(side=check) if check else item["instruction"])

    def _note_shown(self, participant: int, place: int) -> None:
        # Only the seconds of an answer depend on it, so a page does not wait for a busy or a full disk.
        with suppress(sqlite3.Error), self.database.write() as db:
            db.execute(
                "UPDATE items SET shown = ? WHERE participant = ? AND place = ? AND shown IS NULL",
                (now(), participant, place),
            )

    def answer(self, token: str, place: int, choice: str) -> bool | None:
        """Store an answer durably, unless the item has one: the first answer counts.

        Returns:
            Whether the stored answer is this one, which it never is of a participant who has withdrawn; None if the
            participant has no such item.
        """
        with self.database.write() as db:
            row = db.execute(
                "SELECT p.id, moment AS withdrawn FROM participants p JOIN items i ON i.participant = p.id"
                " LEFT JOIN withdrawals w ON w.participant = p.id WHERE token = ? AND place = ?",
                (token, place),
            ).fetchone()
            if row is None:
                return None
            if row["withdrawn"] is not None:
                return False
            moment, key = now(), (row["id"], place)
            db.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", (*key, choice, moment))
            stored = db.execute("SELECT choice FROM answers WHERE participant = ? AND place = ?", key).fetchone()
            db.execute(
                "UPDATE participants SET seen = ?1, finished = CASE WHEN"
                " (SELECT count(*) FROM items WHERE participant = id) ="
                " (SELECT count(*) FROM answers WHERE participant = id)"
                " THEN coalesce(finished, ?1) END WHERE id = ?2",
                (moment, row["id"]),
            )
        return bool(stored["choice"] == choice)

    def withdraw(self, token: str) -> bool:
        """Note durably that a participant has withdrawn, and when for the first time; no answer is deleted.

        Returns:
            Whether the participant exists.
        """
        with self.database.write() as db:
            row = db.execute("SELECT id FROM participants WHERE token = ?", (token,)).fetchone()
            if row is not None:
                db.execute("INSERT OR IGNORE INTO withdrawals VALUES (?, ?)", (row["id"], now()))
        return row is not None

    def answered(self, token: str) -> int:
        """Return the number of a participant's answers."""
        with self.database.read() as db:
            found: int = db.execute(
                "SELECT count(*) FROM answers JOIN participants p ON p.id = participant WHERE token = ?", (token,)
            ).fetchone()[0]
        return found

    def picture(self, token: str, place: int, which: str) -> bytes | None:
        """Return an image of a participant's item as PNG; None if there is no such item.

        Args:
            token: The participant's.
            place: The item's.
            which: One of :data:`PICTURES`.
        """
        with self.database.read() as db:
            item = db.execute(
                "SELECT sample, baseline, reference_side FROM items JOIN participants p ON p.id = participant"
                " WHERE token = ? AND place = ?",
                (token, place),
            ).fetchone()
            if item is None:
                return None
            if which == INPUT:
                found = db.execute("SELECT picture FROM samples WHERE id = ?", (item["sample"],))
            elif which == item["reference_side"]:
                found = db.execute("SELECT picture FROM edits WHERE sample = ? AND is_reference", (item["sample"],))
            else:
                found = db.execute("SELECT picture FROM edits WHERE id = ?", (item["baseline"],))
            digest = found.fetchone()["picture"]
        return self.database.picture(digest)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Numbers of participants, of those who finished, and of answers, without those who have withdrawn."""
        with self.database.read() as db:
            row = db.execute(
                "SELECT count(*), count(finished), coalesce(sum("
                "(SELECT count(*) FROM answers WHERE participant = id)), 0) FROM participants"
                " WHERE id NOT IN (SELECT participant FROM withdrawals)"
            ).fetchone()
        return row[0], row[1], row[2]

    @property
    def withdrawn(self) -> tuple[int, int]:
        """Numbers of participants who have withdrawn, and of their answers."""
        with self.database.read() as db:
            row = db.execute(
                "SELECT count(*), (SELECT count(*) FROM answers JOIN withdrawals USING (participant)) FROM withdrawals"
            ).fetchone()
        return row[0], row[1]


def short_hash(*parts: object) -> str:
    """Return an id that equal parts share, in the form of MTurk's."""
    return hashlib.sha256(canonical_json([str(p) for p in parts]).encode()).hexdigest()[:30].upper()
