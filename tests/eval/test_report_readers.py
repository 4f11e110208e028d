"""Runs on a benchmark that needs its reader: report, publishing and the sweep's messages find what the run had."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from eval.benchmarks.base import configured
from eval.report.build import report
from eval.runs.run import read_runs
from eval.runs.runner import Outcome, RunPlan, run
from scripts.publish import benchmark_of
from scripts.sweep import Sweep
from tests.eval.report.test_report import Change, Fade, request

MINE = """
from eval.benchmarks.masks import kept
from instructedit.types import Sample, Truth
from eval.benchmarks.base import Benchmark, revision
import numpy as np

def read(folder, masks):
    images = sorted(folder.glob("*.png"))
    if not images:
        raise FileNotFoundError(folder)
    samples = tuple(
        Sample(p.stem, p, "Remove it", truth=Truth(mask=kept(masks, p.stem, lambda: np.eye(16, dtype=bool))))
        for p in images
    )
    return Benchmark("mine", revision(b"", (s.image for s in samples)), samples)
"""


def make_run(results: Path, folder: Path, reader: str) -> str:
    named = {"name": "own", "folder": str(folder), "reader": reader}
    described = {"_target_": "mine.fade"}
    config = {"name": "fade", "benchmark": named, "wrapper": described, "seed": 0}
    benchmark = configured(named, results)
    plan = RunPlan(
        "fade",
        "fade",
        lambda: Fade(0.5),
        described,
        benchmark,
        lambda: [Change()],
        results,
        config=yaml.safe_dump(config),
    )
    return run(plan).run.run_id


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a manifest, and what reads it."""
    (tmp_path / "folder_of_pictures.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "photos").mkdir()
    for i, name in enumerate("ab"):
        Image.new("RGB", (16, 16), (90 * i, 60, 60)).save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def test_the_report_and_publishing_read_a_benchmark_by_the_runs_reader(own: Path, tmp_path: Path) -> None:
    run_id = make_run(tmp_path / "results", own, "folder_of_pictures.read")
    made = report(request(tmp_path / "results"))
    (study,) = made.studies
    assert [r.run_id for r in study.runs] == [run_id]
    assert not any("pictures" in line for line in made.missing)
    (published,) = (benchmark_of(r) for r in read_runs(tmp_path / "results"))
    for benchmark in (study.benchmark, published):
        assert benchmark is not None
        assert [s.image.name for s in benchmark.samples] == ["a.png", "b.png"]
        assert all(s.truth.mask and s.truth.mask.is_file() for s in benchmark.samples)


def test_a_reader_that_raises_costs_the_pictures_alone(own: Path, tmp_path: Path) -> None:
    run_id = make_run(tmp_path / "results", own, "folder_of_pictures.read")
    for path in own.glob("*.png"):
        path.unlink()
    made = report(request(tmp_path / "results"))
    assert [r.run_id for s in made.studies for r in s.runs] == [run_id]
    (line,) = (line for line in made.missing if "pictures" in line)
    assert "benchmark.reader=folder_of_pictures.read" in line
    assert "FileNotFoundError" in line


def test_a_published_formats_masks_reach_the_report(tmp_path: Path) -> None:
    entry = {
        "image_path": "1.png", "original_prompt": "a cat", "editing_prompt": "a dog", "blended_word": "",
        "editing_instruction": "Change it", "editing_type_id": "1", "mask": [0, 2000],
    }  # fmt: skip
    folder = tmp_path / "pie"
    (folder / "annotation_images").mkdir(parents=True)
    Image.fromarray(np.full((512, 512, 3), 90, np.uint8)).save(folder / "annotation_images" / "1.png")
    (folder / "mapping_file.json").write_text(json.dumps({"1": entry}))
    make_run(tmp_path / "results", folder, "eval.benchmarks.pie_bench.read")
    (study,) = report(request(tmp_path / "results")).studies
    (sample,) = study.benchmark.samples
    assert sample.truth.mask is not None
    assert sample.truth.mask.is_file()


def test_a_sweep_names_the_results_folder_that_was_set(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "elsewhere", own, "folder_of_pictures.read")
    (stored,) = read_runs(tmp_path / "elsewhere")
    Sweep(outcomes=[Outcome(stored, new=0, missing=0)], results=tmp_path / "elsewhere").finish()
    printed = "".join(capsys.readouterr().out.split())  # a narrow terminal folds paths
    assert f"{tmp_path}/elsewhere/runs/{stored.run_id}" in printed
