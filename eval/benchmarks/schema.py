"""Validation of the entries of all formats; error messages name the file, the place and the key.

The first problem is raised, or, inside :func:`collected`, every problem is noted and reading continues with an empty
value, so that one pass finds all of them.
"""

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from instructedit.files import kind_of_file
from instructedit.types import ConfigError, Sample

LONGEST = 160
"""Characters of a value that a message repeats."""
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


@dataclass
class Problems:
    """What :func:`collected` found."""

    lines: list[str] = field(default_factory=list)
    """The message of each problem."""
    entries: list["Entry"] = field(default_factory=list)
    """The entries of the samples that were read."""


_COLLECTED: ContextVar[Problems | None] = ContextVar("collected", default=None)


@contextlib.contextmanager
def collected() -> Iterator[Problems]:
    """Collect the problems that readers find in the body, instead of raising the first one."""
    problems = Problems()
    token = _COLLECTED.set(problems)
    try:
        yield problems
    finally:
        _COLLECTED.reset(token)


def noted(error: ConfigError) -> None:
    """Note a problem inside :func:`collected`.

    Raises:
        ConfigError: Problems are not collected.
    """
    problems = _COLLECTED.get()
    if problems is None:
        raise error
    problems.lines.append(str(error))


@dataclass(frozen=True)
class Entry:
    """One entry of a file, such as a line of a manifest."""

    file: Path
    place: str
    """Place in the file, such as ``line 3``."""
    fields: Mapping[str, Any]
    prefix: str = ""
    """Prefix of the keys in messages if the entry is part of another, such as ``truth.``."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Names of keys in the file, if they differ from the key with the prefix."""

    def error(self, key: str, message: str) -> ConfigError:
        """Return an error with a one-line message that names the file, the place and the key."""
        full = self.prefix + key
        name = self.columns.get(full, full)
        # A file's own words must not reach the terminal as control characters, nor fill it.
        place, name = (
            text if text.isprintable() and len(text) <= LONGEST else quoted(text) for text in (self.place, name)
        )
        return ConfigError(f"{self.file}: {place}: {name}: {message}")

    def known(self, accepted: tuple[str, ...]) -> None:
        """Check that all keys are accepted.

        Raises:
            ConfigError: A key is unknown.
        """
        for key in self.fields:
            if key not in accepted:
                noted(self.error(key, f"unknown key; accepted are {', '.join(accepted)}"))

    def nested(self, key: str, accepted: tuple[str, ...]) -> "Entry | None":
        """Return the object under a key; None if there is none.

        Raises:
            ConfigError: The value is not an object, or has an unknown key.
        """
        value = self.fields.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            noted(self.error(key, f"an object with {', '.join(accepted)} is expected, not {kind(value)}"))
            return None
        inner = replace(self, fields=value, prefix=f"{self.prefix}{key}.")
        inner.known(accepted)
        return inner

    def text(self, key: str) -> str:
        """Return a required text.

        Raises:
            ConfigError: The text is missing, empty or not valid.
        """
        if key not in self.fields:
            noted(self.error(key, "missing; a text is expected"))
            return ""
        return self._checked(self.fields[key], key)

    def optional(self, key: str) -> str | None:
        """Return an optional text, or None."""
        # An empty text counts as absent, as in JSON that was converted from spreadsheets.
        return None if self.fields.get(key) in (None, "") else self._checked(self.fields[key], key)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return an optional list of texts; empty if there is none."""
        value = self.fields.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            noted(self.error(key, f"a list of texts is expected, not {kind(value)}"))
            return ()
        return tuple(self._checked(item, f"{key}[{index}]") for index, item in enumerate(value))

    def identity(self, key: str) -> str:
        """Return a required id, which also names files."""
        value = self.text(key)
        if value and not _ID.fullmatch(value):
            accepted = "1 to 128 letters (A-Z, a-z), digits, dots, - and _, no leading dot: it names files"
            noted(self.error(key, f"{quoted(value)} is not accepted; {accepted}"))
            return ""
        return value

    def path(self, key: str, under: str = "") -> Path:
        """Return a required path inside the file's folder, given relative to it or to its subfolder ``under``."""
        text = self.text(key)
        if not text:
            return Path()
        folder = (self.file.parent / under).resolve()
        try:
            path = (folder / text).resolve()
            is_there = path.exists()
        except (OSError, RuntimeError, ValueError) as error:  # such as a loop of links, a zero byte or a long name
            noted(
                self.error(
                    key, f"{quoted(text)} is not a path ({error.strerror if isinstance(error, OSError) else error})"
                )
            )
            return Path()
        if Path(text).is_absolute() or not path.is_relative_to(folder) or path == folder:
            noted(self.error(key, f"{quoted(text)} leaves the benchmark's folder; a path inside it is expected"))
            return Path()
        # The target of a dead link is not what the user wrote.
        return path if is_there else folder / text

    def optional_path(self, key: str) -> Path | None:
        """Return an optional path inside the file's folder, or None."""
        return None if self.optional(key) is None else self.path(key)

    def _checked(self, value: Any, key: str) -> str:
        if not isinstance(value, str):
            noted(self.error(key, f"a text is expected, not {kind(value)}"))
            return ""
        if not value.strip():
            noted(self.error(key, "empty; a text is expected"))
            return ""
        try:
            value.encode()
        except UnicodeEncodeError:  # JSON's \u can encode half of a surrogate pair
            noted(self.error(key, "no valid Unicode; a text is expected"))
            return ""
        return value


def distinct(samples: Iterable[tuple[Entry, Sample]]) -> Iterator[Sample]:
    """Yield the samples and check that their ids are distinct.

    Raises:
        ConfigError: Two entries have the same id; the message names them.
    """
    seen: dict[str, str] = {}
    problems = _COLLECTED.get()
    for entry, sample in samples:
        # Some file systems ignore case, and ids name files.
        first = seen.setdefault(sample.id.lower(), entry.place) if sample.id else entry.place
        if first != entry.place:
            origin = "" if entry.fields.get("id") else " (without an id, a sample is named after its picture)"
            noted(entry.error("id", f"{quoted(sample.id)} is taken by {first}{origin}; ids differ, not only by case"))
        if problems is not None:
            problems.entries.append(entry)
        yield sample


def as_id(text: str) -> str:
    """Convert a text to an id: characters not allowed in file names become ``_``, and long texts are truncated."""
    return re.sub(r"^\.|[^A-Za-z0-9._-]", "_", text)[:128]


def read_bytes(file: Path, expected: str) -> bytes:
    """Return the content of a benchmark's file.

    Args:
        file: A file in the benchmark's folder.
        expected: Describes the expected folder and its source, for the message.

    Raises:
        ConfigError: The file is missing or cannot be read.
    """
    if not os.path.lexists(file):
        raise ConfigError(f"{file.parent}: no {file.name} there; {expected}")
    if not file.is_file():
        raise ConfigError(f"{file}: {kind_of_file(file)}; {expected}")
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None


def read_json(file: Path, expected: str) -> tuple[bytes, Any]:
    """Return the content of a JSON file, as bytes and parsed.

    Raises:
        ConfigError: The file is missing, cannot be read, or is not JSON, or a key is repeated.
    """
    data = read_bytes(file, expected)

    def error_of(key: str, message: str) -> ConfigError:
        return ConfigError(f"{file}: {quoted(key)}: {message}")

    try:
        return data, json.loads(data.decode("utf-8-sig"), object_pairs_hook=lambda pairs: unrepeated(pairs, error_of))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: no JSON in UTF-8 ({error})") from None


def entry_of(file: Path, place: str, value: Any) -> Entry | None:
    """Return an entry of a published file, which may have more keys than are read; None if it is not an object.

    Raises:
        ConfigError: The value is not an object.
    """
    if isinstance(value, dict):
        return Entry(file, place, value)
    noted(ConfigError(f"{file}: {place}: an object is expected, not {kind(value)}"))
    return None


def unrepeated(pairs: list[tuple[str, Any]], error: Callable[[str, str], ConfigError]) -> dict[str, Any]:
    """Make a JSON object from its pairs, for the ``object_pairs_hook`` of :mod:`json`.

    Args:
        pairs: Keys and values in the order of the text.
        error: Makes an error of a key and a message.

    Raises:
        ConfigError: A key is repeated; JSON's own parser would keep its last value without a word.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        noted(error(repeated, "repeated; it is accepted once"))
    return value


def quoted(value: object) -> str:
    """Return the beginning of a value of a file for a message: in one line, with control characters as escapes."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def kind(value: Any) -> str:
    """Return the name of a value's JSON type, for messages."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
