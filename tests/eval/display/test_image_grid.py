"""The sheet shows each run's edits, and each set of masks once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from eval.display.image_grid import CELL, GAP, MISSING, sheet
from eval.runs.run import Run
from eval.runs.runner import run
from instructedit.types import EditRequest, EditResult, Failure
from tests.eval.runs.test_runner import Invert, make_benchmark, make_plan


@dataclass
class Masked(Invert):
    """A method that inverts colours and returns its own mask."""

    rows: int = 16

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        mask = np.zeros((16, 16), bool)
        mask[: self.rows] = True
        return [replace(o, mask=mask) if isinstance(o, EditResult) else o for o in super().edit(requests)]


def runs(tmp_path: Path, **methods: Masked) -> list[Run]:
    benchmark = make_benchmark(tmp_path / "benchmark", 2)
    plans = [
        replace(make_plan(benchmark, method, tmp_path), label=label, decides={"name": label})
        for label, method in methods.items()
    ]
    return [run(plan).run for plan in plans]


def columns(page: Image.Image) -> int:
    return round((page.width - 3 * GAP) / (CELL + GAP))


def test_masks_that_runs_share_are_shown_once(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark", 2)
    same = runs(tmp_path, one=Masked(), two=Masked(), three=Masked())
    assert columns(sheet(benchmark, same, blocks=1)) == 1 + 1 + 3 + 1  # input, mask, edits, truth
    other = runs(tmp_path, one=Masked(), four=Masked(rows=8))
    assert columns(sheet(benchmark, other, blocks=1)) == 1 + 2 + 2 + 1


def test_masks_are_red_and_failures_grey(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark", 2)
    found = runs(tmp_path, half=Masked(rows=8, fails=("s1",)))
    page = np.asarray(sheet(benchmark, found, blocks=1)).astype(int)
    left = 2 * GAP + CELL + GAP
    grey = (page == MISSING).all(axis=2)
    assert grey[:, left : left + CELL].any()
    assert grey[:, left + CELL + GAP : left + 2 * CELL + GAP].any()
    # Red with opacity one half over a black picture, in the upper half only.
    first = page[:, left + CELL // 2]
    red = (first[:, 0] > 100) & (first[:, 1] < 20)
    assert abs(int(red.sum()) - CELL // 2) < 6
