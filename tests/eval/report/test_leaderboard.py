"""The leaderboard and the section of judges, on runs of the real runner."""

import contextlib
import csv
import io
import resource
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from eval.analysis.leaderboard import cost_of, leaderboard
from eval.benchmarks.base import Benchmark
from eval.metrics.base import Card
from eval.report.page import LINKED, Page
from eval.report.section import Missing, Section
from eval.report.sections import judge_audit as judges
from eval.report.sections.leaderboard import table
from eval.report.study import Study, studies
from eval.runs import memory
from eval.runs.provenance import Manifest
from eval.runs.run import Run, frame_of
from instructedit.types import EditRequest, EditResult, Failure
from tests.eval.report.test_report import SECTIONS, Change, Darkness, Fade, done, make_benchmark


@dataclass
class Timed(Fade):
    """Fade with costs of its own; the first edit used the cache."""

    nfe: int = 10

    def _edit(self, request: EditRequest) -> EditResult | Failure:
        outcome = super()._edit(request)
        if isinstance(outcome, Failure):
            return outcome
        cached, seconds = ({"edit": self.nfe}, 0.5) if request.id == "s0" else ({}, 4.0)
        now = {} if cached else {"edit": self.nfe}
        return EditResult(
            request.id, outcome.image, outcome.mask, outcome.decisions, {"editor": seconds}, now, None, cached
        )


@dataclass
class Elsewhere(Fade):
    """Fade without a mask and without costs, as edits made elsewhere."""

    def _edit(self, request: EditRequest) -> EditResult | Failure:
        outcome = super()._edit(request)
        return outcome if isinstance(outcome, Failure) else EditResult(request.id, outcome.image)


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    return make_benchmark(tmp_path / "benchmark")


@pytest.fixture
def runs(benchmark: Benchmark, tmp_path: Path) -> list[Run]:
    return [
        done(benchmark, tmp_path, Timed(0.5, fails=("sx1",)), "instructedit", ratio=0.5),
        done(benchmark, tmp_path, Timed(0.9, nfe=30), "mdp"),
        done(benchmark, tmp_path, Elsewhere(0.7, fails=("sxx2",)), "flux"),
    ]


def study_of(runs: list[Run]) -> Study:
    (study,) = studies(runs, {"ratio": 0.7}, "instructedit")
    return study


def test_methods_are_compared_on_the_samples_that_all_finished(runs: list[Run]) -> None:
    frame = frame_of(runs)
    board = leaderboard(runs, frame, ["lpips", "mask_iou"])
    assert (len(board.shared), board.left_out) == (4, 2)
    assert not {"sx1", "sxx2"} & set(board.shared)
    for row in board.rows:
        values = frame[(frame["run_id"] == row.run.run_id) & (frame["metric"] == "lpips")]
        expected = values[values["sample_id"].isin(board.shared)]["value"].astype(float)
        assert row.means["lpips"].mean == pytest.approx(float(expected.mean()))
        assert row.means["lpips"].n == 4
    # A method without masks takes no sample from the others.
    assert [row.means.get("mask_iou") is None for row in board.rows] == [False, False, True]


def test_costs_are_those_of_an_edit_without_a_cache(runs: list[Run]) -> None:
    first, second, elsewhere = (cost_of(run) for run in runs)
    assert (first.evaluations, second.evaluations) == (10, 30)
    assert (first.seconds, first.timed) == (4.0, 4)
    assert first.peak_gib is not None
    assert first.peak_gib > 0.05
    assert (elsewhere.evaluations, elsewhere.seconds, elsewhere.peak_gib) == (None, None, None)


def test_the_section_has_every_method_once_with_its_costs(
    runs: list[Run], benchmark: Benchmark, tmp_path: Path
) -> None:
    other = done(benchmark, tmp_path, Timed(0.6), "instructedit", ratio=0.7)
    study = study_of([*runs, other])
    page = Page(tmp_path / "page", LINKED, 6, 24, None)
    section = table(study, page)
    assert section.html.count("best") >= 1
    lines = list(csv.DictReader(io.StringIO(section.files["tiny/tables/leaderboard.csv"].decode())))
    assert [line["method"] for line in lines] == ["instructedit", "mdp", "flux"]
    assert lines[0]["label"] == "instructedit ratio=0.7"  # its ratio is the default
    assert [line["evaluations"] for line in lines] == ["10.0", "30.0", ""]
    assert "–" in section.html
    with pytest.raises(Missing):  # it compares two or more methods
        table(study_of(runs[:1]), page)


def test_audited_runs_are_a_section_of_their_own(benchmark: Benchmark, tmp_path: Path, runs: list[Run]) -> None:
    audited = [
        done(benchmark, tmp_path, Fade(strength, has_mask=False), f"audit_{kind}", more=[Darkness()])
        for kind, strength in (("edited", 0.3), ("images", 1.0), ("wrong", 0.6))
    ]
    page = Page(tmp_path / "page", LINKED, 6, 24, None)
    with pytest.raises(Missing):
        judges.judge_audit(study_of(runs), page)
    study = study_of([*runs, *audited])
    section = judges.judge_audit(study, page)
    lines = {
        line["metric"]: line
        for line in csv.DictReader(io.StringIO(section.files["tiny/tables/judge_audit.csv"].decode()))
    }
    assert lines["lpips"]["preferred_to_audit_images_mean"] == "0.0"
    assert lines["clip_directional"]["preferred_to_audit_wrong_mean"] == "1.0"
    assert "reference edits" in section.html


class OtherChange(Change):
    """The metric of :class:`Change` with another card."""

    def details(self) -> Card:
        return {"implementation": "another one"}


@pytest.mark.parametrize("has_methods", [True, False])
def test_audited_runs_enter_no_table_and_no_figure_of_methods(
    has_methods: bool, benchmark: Benchmark, tmp_path: Path, runs: list[Run]
) -> None:
    """Nor do they decide which card of a metric the methods' tables show."""
    audited = [
        done(benchmark, tmp_path, Fade(strength, has_mask=False), f"audit_{kind}", metrics=[OtherChange(), Darkness()])
        for kind, strength in (("edited", 0.3), ("images", 1.0), ("wrong", 0.6))
    ]
    study = study_of([*(runs if has_methods else ()), *audited])
    assert study.methods == (["instructedit", "mdp", "flux"] if has_methods else [])
    assert study.mixed_cards == []
    assert set(study.frame["run_id"]).isdisjoint(run.run_id for run in audited)
    page, shown = Page(tmp_path / "page", LINKED, 6, 24, None), dict[str, Section]()
    for make in SECTIONS:
        with contextlib.suppress(Missing):
            section = make(study, page)
            shown[section.key] = section
    for key, section in shown.items():
        text = section.html + " ".join(map(str, section.files.values()))
        is_of_audit = any(run.run_id in text or run.name in text for run in audited)
        assert is_of_audit == (key in ("judge-audit-tiny", "runs-tiny"))
    assert set(shown) >= {"judge-audit-tiny", "runs-tiny", "cards-tiny"}
    # The audit links to the card of its own values.
    assert OtherChange().card_id in shown["judge-audit-tiny"].html


def test_a_runs_peak_memory_is_recorded_once_it_edited(runs: list[Run], benchmark: Benchmark, tmp_path: Path) -> None:
    (session,) = runs[0].sessions
    assert session.peak_gib is not None
    text = (runs[0].store.folder / "manifest.json").read_bytes()
    assert Manifest.from_json(text).sessions[0].peak_gib == session.peak_gib
    assert Manifest.from_json(b'{"run_id": "v2-1", "sessions": [{"started": "1"}]}').sessions[0].peak_gib is None


def test_the_peak_is_that_of_what_happened_since_the_reset() -> None:
    block = np.ones(40 * 2**20)
    assert memory.peak_gib("cpu") > 0.3
    high = memory.peak_gib("cpu")
    del block
    memory.reset_peak("cpu")
    low = memory.peak_gib("cpu")
    assert low < high - 0.2
    block = np.ones(40 * 2**20)
    assert memory.peak_gib("cpu") > low + 0.2
    del block


def test_without_a_status_of_the_process_the_peak_is_in_the_systems_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux counts KiB, macOS bytes."""
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for system, unit in (("linux", 1024), ("darwin", 1)):
        monkeypatch.setattr(memory, "sys", SimpleNamespace(platform=system))
        assert memory.peak_gib("cpu") == pytest.approx(kib * unit / 2**30, rel=0.1)
