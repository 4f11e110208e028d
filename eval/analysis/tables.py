"""Tables of what people said, from CSV or Parquet files."""

from pathlib import Path

import pandas as pd

from instructedit.types import ConfigError

TRUTH_VALUES = {
    "true": True, "1": True, "1.0": True, "yes": True, "right": True, "correct": True,
    "false": False, "0": False, "0.0": False, "no": False, "wrong": False, "incorrect": False,
}  # fmt: skip
"""Accepted words, in small letters; numbers are floats in tables that some programs write."""


def read_table(path: Path, what: str) -> pd.DataFrame:
    """Read a table; the cells of a CSV file are texts.

    Args:
        path: A ``.parquet`` file, or a CSV file with any other ending.
        what: What the table has, for the message, such as ``labels``.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a table of {what} ({str(error).splitlines()[0]})") from None


def truth_value(cell: object, place: str) -> bool | None:
    """Return what a cell says; None if it is empty.

    Args:
        cell: A text, a number or a truth value.
        place: The file, the row and the column, for the message.

    Raises:
        ConfigError: The cell has none of :data:`TRUTH_VALUES`.
    """
    word = "" if pd.isna(cell) else str(cell).strip().lower()
    if not word:
        return None
    if word not in TRUTH_VALUES:
        raise ConfigError(f"{place}: {cell!r}; accepted are {', '.join(TRUTH_VALUES)} and nothing")
    return TRUTH_VALUES[word]
