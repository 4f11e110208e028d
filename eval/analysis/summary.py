"""From rows of metric values to means with intervals.

The long frame has one row per run, sample and metric: ``run_id, label, sample_id, image_id, metric, value, card_id,
note``, the ``value`` null where the metric is undefined. Samples of one ``image_id`` are not independent. The counts
have one row per run: ``run_id, label, edited, failed``.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from eval.analysis.stats import DEFAULT, mean_interval
from eval.runs.records import COUNTS, ROWS
from instructedit.types import ConfigError

SUMMARY = ("run_id", "label", "metric", "mean", "low", "high", "n", "undefined", "card_id")


def summary(frame: pd.DataFrame, counts: pd.DataFrame, seed: int = 0, interval: str = DEFAULT) -> pd.DataFrame:
    """Mean and 95 % interval of each metric in each run, in the order of ``counts`` and of first appearance.

    The bootstrap draws whole images, with all samples of each.

    Args:
        frame: long rows, see the module.
        counts: runs; those without a row in ``frame`` have none here either.
        seed: of the bootstrap.
        interval: one of :data:`eval.analysis.stats.INTERVALS`.

    Returns:
        Columns ``run_id, label, metric, mean, low, high, n, undefined, card_id``: ``n`` values, ``undefined`` rows
        without one. A bound is null where one value gives none; the mean too, where there is no value.

    Raises:
        ConfigError: rows of one metric were made by different cards, a sample is counted twice, or a run is unknown.
    """
    _require(frame, ROWS, "metric rows")
    _require(counts, COUNTS, "counts")
    check(frame, counts)
    metrics = list(dict.fromkeys(frame["metric"]))
    rows = []
    for run_id, label in zip(counts["run_id"], counts["label"], strict=True):
        for metric in metrics:
            own = frame[(frame["run_id"] == run_id) & (frame["metric"] == metric)]
            scored = own.dropna(subset=["value"])
            values = pd.to_numeric(scored["value"]).astype(float).tolist()
            if len(own):
                found: tuple[float | None, ...] = (None, None, None)
                if values:
                    of = mean_interval(values, scored["image_id"].tolist(), seed=seed, method=interval)
                    found = (of.mean, of.low, of.high)
                card_id = own["card_id"].iloc[0]
                rows.append((run_id, label, metric, *found, len(values), len(own) - len(values), card_id))
    table = pd.DataFrame(rows, columns=list(SUMMARY))
    return table.astype({"mean": float, "low": float, "high": float})


def on_images(frame: pd.DataFrame, images: Mapping[str, str]) -> pd.DataFrame:
    """Long rows with the ``image_id`` of a benchmark as it is now, where it has the sample."""
    found = [images.get(k, own) for k, own in zip(frame["sample_id"], frame["image_id"], strict=True)]
    return frame.assign(image_id=found)


def check(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    """Refuse rows whose mean would mean nothing."""
    for metric, cards in frame.groupby("metric", sort=False)["card_id"]:
        if len(ids := list(dict.fromkeys(cards.dropna()))) > 1:
            raise ConfigError(f"metric {metric}: rows of {len(ids)} cards ({', '.join(ids)}) do not share one scale")
    twice = frame[frame.duplicated(["run_id", "sample_id", "metric"])]
    if len(twice):
        run_id, sample_id, metric = twice[["run_id", "sample_id", "metric"]].iloc[0]
        raise ConfigError(f"metric {metric}: sample {sample_id} of run {run_id} has more than one row")
    if unknown := sorted(set(frame["run_id"]) - set(counts["run_id"])):
        raise ConfigError(f"metric rows of runs without counts: {', '.join(unknown)}")


def _require(frame: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    if missing := [column for column in columns if column not in frame.columns]:
        raise ConfigError(f"{what} lack the columns {', '.join(missing)}")
