"""The benchmark of clips is drawn again byte for byte."""

from pathlib import Path

import numpy as np
import pytest

from data.picturebook.clips import FILMS, FRAMES, frames, masks
from data.picturebook.clips_benchmark import FOLDER, card, line, write
from eval.benchmarks.base import load_benchmark
from eval.benchmarks.packed import ARCHIVE, unpack


@pytest.mark.slow
def test_the_shipped_clips_are_drawn_again_byte_for_byte(tmp_path: Path) -> None:
    write(FILMS[:2], tmp_path)
    unpack(FOLDER)
    drawn = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.*") if p.parent != tmp_path)
    assert len(drawn) == 8
    for path in drawn:
        assert (tmp_path / path).read_bytes() == (FOLDER / path).read_bytes(), path


def test_ten_clips_with_ground_truth_are_there() -> None:
    benchmark = load_benchmark(FOLDER)
    assert [s.id for s in benchmark.samples] == [film.id for film in FILMS]
    assert {s.category for s in benchmark.samples} == {"single", "same", "different"}
    for sample in benchmark.samples:
        assert sample.captions
        assert sample.truth.mask
        assert sample.truth.mask.is_file()
        assert sample.truth.edited
        assert sample.truth.edited.is_file()
    assert (FOLDER / ARCHIVE).stat().st_size < 4e6


def test_the_card_is_what_the_code_writes() -> None:
    assert (FOLDER / "README.md").read_text() == card(FILMS, [line(film) for film in FILMS])


def test_the_reference_edit_equals_the_clip_away_from_the_edit() -> None:
    film = FILMS[5]
    drawn, edited = frames(film)[0], frames(film.edited)[0]
    mask = masks(film, [drawn] * FRAMES)[0]
    changed = (drawn.pixels != edited.pixels).any(-1)
    assert changed[mask].mean() > 0.8
    ys, xs = np.nonzero(mask)
    changed[ys.min() - 3 : ys.max() + 4, xs.min() - 3 : xs.max() + 4] = False
    assert not changed.any()
