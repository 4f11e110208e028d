"""Means with intervals from rows of metric values.

The long frame has one row per run, sample and metric: ``run_id, label, sample_id, image_id, metric, value, card_id,
note``; ``value`` is null if the metric is undefined. Samples of one ``image_id`` are not independent. The counts have
one row per run: ``run_id, label, edited, failed``.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from eval.analysis.stats import DEFAULT, mean_interval
from eval.runs.records import COUNTS, ROWS
from instructedit.types import ConfigError

SUMMARY = ("run_id", "label", "metric", "mean", "low", "high", "n", "undefined", "card_id")


def summary(frame: pd.DataFrame, counts: pd.DataFrame, seed: int = 0, interval: str = DEFAULT) -> pd.DataFrame:
    """Return the mean and 95 % interval of each metric of each run, in the order of ``counts`` and first appearance.

    The bootstrap resamples whole images with all their samples.

    Args:
        frame: Long rows, see the module.
        counts: Runs; those without rows in ``frame`` have no rows in the result.
        seed: Seed of the bootstrap.
        interval: One of :data:`eval.analysis.stats.INTERVALS`.

    Returns:
        Columns ``run_id, label, metric, mean, low, high, n, undefined, card_id``: ``n`` is the number of values,
        ``undefined`` the number of rows without one. The bounds are null if there is no interval, and the mean is null
        if there is no value.

    Raises:
        ConfigError: Rows of one metric have different cards, a sample has two rows, or a run is unknown.
    """
    _require(frame, ROWS, "metric rows")
    _require(counts, COUNTS, "counts")
    check(frame, counts)
    metrics = list(dict.fromkeys(frame["metric"]))
    rows = []
    for run_id, label in zip(counts["run_id"], counts["label"], strict=True):
        for metric in metrics:
            selected = frame[(frame["run_id"] == run_id) & (frame["metric"] == metric)]
            scored = selected.dropna(subset=["value"])
            values = pd.to_numeric(scored["value"]).astype(float).tolist()
            if len(selected):
                numbers: tuple[float | None, ...] = (None, None, None)
                if values:
                    mean = mean_interval(values, scored["image_id"].tolist(), seed=seed, method=interval)
                    numbers = (mean.mean, mean.low, mean.high)
                card_id = selected["card_id"].iloc[0]
                rows.append((run_id, label, metric, *numbers, len(values), len(selected) - len(values), card_id))
    table = pd.DataFrame(rows, columns=list(SUMMARY))
    return table.astype({"mean": float, "low": float, "high": float})


def on_images(frame: pd.DataFrame, images: Mapping[str, str]) -> pd.DataFrame:
    """Return long rows with the current ``image_id`` of the benchmark's samples; other samples keep theirs."""
    image_ids = [images.get(k, stored) for k, stored in zip(frame["sample_id"], frame["image_id"], strict=True)]
    return frame.assign(image_id=image_ids)


def check(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    """Check that rows can be averaged.

    Raises:
        ConfigError: Rows of one metric have different cards, a sample has two rows, or a run is unknown.
    """
    for metric, cards in frame.groupby("metric", sort=False)["card_id"]:
        if len(ids := list(dict.fromkeys(cards.dropna()))) > 1:
            raise ConfigError(f"metric {metric}: rows of {len(ids)} cards ({', '.join(ids)}) do not share one scale")
    repeated = frame[frame.duplicated(["run_id", "sample_id", "metric"])]
    if len(repeated):
        run_id, sample_id, metric = repeated[["run_id", "sample_id", "metric"]].iloc[0]
        raise ConfigError(f"metric {metric}: sample {sample_id} of run {run_id} has more than one row")
    if unknown := sorted(set(frame["run_id"]) - set(counts["run_id"])):
        raise ConfigError(f"metric rows of runs without counts: {', '.join(unknown)}")


def _require(frame: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    if missing := [column for column in columns if column not in frame.columns]:
        raise ConfigError(f"{what} lack the columns {', '.join(missing)}")
