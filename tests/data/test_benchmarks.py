"""The committed benchmarks: drawing is reproducible byte for byte, and the ground truth is correct."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from data.picturebook import benchmark
from data.picturebook.benchmark import BENCHMARKS, EXAMPLE, Drawn, draw, write
from data.picturebook.edits import MIN_MASK
from data.picturebook.phrases import HELD_OUT_TEMPLATES, TEMPLATES, references
from data.picturebook.training.scenes import SPLITS
from data.picturebook.world import BACKGROUNDS, STYLES, Scene, mask, pixels
from eval.benchmarks.base import load_benchmark
from eval.benchmarks.packed import ARCHIVE, unpack

FOLDER = Path(benchmark.__file__).parent
NAMES = list(BENCHMARKS)


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[Drawn]]:
    return {name: draw(name) for name in NAMES}


@pytest.fixture(scope="module")
def every(drawn) -> list[Drawn]:
    return [sample for name in NAMES for sample in drawn[name]]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(one: Scene, other: Scene) -> np.ndarray:
    return (pixels(one) != pixels(other)).any(axis=-1)


def near(scene: Scene, index: int) -> np.ndarray:
    """The region that a thing, its shadow and the painting filter can reach, computed from its size only."""
    thing = scene.things[index]
    ys, xs = np.mgrid[0:128, 0:128]
    # A hat rises above the head, a scarf and the shadow reach below the chin.
    high, low, wide = (0.95 * thing.size, 0.95 * thing.size, 0.65 * thing.size)
    brush = 6
    return (
        (ys >= thing.y - high - brush) & (ys <= thing.y + low + brush) & (np.abs(xs - thing.x) <= wide + brush)
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_drawn_again_it_is_the_same_to_the_byte(name, drawn, tmp_path):
    unpack(FOLDER / name)
    write(name, drawn[name], tmp_path / name)
    again, committed = files(tmp_path / name), files(FOLDER / name)
    assert sorted(again) == sorted(committed)
    assert [path for path in again if again[path] != committed[path]] == []
    assert (ARCHIVE in again) == (name != EXAMPLE)


def test_pictures_of_no_sample_are_taken_away(drawn, tmp_path):
    stray = tmp_path / "images" / "stray.png"
    stray.parent.mkdir()
    stray.write_bytes(b"")
    write("benchmark", drawn["benchmark"][:1], tmp_path)
    assert not stray.exists()


def test_the_table_has_ten_of_each_category():
    samples = load_benchmark(FOLDER / "benchmark").samples
    assert Counter(s.category for s in samples) == {"single": 10, "same": 10, "different": 10}


def test_the_ablation_has_all_four_edits():
    samples = load_benchmark(FOLDER / "benchmark_ablation").samples
    assert Counter(s.edit for s in samples) == {"change": 34, "add": 17, "remove": 17, "mix": 17}
    assert set(Counter(s.category for s in samples)) == {"single", "same", "different"}


def test_the_unclear_instructions_name_nothing_of_the_picture():
    samples = load_benchmark(FOLDER / "benchmark_unclear").samples
    assert Counter(s.edit for s in samples) == {"change": 12, "add": 9, "remove": 3, "mix": 6}
    for sample in samples:
        assert sample.captions is not None
        assert sample.truth.referred
        assert sample.truth.referred in sample.captions.input
        for text in (sample.instruction, *sample.variations):
            assert re.search(r"\bit\b", text, re.IGNORECASE)
            assert sample.truth.referred not in text.split()


def test_styles_and_places_are_spread(drawn):
    scenes = [sample.edit.scene for sample in drawn["benchmark"]]
    assert Counter(scene.style for scene in scenes) == {"photo": 24, "painting": 3, "drawing": 3}
    for name in NAMES:
        assert {sample.edit.scene.background for sample in drawn[name]} == set(BACKGROUNDS)
        assert {sample.edit.scene.style for sample in drawn[name]} == set(STYLES)


@pytest.mark.parametrize(
    "instruction",
    [
        "Color the white scarf pink",
        "Turn the glasses into sunglasses",
        "Change the bigger cat to a lion",
        "Replace the oranges with apples",
        "Change the strawberries to shrimps",
        "Change the horse to a zebra",
    ],
)
def test_the_papers_own_wishes_are_in(instruction):
    assert instruction in [s.instruction for s in load_benchmark(FOLDER / "benchmark").samples]


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_is_whole(name):
    for sample in load_benchmark(FOLDER / name).samples:
        assert sample.captions is not None
        assert sample.captions.input != sample.captions.edited
        assert sample.truth.mask is not None
        assert sample.truth.edited is not None
        with Image.open(sample.image) as image, Image.open(sample.truth.mask) as region:
            assert (image.mode, image.size, region.mode, region.size) == ("RGB", (128, 128), "L", (128, 128))
            assert not image.info
            assert set(np.unique(np.asarray(region))) == {0, 255}
            assert np.count_nonzero(np.asarray(region)) >= MIN_MASK
        assert (sample.truth.target is None) == (sample.edit == "remove")


@pytest.mark.parametrize("name", NAMES)
def test_keys_stand_in_one_order(name):
    lines = [json.loads(line) for line in (FOLDER / name / "manifest.jsonl").read_text().splitlines()]
    assert len({tuple(line) for line in lines}) == 1
    assert len({(tuple(line["captions"]), tuple(line["truth"])) for line in lines}) == 1


def test_what_is_referred_to_is_unique(every):
    for sample in every:
        edit = sample.edit
        matching = [r for r in references(edit.scene) if r.phrase == edit.wish.reference]
        assert matching == [edit.reference]
        assert edit.wish.answer().segmentation_prompt == edit.reference.phrase
        assert sample.said.reference in sample.instruction


def test_the_answer_names_what_appears(every):
    for sample in every:
        if sample.edit.target is not None:
            assert sample.edit.target in sample.edit.wish.answer().edited
        assert sample.edit.wish.answer().input != sample.edit.wish.answer().edited


def test_instructions_are_known_and_variations_held_out(every):
    for sample in every:
        wish = sample.said
        assert sample.instruction in [wish.words(t) for t in TEMPLATES[wish.kind]]
        assert set(sample.variations) <= {wish.words(t) for t in HELD_OUT_TEMPLATES[wish.kind]}
        assert len({sample.instruction, *sample.variations}) == 4


def test_ids_and_scenes_are_each_used_once(drawn, every):
    for name in NAMES:
        ids = [sample.id for sample in drawn[name]]
        assert len(set(ids)) == len(ids)
    assert len({sample.edit.scene for sample in every}) == len(every)
    assert len({seed for seed in SPLITS.values()}) == len(SPLITS)


def test_outside_its_reach_an_edit_changes_nothing(every):
    for sample in every:
        edit = sample.edit
        reach = np.logical_or.reduce([near(edit.scene, index) for index in edit.reference.indices])
        difference = changed(edit.scene, edit.edited)
        assert difference.any(), sample.id
        assert not (difference & ~reach).any(), sample.id


def test_inside_the_mask_an_edit_changes_much(every):
    for sample in every:
        share = changed(sample.edit.scene, sample.edit.edited)[sample.edit.mask()].mean()
        # An added part covers only a part of its animal, and black eyes stay black in a mix.
        assert share >= (0.05 if sample.edit.edit == "add" else 0.5), f"{sample.id}: {share:.2f}"


def test_the_mask_is_where_the_referred_thing_is_seen(every):
    for sample in every:
        edit = sample.edit
        if edit.reference.part is not None or edit.scene.style != "photo":
            continue
        kept = tuple(t for i, t in enumerate(edit.scene.things) if i not in edit.reference.indices)
        gone = changed(edit.scene, replace(edit.scene, things=kept))
        # Semi-transparent edges and the shadow change too, but only near the mask.
        assert gone[edit.mask()].mean() >= 0.97, sample.id


def test_masks_hold_for_parts(every):
    for sample in every:
        edit, part = sample.edit, sample.edit.reference.part
        if part is not None:
            (index,) = edit.reference.indices
            inside = edit.mask() & ~mask(edit.scene, index)
            assert not inside.any(), sample.id


def test_pictures_carry_no_blur_beyond_the_brush():
    # `near` allows six pixels around a thing, the reach of the painting filter's median and blur.
    dot = Image.new("L", (31, 31), 0)
    dot.paste(255, (14, 14, 17, 17))
    blurred = np.asarray(dot.filter(ImageFilter.MedianFilter(5)).filter(ImageFilter.GaussianBlur(0.4)))
    ys, xs = np.nonzero(blurred)
    assert not len(xs) or max(np.abs(ys - 15).max(), np.abs(xs - 15).max()) <= 6
