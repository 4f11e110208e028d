"""The summary of long rows."""

import pandas as pd
import pytest

from eval.analysis.stats import mean_interval
from eval.analysis.summary import SUMMARY, summary
from instructedit.types import ConfigError
from tests.eval import frames


@pytest.fixture
def counts() -> pd.DataFrame:
    return frames.counts()


@pytest.fixture
def frame() -> pd.DataFrame:
    return frames.rows()


def test_summary_has_the_mean_and_interval_of_each_run_and_metric(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    table = summary(frame, counts)
    assert tuple(table.columns) == SUMMARY
    assert list(zip(table["run_id"], table["metric"], strict=True)) == [
        (run, m) for run in "ab" for m in frames.DIRECTIONS
    ]
    own = frame[(frame["run_id"] == "a") & (frame["metric"] == "lpips")]["value"].astype(float).tolist()
    expected, row = mean_interval(own), table.iloc[1]
    assert (row["mean"], row["low"], row["high"], row["n"]) == (expected.mean, expected.low, expected.high, 6)
    assert row["card_id"] == "card-lpips"


def test_summary_counts_what_is_undefined(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    table = summary(frame, counts).set_index(["run_id", "metric"])
    assert table.loc[("b", "clip_directional"), ["n", "undefined"]].tolist() == [6, 1]
    frame.loc[frame["metric"] == "clip_directional", "value"] = pd.NA
    row = summary(frame, counts).set_index(["run_id", "metric"]).loc[("b", "clip_directional")]
    assert (row["n"], row["undefined"]) == (0, 7)
    assert row[["mean", "low", "high"]].isna().all()


def test_rows_of_two_cards_are_never_averaged(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    frame.loc[(frame["run_id"] == "b") & (frame["metric"] == "lpips"), "card_id"] = "card-vgg"
    with pytest.raises(ConfigError, match=r"^metric lpips: rows of 2 cards \(card-lpips, card-vgg\)") as caught:
        summary(frame, counts)
    assert "\n" not in str(caught.value)


def test_a_sample_counts_once(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="metric brisque: sample 0 of run a has more than one row"):
        summary(pd.concat([frame, frame.iloc[:1]]), counts)


def test_every_row_belongs_to_a_run_and_has_its_columns(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="without counts: b"):
        summary(frame, counts.iloc[[0, 2]])
    with pytest.raises(ConfigError, match="metric rows lack the columns card_id, note"):
        summary(frame.drop(columns=["card_id", "note"]), counts)
