"""Judge whether an edit shows its target, by picturebook's CLIP, which was not trained on edits.

Held-out scenes are edited with the ground-truth mask and captions, so that only the editor is judged (InstructPix2Pix
gets the instruction instead). ``python -m scripts.judge`` judges the shipped models.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from omegaconf import OmegaConf
from PIL import Image
from tqdm import tqdm

from baselines.instruct_pix2pix import InstructPix2Pix
from baselines.sd_inpainting import InpaintingEditor
from data.picturebook.edits import Edit, possible
from data.picturebook.phrases import TEMPLATES, Wish, article, references
from data.picturebook.training.cards import write_card
from data.picturebook.training.clip import square
from data.picturebook.training.scenes import scene
from data.picturebook.world import COLOURS, NOUNS, WEARABLES, Scene, Thing, box, mask, render
from eval.metrics.clip import ClipScorer, TransformersClip
from instructedit.editor import Edited, Editor, MaskGuidedEditor
from instructedit.models import Checkpoint, Context
from instructedit.types import Captions, EditRequest, EditResult

MODELS = Path(__file__).with_name("models")
RATIOS = (0.5, 0.7, 0.9)
COUNT = 60
"""Number of trials of each kind."""
BATCH = 12
DILATE = int(OmegaConf.load(Path(__file__).parents[2] / "conf" / "config.yaml").dilate)
"""Dilation in pixels: the default of the configuration."""


def shipped(name: str) -> Checkpoint:
    """Return a shipped checkpoint of the preset ``picturebook``, with the folder of the parts that it shares."""
    preset = OmegaConf.load(Path(__file__).parents[2] / "conf" / "models" / "picturebook.yaml")
    return Checkpoint(OmegaConf.select(preset, f"{name}.id"), base=OmegaConf.select(preset, f"{name}.base"))


@dataclass(frozen=True)
class Trial:
    """An edit of one thing of a held-out scene, and the captions among which the judge chooses."""

    edit: Edit
    request: EditRequest
    mask: Bool[np.ndarray, "128 128"]
    region: Bool[np.ndarray, "128 128"]
    """The region that is judged: the thing, or the part that the reference edit adds to it."""
    target: str
    """Caption of a correct edit."""
    choices: tuple[str, ...]
    """Captions among which the judge chooses, including the target."""

    @property
    def edited_thing(self) -> Thing:
        """The thing before the edit."""
        return self.edit.scene.things[self.edit.reference.indices[0]]

    @property
    def captions(self) -> Captions:
        """The ground-truth input and edited captions."""
        answer = self.edit.wish.answer()
        return Captions(answer.input, answer.edited)


EditImages = Callable[[Sequence[Trial]], Sequence[Image.Image]]
"""Edits the pictures of a few trials."""


@cache
def trials(kind: str = "change", count: int = COUNT, seed: int = 5) -> tuple[Trial, ...]:
    """Return edits of one kind on held-out scenes of all kinds.

    Args:
        kind: ``change`` replaces one thing by another noun, ``recolour`` changes its colour, ``add`` adds a part that
            an animal wears.
        count: Number of trials.
        seed: Seed of the edits.
    """
    rng, result, index = np.random.default_rng(seed), list[Trial](), 0
    while len(result) < count:
        drawn = scene("held_out", index)
        index += 1
        if any(t.mixed_with for t in drawn.things):
            continue
        part = ""
        edit = _change(drawn, rng) if kind == "change" else next(possible(rng, drawn, kind), None)
        if edit is None or len(edit.reference.indices) != 1 or edit.reference.part:
            continue
        at, noun = edit.reference.indices[0], edit.noun
        match kind:
            case "change":
                choices, target = [f"photo of {article(n)}" for n in NOUNS], f"photo of {article(edit.wish.new)}"
            case "recolour":
                choices = [f"photo of {article(f'{c} {noun}')}" for c in COLOURS]
                target = f"photo of {article(f'{edit.wish.new} {noun}')}"
            case "add":
                # CLIP recognises a worn part best in a close crop.
                part = edit.wish.new.split()[-1]
                choices = [f"photo of {article(n)}" for n in (noun, *WEARABLES)]
                target = f"photo of {article(part)}"
            case _:
                raise ValueError(f"kind={kind!r}: accepted are change, recolour and add")
        request = EditRequest(str(index), render(drawn), edit.wish.words(TEMPLATES[kind][0]))
        before = mask(drawn, at)
        region = mask(edit.edited, at, part) if kind == "add" else before
        result.append(Trial(edit, request, before, region, target, tuple(choices)))
    return tuple(result)


def _change(drawn: Scene, rng: np.random.Generator) -> Edit | None:
    single = [r for r in references(drawn) if len(r.indices) == 1 and r.part is None]
    if not single:
        return None
    reference = single[int(rng.integers(len(single)))]
    present = {t.noun for t in drawn.things}
    target = str(rng.choice([n for n in NOUNS if n not in present]))
    return Edit(drawn, reference, Wish("change", reference.phrase, target))


def choose(scorer: ClipScorer, image: Image.Image, trial: Trial) -> str:
    """Return the caption with the highest CLIP score for the square around the trial's region."""
    crop = scorer.image(image.crop(square(box(trial.region))))
    texts = torch.stack([scorer.text(choice).features for choice in trial.choices])
    return trial.choices[int((texts @ crop).argmax())]


def success(scorer: ClipScorer, selected: Sequence[Trial], edit: EditImages) -> float:
    """Return the share of trials in which the judge chooses the target."""
    right = 0
    for start in tqdm(range(0, len(selected), BATCH), leave=False):
        batch = selected[start : start + BATCH]
        right += sum(choose(scorer, e, t) == t.target for e, t in zip(edit(batch), batch, strict=True))
    return right / len(selected)


@cache
def judge() -> ClipScorer:
    """Return a scorer with the shipped CLIP."""
    return TransformersClip.from_folder(MODELS / "clip", "clip", "")


def masked(editor: Editor) -> EditImages:
    """Return a function that edits with the ground-truth masks and captions."""

    def edit(batch: Sequence[Trial]) -> list[Image.Image]:
        edited = editor.edit([t.request for t in batch], [t.captions for t in batch], [t.mask for t in batch])
        return [e.image for e in edited if isinstance(e, Edited)]

    return edit


def diffusion_scores(
    context: Context, checkpoint: Checkpoint, ratios: Sequence[float] = RATIOS, count: int = COUNT
) -> dict[str, float]:
    """Return the shares of correct edits by InstructEdit's editor with a text-to-image checkpoint, by score name."""
    scores: dict[str, float] = {}
    for ratio in ratios:
        edit = masked(MaskGuidedEditor(context, checkpoint, ratio, dilate=DILATE))
        scores[f"edit_shows_target_at_{ratio}"] = success(judge(), trials("change", count), edit)
    edit = masked(MaskGuidedEditor(context, checkpoint, max(ratios), dilate=DILATE))
    scores[f"colour_right_at_{max(ratios)}"] = success(judge(), trials("recolour", count), edit)
    scores[f"added_part_seen_at_{max(ratios)}"] = success(judge(), trials("add", count), edit)
    return scores


def instruct_pix2pix_scores(context: Context, checkpoint: Checkpoint, count: int = COUNT) -> dict[str, float]:
    """Return the share of instructions that an InstructPix2Pix checkpoint follows."""
    method = InstructPix2Pix(context, checkpoint)

    def edit(batch: Sequence[Trial]) -> list[Image.Image]:
        return [o.image for o in method.edit([t.request for t in batch]) if isinstance(o, EditResult)]

    return {"instruction_followed": success(judge(), trials("change", count), edit)}


def inpainting_scores(context: Context, checkpoint: Checkpoint, count: int = COUNT) -> dict[str, float]:
    """Return the share of inpainted regions that show the requested thing."""
    edit = masked(InpaintingEditor(context, checkpoint, dilate=DILATE))
    return {"shows_requested_object": success(judge(), trials("change", count), edit)}


SCORES: Mapping[str, Callable[[Context, Checkpoint], dict[str, float]]] = {
    "diffusion": diffusion_scores,
    "instruct_pix2pix": instruct_pix2pix_scores,
    "inpainting": inpainting_scores,
}


def check() -> dict[str, float]:
    """Return the shares of reference edits and of unedited inputs that the judge accepts, by kind of edit."""
    shares: dict[str, float] = {}
    for kind in ("change", "recolour", "add"):
        # The reference edit of an animal that wears something cannot be drawn if the new noun cannot wear it.
        selected = [t for t in trials(kind) if kind != "change" or not t.edited_thing.parts]
        shares[f"{kind}: reference counts as right"] = success(
            judge(), selected, lambda batch: [render(t.edit.edited) for t in batch]
        )
        shares[f"{kind}: input counts as right"] = success(
            judge(), selected, lambda batch: [t.request.image for t in batch]
        )
    return shares


def update_card(folder: Path, scores: Mapping[str, float]) -> None:
    """Add held-out scores to the card of a trained model."""
    title, _, text = (part.strip() for part in (folder / "README.md").read_text().split("\n", 2))
    facts = json.loads((folder / "card.json").read_text())
    facts["held_out"] |= scores
    write_card(folder, title.removeprefix("# "), text.split("\n\n| fact")[0], facts)
