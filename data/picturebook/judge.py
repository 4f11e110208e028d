"""Does an edit show what was asked for? Judged by picturebook's CLIP, which never saw an edit.

    python -m data.picturebook.judge

edits held-out scenes with the true mask and the true captions, so that the editor alone is on trial, and writes the
share of right edits to the text-to-image model's card.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from data.picturebook.phrases import TEMPLATES, Answer, Wish, article, references
from data.picturebook.training.cards import write_card
from data.picturebook.training.clip import square
from data.picturebook.training.scenes import scene
from data.picturebook.world import NOUNS, box, mask, render
from eval.metrics.clip import ClipScorer
from instructedit.editor import MaskGuidedEditor
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, EditRequest

MODELS = Path(__file__).with_name("models")
RATIOS = (0.5, 0.7, 0.9)
COUNT = 60
DILATE = 4
"""As conf/method/instructedit.yaml."""


@dataclass(frozen=True)
class Trial:
    """One thing of a held-out scene that shall become another."""

    request: EditRequest
    mask: np.ndarray
    answer: Answer
    target: str


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


def success(context: Context, models: Path, count: int = COUNT, ratios: Sequence[float] = RATIOS) -> dict[str, float]:
    """Share of right edits by ratio, and of drawn truths that the judge recognises (its own ceiling)."""
    scorer = ClipScorer.from_folder(models / "clip", "clip", "")
    asked = trials(count)
    rates = {}
    for ratio in ratios:
        editor = MaskGuidedEditor(context, Checkpoint(str(models / "diffusion")), ratio, dilate=DILATE)
        right = 0
        for start in tqdm(range(0, count, 12), desc=f"ratio {ratio}", leave=False):
            part = asked[start : start + 12]
            captions = [Captions(t.answer.input, t.answer.edited) for t in part]
            edited = editor.edit([t.request for t in part], captions, [t.mask for t in part]).images
            right += sum(choose(scorer, e, t.mask) == t.target for e, t in zip(edited, part, strict=True))
        rates[f"edit_shows_target_at_{ratio}"] = right / count
    return rates


def main() -> None:
    """Judge, print, and write the card."""
    rates = success(Context.create(Path("results/cache")), MODELS)
    folder = MODELS / "diffusion" / "unet"
    facts = json.loads((folder / "card.json").read_text())
    facts["held_out"] |= rates
    text = "CLIPTextModel + UNet2DConditionModel, epsilon prediction, Stable Diffusion v1.5's noise schedule."
    write_card(folder, "Picturebook text-to-image UNet", text, facts)
    for name, rate in rates.items():
        print(f"{name}: {rate:.1%} of {COUNT}")


if __name__ == "__main__":
    main()
