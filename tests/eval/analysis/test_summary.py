"""The summary of long rows, and its table at the widths that people have."""

import io

import pandas as pd
import pytest
from rich.console import Console

from eval.analysis.stats import mean_interval
from eval.analysis.summary import SUMMARY, render, summary
from eval.runs.records import COUNTS, ROWS
from instructedit.types import ConfigError

DIRECTIONS = {"brisque": False, "lpips": False, "clip_score": True, "clip_directional": True}
RUNS = [("a", "instructedit ratio=0.5", 6, 1), ("b", "diffedit ratio=0.5 theta=0.3", 7, 0), ("c", "mdp", 0, 7)]


@pytest.fixture
def counts() -> pd.DataFrame:
    return pd.DataFrame(RUNS, columns=list(COUNTS))


@pytest.fixture
def frame() -> pd.DataFrame:
    """Values between 0 and 1, times 30 for two metrics; one sample of the second run has no direction."""
    rows = []
    for run_id, label, edited, _ in RUNS:
        for sample in range(edited):
            for place, metric in enumerate(DIRECTIONS):
                value: float | None = (0.11 + 0.37 * sample + 0.2 * place) % 1 * (30 if place in (0, 2) else 1)
                if (run_id, metric, sample) == ("b", "clip_directional", 0):
                    value = None
                rows.append((run_id, label, str(sample), str(sample), metric, value, f"card-{metric}", ""))
    return pd.DataFrame(rows, columns=list(ROWS)).astype({"value": "Float64"})


def text(frame: pd.DataFrame, counts: pd.DataFrame, width: int, encoding: str = "utf-8", terminal: bool = False) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(file=file, width=width, force_terminal=terminal, color_system="standard" if terminal else None)
    render(console, summary(frame, counts), counts, DIRECTIONS, title="Table 1")
    file.flush()
    return raw.getvalue().decode(encoding)


def test_summary_has_the_mean_and_interval_of_each_run_and_metric(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    table = summary(frame, counts)
    assert tuple(table.columns) == SUMMARY
    assert list(zip(table["run_id"], table["metric"], strict=True)) == [(run, m) for run in "ab" for m in DIRECTIONS]
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


def test_a_wide_table_has_one_line_a_run(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    lines = text(frame, counts, 140).splitlines()
    row = summary(frame, counts).iloc[1]
    cell = f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    assert cell in next(line for line in lines if line.startswith("instructedit ratio=0.5"))
    assert "lpips ↓" in lines[1]
    assert "clip_score ↑" in lines[1]
    failed = next(line for line in lines if line.startswith("mdp"))
    assert failed.split() == ["mdp", "0", "7", "-", "-", "-", "-"]


@pytest.mark.parametrize("width", [80, 100, 120, 130])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_width_cuts_a_number(frame: pd.DataFrame, counts: pd.DataFrame, width: int, encoding: str) -> None:
    printed = text(frame, counts, width, encoding)
    assert max(map(len, printed.splitlines())) <= width
    assert "…" not in printed
    for row in summary(frame, counts).itertuples():
        decimals = 2 if row.metric in ("brisque", "clip_score") else 3
        assert f"{row.mean:.{decimals}f}" in printed
        assert f"[{row.low:.{decimals}f}, {row.high:.{decimals}f}]" in printed


def test_a_pipe_gets_plain_characters(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    printed = text(frame, counts, 130, "ascii")
    assert "\x1b" not in printed
    assert printed.isascii()
    assert "brisque (lower)" in printed
    assert "\x1b" in text(frame, counts, 130, terminal=True)


def test_the_legend_explains_only_what_is_there(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    assert "(6)" in text(frame, counts, 140)
    assert "(n): values" in text(frame, counts, 140)
    whole = frame[frame["metric"] != "clip_directional"]
    assert "(n): values" not in text(whole, counts, 140)


def test_one_value_has_a_mean_and_no_interval(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    one = counts.assign(edited=[1, 0, 0])
    printed = text(frame[(frame["run_id"] == "a") & (frame["sample_id"] == "0")], one, 140)
    assert "0.310" in printed
    assert "[" not in printed


def test_nothing_at_all_still_shows_the_failures(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    printed = text(frame.iloc[:0], counts, 80)
    assert [line.split()[-1] for line in printed.splitlines() if line.startswith("mdp")] == ["7"]


def test_a_label_is_never_markup(frame: pd.DataFrame, counts: pd.DataFrame) -> None:
    odd = counts.assign(label=["[red]a[/red]", "b", "c"])
    assert "[red]a[/red]" in text(frame, odd, 140)
