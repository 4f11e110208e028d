"""Rows of a Markdown table from a CSV file of the report."""

import re
import string
from pathlib import Path
from typing import Any

import pandas as pd

from eval.display.markdown import line
from instructedit.types import ConfigError


def csv_rows(path: Path, where: str | None, row: str, at: str) -> list[str]:
    """Return the lines of a table's rows, without its head.

    Args:
        path: A CSV file, such as ``tables/components.csv`` of a report.
        where: Selects lines, as :meth:`pandas.DataFrame.query`; None selects all.
        row: Cells between ``|``, with fields as in :meth:`str.format`: ``{component} | {rate:.1%}``. A cell with a
            field that has no value is empty.
        at: Where the table is, for messages.

    Raises:
        ConfigError: The file cannot be read, or the selection or a field is wrong.
    """
    try:
        table = pd.read_csv(path)
        selected = table if where is None else table.query(where)
        cells = [cell.strip() for cell in row.split("|")]
        return [line([_filled(cell, values) for cell in cells]) for values in selected.to_dict("records")]
    except FileNotFoundError:
        raise ConfigError(f"{at}: {path} is missing; python -m scripts.report makes a report's tables") from None
    except KeyError as error:
        raise ConfigError(f"{at}: field {error}: accepted are {', '.join(table.columns)}") from None
    except (ValueError, pd.errors.UndefinedVariableError) as error:
        raise ConfigError(f"{at}: {str(error).splitlines()[0]}") from None


def _filled(cell: str, values: dict[Any, Any]) -> str:
    fields = [name for _, name, _, _ in string.Formatter().parse(cell) if name]
    if any(pd.isna(values[name]) for name in fields):
        return ""
    return re.sub(r"(\d)%", r"\1 %", cell.format(**values))
