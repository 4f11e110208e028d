"""Draw the benchmarks of picturebook's single pictures, byte-for-byte reproducibly.

    python -m scripts.draw benchmarks

``benchmark`` has 30 samples, ten of each category of the paper's Table 1; ``benchmark_ablation`` has 85, over the
paper's four kinds of edit (§5); ``benchmark_unclear`` has 40 whose instructions say "it", or "the animal" beside other
things (§3.2: BLIP-2 helps where the instruction is unclear). Each is a folder that
``eval.benchmarks.base.load_benchmark`` reads.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from PIL import Image

from data.picturebook.benchmark_card import card
from data.picturebook.edits import Edit, possible
from data.picturebook.phrases import HELD_OUT_TEMPLATES, Wish, describe, references, unnamed
from data.picturebook.training.scenes import SPLITS
from data.picturebook.world import BACKGROUNDS, Part, Scene, Thing, pixels, render, sample_scene
from eval.benchmarks.base import MANIFEST
from eval.benchmarks.packed import pack
from instructedit.files import write_aside

FOLDER = Path(__file__).parent
VARIATIONS = 3
CANDIDATES = 16
"""Number of possible edits among which the sample is chosen: the clear edit most different from earlier samples."""
MIN_CHANGED = 100
"""Number of pixels inside the mask that a perfect edit must change by at least ``VISIBLE`` of 255. This excludes, for
example, adding a scarf, which hangs below the animal and so outside its mask."""
VISIBLE = 24
# Templates of the instructions, worded as in the paper.
_PLAIN = {
    "change": ("Change the {r} to {n}", "Turn the {r} into {n}", "Replace the {r} with {n}"),
    "recolour": ("Color the {r} {c}", "Paint the {r} {c}", "Change the color of the {r} to {c}"),
    "add": ("Add {n} to the {r}", "Give the {r} {n}", "Put {n} on the {r}"),
    "remove": ("Remove the {r}", "Erase the {r}", "Take away the {r}"),
    "mix": ("Mix the {r} with {n}", "Combine the {r} with {n}", "Blend the {r} with {n}"),
}
# Templates that are wrong English with a plural: "the oranges becomes".
_SINGULAR_ONLY = (" becomes {n}", " is ", " was ")
# Styles by the last digit of a sample's index: of ten samples, one is a painting and one is a drawing.
_STYLES = {4: "painting", 7: "drawing"}


@dataclass(frozen=True)
class Drawn:
    """A sample in memory, before it is written to disk."""

    id: str
    category: str
    instruction: str
    variations: tuple[str, ...]
    said: Wish
    """The wish as the instruction words it, which may call the object "it"."""
    edit: Edit
    wrong: Edit
    """Another edit of the same scene, which the instruction does not ask for; it audits judges."""


@dataclass(frozen=True)
class Slot:
    """Specification of one sample."""

    category: str
    kind: str
    fixed: tuple[Scene, Wish, str] | None = None
    """A scene, one of the paper's wishes and its template; None samples all of them at random."""
    is_bare: bool = False
    """Whether the animals wear nothing before the edit."""
    is_unclear: bool = False
    """Whether the instruction names no noun, so that only the picture tells what is edited."""


def _paper(style: str, background: str, wish: Wish, template: str, *things: Thing) -> tuple[Scene, Wish, str]:
    return Scene(SPLITS["benchmark"] + len(wish.reference), style, background, things), wish, template


_PAPER = {
    "single": (
        _paper(
            "photo", "grass", Wish("recolour", "white scarf", "pink"), "Color the {r} {c}",
            Thing("cat", 64, 54, 82, parts=(Part("scarf", "white"),)),
        ),
        _paper(
            "photo", "sand", Wish("change", "glasses", "sunglasses"), "Turn the {r} into {n}",
            Thing("dog", 66, 70, 86, parts=(Part("glasses"),)),
        ),
    ),
    "same": (
        _paper(
            "photo", "grass", Wish("change", "bigger cat", "lion"), "Change the {r} to {n}",
            Thing("cat", 42, 70, 66), Thing("cat", 101, 82, 42),
        ),
        _paper(
            "photo", "sand", Wish("change", "oranges", "apples", many=True), "Replace the {r} with {n}",
            Thing("orange", 36, 72, 52), Thing("orange", 93, 80, 50),
        ),
        _paper(
            "photo", "snow", Wish("change", "strawberries", "shrimps", many=True), "Change the {r} to {n}",
            Thing("strawberry", 23, 84, 40), Thing("strawberry", 65, 72, 41), Thing("strawberry", 106, 86, 38),
        ),
    ),
    "different": (
        _paper(
            "photo", "grass", Wish("change", "horse", "zebra"), "Change the {r} to {n}",
            Thing("horse", 42, 72, 62), Thing("tree", 99, 66, 50),
        ),
    ),
}  # fmt: skip
_DRAWN = {
    "single": ("change", "recolour", "change", "change", "add", "recolour", "change", "add"),
    "same": ("change", "change", "recolour", "remove", "change", "add", "mix"),
    "different": ("change", "change", "recolour", "remove", "change", "add", "change", "mix", "change"),
}
TABLE = tuple(
    slot
    for category in ("single", "same", "different")
    for slot in (
        *(Slot(category, fixed[1].kind, fixed) for fixed in _PAPER[category]),
        *(Slot(category, kind) for kind in _DRAWN[category]),
    )
)
_COUNTS = {
    ("change", "single"): 8, ("change", "same"): 8, ("change", "different"): 8,
    ("recolour", "single"): 5, ("recolour", "same"): 3, ("recolour", "different"): 2,
    ("add", "single"): 9, ("add", "same"): 4, ("add", "different"): 4,
    ("remove", "single"): 5, ("remove", "same"): 6, ("remove", "different"): 6,
    ("mix", "single"): 7, ("mix", "same"): 5, ("mix", "different"): 5,
}  # fmt: skip
ABLATION = tuple(
    # A mix cannot wear things; of the animals that an edit adds something to, every other one already wears something.
    Slot(category, kind, is_bare=kind == "mix" or (kind == "add" and number % 2 == 0))
    for (kind, category), count in _COUNTS.items()
    for number in range(count)
)
UNCLEAR = tuple(
    Slot(category, kind, is_bare=kind != "add" or number % 2 == 0, is_unclear=True)
    for category, counts in {
        "single": {"change": 8, "add": 6, "remove": 2, "mix": 4},
        "different": {"change": 9, "add": 5, "remove": 3, "mix": 3},
    }.items()
    for kind, count in counts.items()
    for number in range(count)
)
BENCHMARKS = {
    "benchmark": (TABLE, "category"),
    "benchmark_ablation": (ABLATION, "edit"),
    "benchmark_unclear": (UNCLEAR, "edit"),
}
"""By folder: the specifications of the samples, and the field that their ids begin with."""
EXAMPLE = "benchmark"
"""The folder whose pictures are files of the repository; those of the others are packed in one archive each."""


def draw(name: str) -> list[Drawn]:
    """Return all samples of a benchmark, in order."""
    slots, prefix = BENCHMARKS[name]
    used: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    samples = []
    for index, slot in enumerate(slots):
        # A seed of three numbers: the scenes of the splits are seeded by two, so no generator is shared.
        rng = np.random.default_rng([SPLITS["benchmark"], list(BENCHMARKS).index(name), index])
        edit, template = _fixed(*slot.fixed) if slot.fixed else _drawn(rng, slot, index, used)
        used.update(_words(edit))
        head = slot.category if prefix == "category" else edit.edit
        numbers[head] += 1
        said = replace(edit.wish, reference=_unnamed(edit) or edit.wish.reference) if slot.is_unclear else edit.wish
        samples.append(
            Drawn(
                id=f"{head}_{numbers[head]:02d}_{_slug(edit.wish)}",
                category=slot.category,
                instruction=said.words(template),
                variations=_variations(rng, said),
                said=said,
                edit=edit,
                # A seed of four numbers, so that the samples' own generators are not disturbed.
                wrong=wrong_edit(
                    np.random.default_rng([SPLITS["benchmark"], list(BENCHMARKS).index(name), index, 1]), edit
                ),
            )
        )
    return samples


def wrong_edit(rng: np.random.Generator, edit: Edit) -> Edit:
    """Return a clear edit of the same scene with another outcome, of the same kind if there is one."""
    for kind in dict.fromkeys((edit.wish.kind, "change", "recolour", "remove", "add", "mix")):
        for other in possible(rng, edit.scene, kind):
            if other.edited not in (edit.scene, edit.edited) and other.is_clear() and _changes(other):
                return other
    raise ValueError(f"no other edit of the scene of {edit.wish} is clear")


def _fixed(scene: Scene, wish: Wish, template: str) -> tuple[Edit, str]:
    reference = next(r for r in references(scene) if r.phrase == wish.reference)
    return Edit(scene, reference, wish), template


def _drawn(rng: np.random.Generator, slot: Slot, index: int, used: Counter[str]) -> tuple[Edit, str]:
    """Return a clear edit that shares as few words as possible with earlier samples, and its template."""
    candidates = _candidates(rng, slot, index)
    while True:
        # sorted() is stable, so the first of equal candidates is taken.
        for edit in sorted(islice(candidates, CANDIDATES), key=lambda e: mean(used[w] for w in _words(e))):
            if edit.is_clear() and _changes(edit):
                return edit, str(rng.choice(_PLAIN[slot.kind]))


def _candidates(rng: np.random.Generator, slot: Slot, index: int) -> Iterator[Edit]:
    style = _STYLES.get(index % 10, "photo")
    # Mixes can hardly be recognised as paintings or drawings, nor can drawings at night.
    style = "photo" if slot.kind == "mix" else style
    places = BACKGROUNDS[:3] if style == "drawing" else BACKGROUNDS
    while True:
        scene = replace(sample_scene(rng, slot.category), style=style, background=places[index % len(places)])
        if slot.is_bare:
            scene = replace(scene, things=tuple(replace(t, parts=()) for t in scene.things))
        edits = possible(rng, scene, slot.kind)
        yield from islice((e for e in edits if not slot.is_unclear or _unnamed(e)), 1)


def _unnamed(edit: Edit) -> str | None:
    return unnamed(edit.reference.phrase, [thing.noun for thing in edit.scene.things])


def _words(edit: Edit) -> tuple[str, ...]:
    """Return the words by which samples are compared; a repeated word has a larger weight."""
    phrase = edit.wish.reference
    form = phrase.replace(edit.noun, "...") if len(edit.scene.things) > 1 else edit.scene.things[0].noun
    new = (f"to {edit.wish.new.split()[-1]}",) if edit.wish.new else ()
    # Mixing is symmetric.
    pair = sorted((edit.noun, edit.wish.new)) if edit.wish.kind == "mix" else (phrase, edit.wish.new)
    wish = " ".join((edit.wish.kind, *pair))
    return (edit.noun, edit.noun, *new, *new, form, *(t.noun for t in edit.scene.things), *(wish,) * 5)


def _changes(edit: Edit) -> bool:
    change = np.abs(pixels(edit.scene).astype(int) - pixels(edit.edited)).max(axis=-1)
    return int((change >= VISIBLE)[edit.mask()].sum()) >= MIN_CHANGED


def _variations(rng: np.random.Generator, wish: Wish) -> tuple[str, ...]:
    plural = wish.many or any(words in ("glasses", "sunglasses") for words in (wish.reference, wish.new))
    fitting = [t for t in HELD_OUT_TEMPLATES[wish.kind] if not (plural and any(s in t for s in _SINGULAR_ONLY))]
    indices = rng.choice(len(fitting), VARIATIONS, replace=False)
    return tuple(wish.words(fitting[i]) for i in indices)


def _slug(wish: Wish) -> str:
    between = {"change": " to ", "recolour": " to ", "add": " gets ", "remove": "", "mix": " with "}[wish.kind]
    return f"{wish.reference}{between}{wish.new}".replace(" ", "_")


# --- writing ---------------------------------------------------------------------------------------------------------


def line(sample: Drawn) -> dict[str, Any]:
    """Return a sample's line of the manifest, with the keys in the order in which they are written."""
    edit = sample.edit
    return {
        "id": sample.id,
        "image": f"images/{sample.id}.png",
        "instruction": sample.instruction,
        "variations": list(sample.variations),
        "captions": {"input": describe(edit.scene), "edited": describe(edit.edited)},
        "category": sample.category,
        "edit": edit.edit,
        "truth": {
            "mask": f"masks/{sample.id}.png",
            "edited": f"edited/{sample.id}.png",
            "referred": edit.reference.phrase,
            "target": edit.target,
        },
    }


def write(name: str, samples: Sequence[Drawn], folder: Path) -> None:
    """Write a benchmark's pictures, their archive, manifest and card, and delete pictures that belong to no sample."""
    written = set()
    for sample in samples:
        pictures = {
            "images": render(sample.edit.scene),
            "masks": Image.fromarray(sample.edit.mask().astype(np.uint8) * 255),
            "edited": render(sample.edit.edited),
            "wrong": render(sample.wrong.edited),
        }
        for kind, picture in pictures.items():
            path = folder / kind / f"{sample.id}.png"
            written.add(path)
            with write_aside(path) as file:
                # With run-length coding, every build of zlib should write the same bytes.
                picture.save(file, format="PNG", compress_type=Image.RLE)
    for stale in set(folder.rglob("*.png")) - written:
        stale.unlink()
    if name != EXAMPLE:
        pack(folder)
    lines = [line(sample) for sample in samples]
    with write_aside(folder / MANIFEST) as file:
        file.write("".join(json.dumps(item) + "\n" for item in lines).encode())
    with write_aside(folder / "README.md") as file:
        file.write(card(name, lines, [sample.edit.scene for sample in samples], name != EXAMPLE).encode())
