"""Picturebook's world: drawing is deterministic, and masks and phrases are correct."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from data.picturebook.edits import Edit, possible
from data.picturebook.phrases import Wish, describe, references, thing_phrase
from data.picturebook.training.scenes import SPLITS, scene
from data.picturebook.world import Part, Scene, Thing, box, mask, pixels, render, sample_scene, swap

CATS = Scene(4, "photo", "grass", (Thing("cat", 42, 70, 66), Thing("cat", 101, 82, 42)))
DRESSED = Scene(5, "photo", "sand", (Thing("dog", 64, 56, 78, parts=(Part("hat"), Part("scarf", "red"))),))


def changed(one: Scene, other: Scene) -> np.ndarray:
    return (pixels(one) != pixels(other)).any(axis=-1)


def of_split(split: str, count: int) -> list[Scene]:
    return [scene(split, index) for index in range(count)]


@pytest.mark.parametrize("style", ["photo", "painting", "drawing"])
def test_the_same_scene_is_the_same_picture(style):
    one = replace(DRESSED, style=style)
    assert render(one).tobytes() == render(replace(one)).tobytes()
    assert render(one).size == (128, 128)


def test_another_process_draws_the_same_picture():
    program = (
        "import hashlib; import numpy as np; from data.picturebook.world import render, sample_scene;"
        "print(hashlib.sha256(render(sample_scene(np.random.default_rng(3))).tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert other == hashlib.sha256(render(sample_scene(np.random.default_rng(3))).tobytes()).hexdigest()


def test_splits_are_drawn_from_different_seeds():
    assert len(set(SPLITS.values())) == len(SPLITS)
    seeds = [{s.seed for s in of_split(split, 300)} for split in SPLITS]
    assert not seeds[0] & seeds[2]
    assert not seeds[0] & seeds[1]
    assert not seeds[1] & seeds[2]


@pytest.mark.parametrize("index", [0, 1])
def test_a_mask_is_what_changes_when_the_thing_is_gone(index):
    gone = changed(CATS, replace(CATS, things=swap(CATS.things, index, None)))
    region = mask(CATS, index)
    # All pixels of the mask change, and near it also semi-transparent edges and the shadow.
    assert gone[region].all()
    rows = np.nonzero((gone & ~region).any(axis=1))[0]
    assert region.sum() >= 0.6 * gone.sum()
    assert rows.max() <= CATS.things[index].y + 0.75 * CATS.things[index].size


@pytest.mark.parametrize("part", ["hat", "scarf"])
def test_a_parts_mask_is_what_changes_when_it_is_taken_off(part):
    (dog,) = DRESSED.things
    bare = replace(DRESSED, things=(replace(dog, parts=tuple(p for p in dog.parts if p.noun != part)),))
    region = mask(DRESSED, 0, part)
    # A tolerance, because faces are slightly transparent (by one level of 255) and the scarf is behind them.
    visibly = np.abs(pixels(DRESSED).astype(int) - pixels(bare)).max(axis=-1) > 8
    assert visibly[region].mean() > 0.97
    assert (visibly & ~region).sum() < 0.25 * region.sum()
    assert not (region & ~mask(DRESSED, 0)).any()


def test_what_stands_in_front_is_no_part_of_a_mask():
    hidden = replace(CATS, things=(CATS.things[0], Thing("ball", 42, 70, 90)))
    assert mask(hidden, 0).sum() < 0.2 * mask(CATS, 0).sum()


def test_a_box_is_tight_and_an_empty_mask_has_none():
    region = np.zeros((128, 128), bool)
    region[10:20, 30:33] = True
    assert box(region) == (30, 10, 33, 20)
    with pytest.raises(ValueError, match="empty"):
        box(np.zeros((128, 128), bool))


def test_references_name_one_thing_each():
    for one in of_split("held_out", 200):
        found = references(one)
        phrases = [r.phrase for r in found]
        assert len(set(phrases)) == len(phrases)
        for reference in found:
            assert reference.part is None or reference.part in one.things[reference.indices[0]].parts
            nouns = {one.things[i].noun for i in reference.indices}
            assert len(nouns) == 1
            if len(reference.indices) > 1:
                assert set(reference.indices) == {i for i, t in enumerate(one.things) if t.noun in nouns}


def test_references_by_size_and_place():
    found = {r.phrase: r.indices for r in references(CATS)}
    assert found == {
        "cats": (0, 1),
        "bigger cat": (0,),
        "smaller cat": (1,),
        "cat on the left": (0,),
        "cat on the right": (1,),
    }


def test_things_of_like_size_are_not_told_apart_by_it():
    alike = replace(CATS, things=(CATS.things[0], replace(CATS.things[1], size=60)))
    assert not any("bigger" in r.phrase or "smaller" in r.phrase for r in references(alike))


def test_captions_are_clear():
    assert describe(CATS) == "photo of two cats on grass"
    lemons = replace(CATS, things=(Thing("dog", 20, 70, 36, parts=(Part("bow"),)), Thing("lemon", 64, 70, 36)))
    assert describe(lemons) == "photo of a dog with a bow, and a lemon on grass"
    two = replace(CATS, things=(Thing("apple", 20, 70, 36), Thing("cat", 64, 70, 36), Thing("cat", 108, 70, 36)))
    assert describe(two) == "photo of an apple and two cats on grass"
    assert describe(replace(CATS, things=(), background="night")) == "photo of an empty background at night"
    assert thing_phrase(DRESSED.things[0]) == "a dog with a hat and a red scarf"


@pytest.mark.parametrize("style", ["photo", "painting", "drawing"])
def test_an_edit_leaves_the_far_background_alone(style):
    before = replace(CATS, style=style)
    after = replace(before, things=swap(before.things, 0, replace(before.things[0], noun="lion")))
    left_of_the_other_cat = 82
    assert changed(before, after)[:, :left_of_the_other_cat].any()
    assert not changed(before, after)[:, left_of_the_other_cat:].any()
    assert not changed(before, after)[:20].any()


def test_edits_of_all_kinds_come_true():
    rng = np.random.default_rng([SPLITS["held_out"], 1])
    seen = set()
    for kind in ("change", "recolour", "add", "remove", "mix"):
        for _ in range(40):
            for edit in possible(rng, sample_scene(rng), kind):
                seen.add(kind)
                assert edit.edited != edit.scene
                assert (edit.target is None) == (kind == "remove")
                assert describe(edit.edited) != describe(edit.scene) or kind == "change"
    assert len(seen) == 5


def test_removing_all_of_a_noun_removes_all():
    reference = next(r for r in references(CATS) if r.phrase == "cats")
    assert Edit(CATS, reference, Wish("remove", "cats", "", many=True)).edited.things == ()


def test_an_edit_that_is_not_drawn_is_refused():
    reference = next(r for r in references(DRESSED) if r.phrase == "hat")
    with pytest.raises(ValueError, match="not drawn"):
        _ = Edit(DRESSED, reference, Wish("mix", "hat", "crown")).edited
