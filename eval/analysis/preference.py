"""Preferences of people between the reference and each baseline (paper §4.2, user study).

Answers are a data frame with the columns :data:`ANSWERS`, a row for each answer of a participant to an item.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from scipy.stats import binomtest

from eval.analysis.agreement import Agreement, agreement
from eval.analysis.stats import Interval, holm, mean_interval
from eval.analysis.tables import read_table, truth_value
from instructedit.types import ConfigError

ANSWERS = (
    "participant", "passed", "place", "sample_id", "image_id", "instruction", "reference", "baseline", "side", "choice",
    "shown", "answered",
)  # fmt: skip
"""``passed``: whether the participant passed the attention checks. ``place``: the item's number in the participant's
order. ``side``: where the reference's edit was, left or right. ``choice``: the side that was chosen. ``shown`` and
``answered``: times in UTC, ISO 8601."""
NEEDED = ("participant", "sample_id", "reference", "baseline", "side", "choice")
ALL = "all"
_SIDES = ("left", "right")


@dataclass(frozen=True)
class Preference:
    """How often people preferred the reference to a baseline."""

    baseline: str
    """Name of the method, or :data:`ALL`."""
    preferred: int
    n: int
    by_participant: Interval
    """The share with an interval that resamples whole participants."""
    by_image: Interval
    """The share with an interval that resamples whole images."""
    p_value: float
    """Two-sided binomial test of a share of one half, which assumes independent answers; Holm-corrected over the
    baselines, but not for :data:`ALL`."""
    agreement: Agreement | None
    """Agreement of the participants who compared the same two images; None if none did."""

    @property
    def rate(self) -> float:
        """Share of the answers that preferred the reference, 0 to 1."""
        return self.preferred / self.n


def analysed(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the answers of participants who passed the attention checks."""
    return answers[answers["passed"].astype(bool)]


def preferences(answers: pd.DataFrame) -> list[Preference]:
    """Return the preference against each baseline, the most frequent first, and then against all of them.

    Participants who failed the attention checks are left out.
    """
    kept = analysed(answers)
    kept = kept.assign(preferred=kept["choice"] == kept["side"])
    names = [str(name) for name in kept["baseline"].unique()]
    found = [_preference(name, kept[kept["baseline"] == name]) for name in names]
    corrected = holm([p.p_value for p in found])
    found = [replace(p, p_value=value) for p, value in zip(found, corrected, strict=True)]
    found.sort(key=lambda p: -p.rate)
    return [*found, _preference(ALL, kept)] if len(found) > 1 else found


def _preference(name: str, answers: pd.DataFrame) -> Preference:
    values = answers["preferred"].astype(float).tolist()
    preferred = int(sum(values))
    return Preference(
        name,
        preferred,
        len(values),
        mean_interval(values, answers["participant"].tolist()),
        mean_interval(values, answers["image_id"].tolist()),
        float(binomtest(preferred, len(values)).pvalue),
        agreement(answers, ["sample_id", "baseline"], "participant", "preferred"),
    )


def left_share(answers: pd.DataFrame) -> Interval | None:
    """Return how often people chose the left image, by participant: far from one half, it is a habit, no judgement."""
    kept = analysed(answers)
    if kept.empty:
        return None
    return mean_interval((kept["choice"] == "left").astype(float).tolist(), kept["participant"].tolist())


def read_answers(path: Path) -> pd.DataFrame:
    """Read answers from a CSV or Parquet table that ``python -m scripts.study export`` wrote, or of the same columns.

    Args:
        path: A table with the columns :data:`NEEDED`, and optionally others of :data:`ANSWERS`. Without ``passed``, all
            participants passed; without ``image_id``, each sample has an image of its own.

    Raises:
        ConfigError: The table is not valid; the message names the file, the row, the column and the accepted values.
    """
    return checked_answers(read_table(path, "answers"), str(path))


def checked_answers(table: pd.DataFrame, place: str) -> pd.DataFrame:
    """Return a table with the columns :data:`ANSWERS`.

    Args:
        table: See :func:`read_answers`.
        place: The table's name in messages.

    Raises:
        ConfigError: See :func:`read_answers`.
    """
    if missing := [name for name in NEEDED if name not in table.columns]:
        raise ConfigError(f"{place}: lacks the columns {', '.join(missing)}; needed are {', '.join(NEEDED)}")
    if table.empty:
        raise ConfigError(f"{place}: has no answers; at least one is needed")
    table = table.assign(**{c: None for c in ANSWERS if c not in table.columns})[list(ANSWERS)].astype(object)
    table = table.where(table.notna(), None)
    for name in NEEDED:
        accepted = ", ".join(_SIDES) if name in ("side", "choice") else "any text"
        values = ["" if v is None else str(v).strip() for v in table[name]]
        for row, value in enumerate(values, start=2):
            if not value or (name in ("side", "choice") and value not in _SIDES):
                raise ConfigError(f"{place}: row {row}, column {name}: {value!r}; accepted are {accepted}")
        table[name] = values
    if (repeated := table.duplicated(["participant", "sample_id", "baseline"])).any():
        row = int(repeated.to_numpy().argmax())
        raise ConfigError(
            f"{place}: row {row + 2}: participant {table['participant'].iloc[row]!r} answered sample "
            f"{table['sample_id'].iloc[row]!r} more than once; accepted is one answer"
        )
    passed = [truth_value(value, f"{place}: row {row}, column passed") for row, value in enumerate(table["passed"], 2)]
    table["passed"] = [value is not False for value in passed]
    table["image_id"] = table["image_id"].where(table["image_id"].notna(), table["sample_id"])
    return table
