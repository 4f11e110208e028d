"""The dataset card of a picturebook benchmark."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from data.picturebook.training.scenes import SPLITS
from data.picturebook.world import SIZE, Scene

_ABOUT = {
    "benchmark": (
        "picturebook",
        """The set follows the paper's Table 1, ten pictures of each category: one animal that wears things
(`single`), several things of one noun (`same`), several nouns (`different`). The first samples of each category are
instructions from the paper.""",
    ),
    "benchmark_ablation": (
        "picturebook_ablation",
        """The set follows the paper's study of its components (§5), with one edit per picture, of four kinds: `change`
(a new noun or a new colour), `add` (an animal gets something to wear), `remove`, and `mix` (half of each of two
animals).""",
    ),
    "benchmark_unclear": (
        "picturebook_unclear",
        """The instructions do not name what is edited ("Change it to a lion"): only the picture tells. The paper
has BLIP-2 describe the picture for such instructions (§3.2). In 20 pictures there is one thing, and the instructions
say "it"; in 20 there are several, and they say "the animal" or "the food", of which there is one.""",
    ),
}
_TEXT = """\
# {title}

{count} pictures of {size} x {size} pixels, each with an instruction, three paraphrases of it, two captions, and ground
truth for the edit. {about} They replace the paper's pictures, which its repository does not have.

## How it is drawn

    python -m scripts.draw benchmarks

This command draws this folder again, byte for byte (with the package versions of `constraints.txt`), including this
card. Scenes are sampled by `data/picturebook/world.py` with the seed {seed}. The shipped models were trained with the
seed {train} and scored with the seed {held_out}, so training and benchmark share no seed. No model was trained on the
templates of the paraphrases (`HELD_OUT_TEMPLATES` in `data/picturebook/phrases.py`).

## Contents

{counts}
{packed}
A line of `manifest.jsonl` is one sample:

- `instruction`, and `variations`: paraphrases of the instruction.
- `captions`: captions of the whole picture before and after the edit, for caption-conditioned methods.
- `category`: {categories}. `edit`: change, add, remove or mix.
- `truth.mask`: the ground-truth mask, white on the visible pixels of the referred object in the picture before the
  edit. The new object may reach beyond it, as a lion's mane does. For `add` it is the animal, not the place of the new
  object.
- `truth.edited`: the reference edit, drawn from the edited scene. Outside the edit and its shadow it equals the input.
- `truth.referred`: the referring expression, which is the correct segmentation prompt. It is unambiguous in the
  picture.
- `truth.target`: the noun that the region should show after the edit; null for `remove`.
- `wrong/<id>.png`, not in the manifest: an edit of the same picture that the instruction does not ask for, to audit
  judges (`experiment=judge_audit`).

## Licence

The pictures are composed of emoji from Google's Noto Color Emoji, Apache License 2.0 (see NOTICE). The code that draws
them and the texts are under the MIT License.

## All samples

{rows}
"""
PACKED = """
The pictures are in `pictures.zip`. The first command that reads the benchmark unpacks them into this folder, where git
ignores them.
"""


def card(name: str, lines: Sequence[Mapping[str, Any]], scenes: Sequence[Scene], is_packed: bool) -> str:
    """Return the card in Markdown.

    Args:
        name: Name of the benchmark's folder.
        lines: Lines of its manifest.
        scenes: One per line, before the edit.
        is_packed: Whether the pictures are in an archive. If so, the card has captions in the place of pictures.
    """
    title, about = _ABOUT[name]
    counts = [
        _counted("category", (line["category"] for line in lines)),
        _counted("edit", (line["edit"] for line in lines)),
        _counted("style", (scene.style for scene in scenes)),
        _counted("place", (scene.background for scene in scenes)),
    ]
    return _TEXT.format(
        title=title,
        about=about,
        count=len(lines),
        size=SIZE,
        seed=SPLITS["benchmark"],
        train=SPLITS["train"],
        held_out=SPLITS["held_out"],
        counts="\n".join(counts),
        packed=PACKED if is_packed else "",
        categories=", ".join(dict.fromkeys(line["category"] for line in lines)),
        rows="\n".join(_texts(lines) if is_packed else _pictures(lines)),
    )


def _counted(what: str, values: Iterable[str]) -> str:
    return f"- by {what}: " + ", ".join(f"{count} {value}" for value, count in Counter(values).most_common())


def _pictures(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| instruction | input | mask | reference edit |"
    yield "|---|---|---|---|"
    for line in lines:
        truth = line["truth"]
        pictures = (line["image"], truth["mask"], truth["edited"])
        yield " | ".join((f"| {line['instruction']}", *(f"![]({path})" for path in pictures))) + " |"


def _texts(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| sample | instruction | caption of the input | caption of the reference edit |"
    yield "|---|---|---|---|"
    for line in lines:
        captions = line["captions"]
        yield f"| `{line['id']}` | {line['instruction']} | {captions['input']} | {captions['edited']} |"
