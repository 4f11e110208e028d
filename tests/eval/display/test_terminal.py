"""The end of a run says which values are missing, and why."""

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from eval.display.terminal import show
from eval.runs.runner import run
from instructedit.types import Truth
from tests.eval.runs.test_runner import Invert, make_benchmark, make_plan


def printed(tmp_path: Path, damaged: int, without: int) -> str:
    """The end of a run with damaged ground-truth masks of the first samples and none of the last ones."""
    benchmark = make_benchmark(tmp_path / "tiny", 5)
    for sample in benchmark.samples[:damaged]:
        assert sample.truth.mask is not None
        sample.truth.mask.unlink()
    last = {s.id for s in benchmark.samples[5 - without :]}
    samples = tuple(replace(s, truth=Truth()) if s.id in last else s for s in benchmark.samples)
    benchmark = replace(benchmark, samples=samples)
    outcome = run(make_plan(benchmark, Invert(), tmp_path / "results"))
    out = io.StringIO()
    show(Console(file=out, width=1000), [outcome], [benchmark])
    return out.getvalue()


def test_undefined_values_are_counted_with_the_first_reason(tmp_path: Path) -> None:
    text = printed(tmp_path, damaged=2, without=0)
    assert "mask_iou is undefined for 2 of 5 edits, the first of invert, sample s0: the ground truth cannot be" in text
    assert "m0.png: no such file" in text
    assert "have no ground-truth mask" not in text


def test_samples_without_a_mask_are_counted_where_others_have_one(tmp_path: Path) -> None:
    text = printed(tmp_path, damaged=0, without=2)
    assert "tiny: 2 of 5 samples have no ground-truth mask, such as s3; metrics of masks" in text
    assert "mask_iou is undefined" not in text
    assert "have no ground-truth mask" not in printed(tmp_path / "none", damaged=0, without=5)
