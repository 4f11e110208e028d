"""Terminal tables at common widths show the computed numbers."""

import io

import pandas as pd
import pytest
from rich.console import Console

from eval.analysis.differences import differences
from eval.analysis.published import TABLE_1
from eval.analysis.summary import summary
from eval.display.tables import render_differences, render_published, render_summary
from tests.eval import frames
from tests.eval.analysis.test_differences import BASE
from tests.eval.analysis.test_differences import frame as difference_rows


@pytest.fixture
def counts() -> pd.DataFrame:
    return frames.counts()


@pytest.fixture
def frame() -> pd.DataFrame:
    return frames.rows()


def text(frame: pd.DataFrame, counts: pd.DataFrame, width: int, encoding: str = "utf-8", terminal: bool = False) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(file=file, width=width, force_terminal=terminal, color_system="standard" if terminal else None)
    render_summary(console, summary(frame, counts), counts, frames.DIRECTIONS, title="Table 1")
    file.flush()
    return raw.getvalue().decode(encoding)


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
    assert "(n): number of values" in text(frame, counts, 140)
    whole = frame[frame["metric"] != "clip_directional"]
    assert "(n): number of values" not in text(whole, counts, 140)


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


@pytest.mark.parametrize("width", [60, 200])
def test_the_tables_fit_the_terminal_and_hold_the_numbers(width: int) -> None:
    values = {
        name: {metric: [x + k for x in BASE] for k, metric in enumerate(TABLE_1["mdp"])}
        for name in ("instructedit", "mdp")
    }
    rows, counts = difference_rows(values)
    out = io.StringIO()
    console = Console(file=out, width=width)
    render_differences(console, differences(rows, counts, "instructedit"), "instructedit label")
    render_published(console, summary(rows, counts), {"instructedit": "instructedit", "mdp": "mdp", "x": "own"})
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "Difference to instructedit label" in text
    for number in TABLE_1["mdp"].values():
        assert f"{number:.3f}" in text
    assert "0.300" in text  # our mean


def test_the_papers_numbers_need_a_method_of_the_paper() -> None:
    rows, counts = difference_rows({"own": {"lpips": BASE}})
    out = io.StringIO()
    render_published(Console(file=out), summary(rows, counts), {"own": "mine"})
    assert out.getvalue() == ""
