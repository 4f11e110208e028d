"""SQLite files for what people say: each answer is one committed transaction, so a killed server loses none."""

import io
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from PIL import Image

from instructedit.types import ConfigError

PATIENCE = 30.0
"""Seconds for which a transaction waits for another one."""
_COMMON = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE pictures (digest TEXT PRIMARY KEY, png BLOB NOT NULL) STRICT;
"""
_KIND = "kind"


class Database:
    """One SQLite file in WAL mode; threads and processes may use it at the same time.

    Args:
        path: The file; it is created with its folder, readable by its owner only, because it may name participants.
        kind: Kind and version of the file's tables, such as ``study 1``.
        schema: SQL that creates the tables of a new file.

    Raises:
        ConfigError: The file is of another kind, or cannot be opened.
    """

    def __init__(self, path: Path, kind: str, schema: str) -> None:
        self.path = path
        # Writers of one process take turns here: SQLite makes them poll, and the unlucky ones would wait for long.
        self._turn = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            with self.write() as db:
                if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                    for statement in f"{_COMMON}{schema}".split(";\n"):
                        db.execute(statement)
                    db.execute("INSERT INTO settings VALUES (?, ?)", (_KIND, kind))
                found = db.execute("SELECT value FROM settings WHERE key = ?", (_KIND,)).fetchone()
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{path}: cannot be opened as a file of kind {kind!r} ({error})") from None
        if found is None or found[0] != kind:
            raise ConfigError(f"{path}: is of kind {found and found[0]!r}; accepted is {kind!r}")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that sees one state of the file."""
        with self._connection() as db:
            db.execute("BEGIN")
            yield db

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a transaction that is on disk when the block ends, and undone if it raises."""
        with self._turn, self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def picture(self, digest: str) -> bytes:
        """Return a stored picture as PNG."""
        with self.read() as db:
            png: bytes = db.execute("SELECT png FROM pictures WHERE digest = ?", (digest,)).fetchone()[0]
        return png

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            # In WAL mode, the default of some builds (NORMAL) may lose the last commits when the machine loses power.
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            yield db
        finally:
            db.close()


def add_picture(db: sqlite3.Connection, image: Image.Image) -> str:
    """Store a picture as PNG without any metadata, once, and return its digest."""
    data = io.BytesIO()
    # A new image has the pixels only: metadata of the file could tell which method made it.
    plain = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())
    plain.save(data, "PNG")
    digest = sha256(data.getvalue()).hexdigest()
    db.execute("INSERT OR IGNORE INTO pictures VALUES (?, ?)", (digest, data.getvalue()))
    return digest


def now() -> str:
    """Return the present time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
