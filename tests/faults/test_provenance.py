"""A run of a changed checkout says so, and a report marks runs of different code or models."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from eval.display.terminal import show
from eval.report.build import Report, report
from eval.runs.run import read_runs
from eval.runs.runner import Outcome
from tests.eval.report.test_report import Fade, make_benchmark, make_run, request

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def set_sessions(results: Path, change: Callable[[int, dict[str, Any]], None]) -> None:
    for number, path in enumerate(sorted((results / "runs").glob("*/manifest.json"))):
        manifest = json.loads(path.read_text())
        for session in manifest["sessions"]:
            session["git"] = {"commit": COMMIT, "dirty": False}
            session["checkpoints"] = {"group/model": "aaaa"}
            change(number, session)
        path.write_text(json.dumps(manifest))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    benchmark = make_benchmark(tmp_path / "benchmark")
    for ratio in (0.5, 0.7):
        make_run(benchmark, tmp_path / "results", Fade(ratio), "instructedit", ratio=ratio)
    return tmp_path / "results"


def shown(results: Path) -> tuple[Report, str, str]:
    """The report, its page, and the terminal's summary."""
    made = report(request(results))
    console = Console(file=io.StringIO(), width=200)
    show(console, [Outcome(run, 0, False) for run in read_runs(results)], [])
    assert isinstance(console.file, io.StringIO)
    return made, made.path.read_text(), console.file.getvalue()


def test_runs_of_one_clean_commit_have_no_marks(results: Path) -> None:
    set_sessions(results, lambda number, session: None)
    made, page, table = shown(results)
    assert made.marks == ()
    assert "do not share" not in page
    assert "made " not in table.replace("made with python", "")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"git": {"commit": COMMIT, "dirty": True}}, "made with uncommitted changes of the code: instructedit ratio="),
        ({"git": {"commit": "f" * 40, "dirty": False}}, "made by different code: commit "),
        ({"git": {"commit": None, "dirty": None}}, "an unknown commit (instructedit ratio="),
        ({"checkpoints": {"group/model": "bbbb"}}, "made with different revisions of group/model: "),
    ],
)
def test_what_runs_do_not_share_is_on_the_page_and_in_the_terminal(
    results: Path, change: dict[str, Any], line: str
) -> None:
    set_sessions(results, lambda number, session: session.update(change) if number else None)
    made, page, table = shown(results)
    (mark,) = made.marks
    assert line in mark
    assert line in page
    assert line in table
