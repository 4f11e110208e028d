"""Does an edit show what was asked for? Judged by picturebook's CLIP, which never saw an edit.

    python -m data.picturebook.judge [diffusion] [instruct_pix2pix] [inpainting]

edits held-out scenes with the true mask and the true captions, so that the editor alone is on trial (InstructPix2Pix
gets the instruction instead), and writes the share of right edits to the models' cards.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from baselines.instruct_pix2pix import InstructPix2Pix
from baselines.sd_inpainting import InpaintingEditor
from data.picturebook.phrases import TEMPLATES, Answer, Wish, article, references
from data.picturebook.training.cards import write_card
from data.picturebook.training.clip import square
from data.picturebook.training.scenes import scene
from data.picturebook.world import NOUNS, box, mask, render
from eval.metrics.clip import ClipScorer, TransformersClip
from instructedit.editor import Edited, Editor, MaskGuidedEditor
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, EditRequest, EditResult

MODELS = Path(__file__).with_name("models")
RATIOS = (0.5, 0.7, 0.9)
COUNT = 60
BATCH = 12
DILATE = 4
"""As conf/method/instructedit.yaml."""


@dataclass(frozen=True)
class Trial:
    """One thing of a held-out scene that shall become another."""

    request: EditRequest
    mask: np.ndarray
    answer: Answer
    target: str


Edit = Callable[[Sequence[Trial]], Sequence[Image.Image]]
"""Edits a few trials."""


def trials(count: int, seed: int = 5) -> list[Trial]:
    """Changes of one whole thing into another noun, over all kinds of scenes."""
    rng, found, index = np.random.default_rng(seed), list[Trial](), 0
    while len(found) < count:
        drawn = scene("held_out", index)
        index += 1
        single = [r for r in references(drawn) if len(r.indices) == 1 and r.part is None]
        if not single or any(t.mixed_with for t in drawn.things):
            continue
        reference = single[int(rng.integers(len(single)))]
        present = {t.noun for t in drawn.things}
        target = str(rng.choice([n for n in NOUNS if n not in present]))
        region = mask(drawn, reference.indices[0])
        wish = Wish("change", reference.phrase, target)
        request = EditRequest(str(index), render(drawn), wish.words(TEMPLATES["change"][0]))
        found.append(Trial(request, region, wish.answer(), target))
    return found


def choose(scorer: ClipScorer, image: Image.Image, region: np.ndarray, nouns: Sequence[str] = NOUNS) -> str:
    """The noun that CLIP prefers for the square around a region."""
    crop = scorer.image(image.crop(square(box(region))))
    texts = torch.stack([scorer.text(f"photo of {article(n)}").features for n in nouns])
    return nouns[int((texts @ crop).argmax())]


def success(scorer: ClipScorer, asked: Sequence[Trial], edit: Edit) -> float:
    """Share of trials after which the judge sees the target where the old thing was."""
    right = 0
    for start in tqdm(range(0, len(asked), BATCH), leave=False):
        part = asked[start : start + BATCH]
        right += sum(choose(scorer, e, t.mask) == t.target for e, t in zip(edit(part), part, strict=True))
    return right / len(asked)


def editors(context: Context, models: Path) -> dict[str, dict[str, Edit]]:
    """What is on trial: by model folder and name of the score, how it edits with the true mask (if it takes one)."""

    def masked(editor: Editor) -> Edit:
        def edit(part: Sequence[Trial]) -> list[Image.Image]:
            captions = [Captions(t.answer.input, t.answer.edited) for t in part]
            edited = editor.edit([t.request for t in part], captions, [t.mask for t in part])
            return [e.image for e in edited if isinstance(e, Edited)]

        return edit

    def instructed(part: Sequence[Trial]) -> list[Image.Image]:
        outcomes = follower.edit([t.request for t in part])
        return [o.image for o in outcomes if isinstance(o, EditResult)]

    follower = InstructPix2Pix(context, Checkpoint(str(models / "instruct_pix2pix")))
    diffusion, inpainting = (Checkpoint(str(models / name)) for name in ("diffusion", "inpainting"))
    return {
        "diffusion": {
            f"edit_shows_target_at_{ratio}": masked(MaskGuidedEditor(context, diffusion, ratio, dilate=DILATE))
            for ratio in RATIOS
        },
        "instruct_pix2pix": {"instruction_followed": instructed},
        "inpainting": {"shows_requested_object": masked(InpaintingEditor(context, inpainting, dilate=DILATE))},
    }


def main() -> None:
    """Judge, print, and write the cards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="model folders to judge; all where none is named")
    wanted = parser.parse_args().models
    asked, scorer = trials(COUNT), TransformersClip.from_folder(MODELS / "clip", "clip", "")
    found = editors(Context.create(Path("results/cache")), MODELS)
    if unknown := sorted(set(wanted) - set(found)):
        parser.error(f"{', '.join(unknown)}: accepted are {', '.join(found)}")
    for name, scores in found.items():
        if wanted and name not in wanted:
            continue
        folder = MODELS / name / "unet"
        title, _, text = (part.strip() for part in (folder / "README.md").read_text().split("\n", 2))
        facts = json.loads((folder / "card.json").read_text())
        for score, edit in scores.items():
            facts["held_out"][score] = success(scorer, asked, edit)
            print(f"{name}: {score} {facts['held_out'][score]:.1%} of {COUNT}")
        write_card(folder, title.removeprefix("# "), text.split("\n\n| fact")[0], facts)


if __name__ == "__main__":
    main()
