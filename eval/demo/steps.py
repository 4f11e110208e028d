"""What each component of a method decided, in the order of the pipeline, as HTML."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from eval.display.marks import with_boxes, with_mask
from eval.display.style import method_title, seconds
from eval.report.text import visible
from instructedit.types import Box, Decisions, EditResult, Failure, Stage

_SHOWN_SIDE = 384
"""Longest side of a step's picture in pixels; thin lines need that many."""
_SHORTEST = 0.01
"""Seconds below which a step's time is not shown: its result came from the cache."""
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One component's part of an edit."""

    title: str
    texts: Mapping[str, str] = field(default_factory=dict)
    """Texts by name; a text without a name has an empty one."""
    picture: Image.Image | None = None
    alternative: str = ""
    """What a screen reader says of the picture."""
    seconds: float | None = None
    has_failed: bool = False


def steps(image: Image.Image, outcome: EditResult | Failure) -> list[Step]:
    """Return the steps that a method took on a picture; components that it lacks have none.

    Args:
        image: The picture, RGB.
        outcome: The edit, or the failure that ended it.
    """
    decisions = outcome.decisions
    spent = outcome.seconds if isinstance(outcome, EditResult) else {}
    found = _language(decisions, spent)
    if decisions.boxes:
        texts = {f"{box.phrase}, score {box.score:.2f}": "" for box in decisions.boxes}
        found.append(
            Step("Boxes", texts, _boxed(image, decisions.boxes), "Boxes of the detector", spent.get(Stage.BOXES))
        )
    if isinstance(outcome, Failure):
        return [*found, Step("No edit", {f"failed: {outcome.stage}": outcome.message}, has_failed=True)]
    if outcome.mask is not None:
        area = {f"{100 * outcome.mask.mean():.1f} % of the image": ""}
        took = spent.get(Stage.MASKS, spent.get(Stage.MASK))
        found.append(Step("Mask", area, with_mask(image, outcome.mask), "The mask in red", took))
    computed, cached = sum(outcome.evaluations.values()), sum(outcome.cached_evaluations.values())
    cost = {"NFE": f"{computed} computed, {cached} from the cache"}
    return [*found, Step("Edit", cost, outcome.image, "The edited image", spent.get(Stage.EDITOR))]


def render(image: Image.Image, outcomes: Mapping[str, EditResult | Failure]) -> str:
    """Return the steps of all methods as HTML; all text is escaped, control characters are shown as escapes."""
    rows = {method_title(name): steps(image, outcome) for name, outcome in outcomes.items()}
    return visible(
        _ENVIRONMENT.get_template("steps.html").render(rows=rows, url=_url, seconds=seconds, shortest=_SHORTEST)
    )


def _language(decisions: Decisions, spent: Mapping[str, float]) -> list[Step]:
    if decisions.segmentation_prompt is None:
        return []
    texts = {} if decisions.description is None else {"description": decisions.description}
    texts["segmentation prompt"] = decisions.segmentation_prompt
    if decisions.captions is not None:
        texts |= {"input caption": decisions.captions.input, "edited caption": decisions.captions.edited}
    took = [spent[stage] for stage in (Stage.CAPTIONER, Stage.LANGUAGE) if stage in spent]
    return [Step("Prompts", texts, seconds=sum(took) if took else None)]


def _boxed(image: Image.Image, boxes: tuple[Box, ...]) -> Image.Image:
    scale = max(1.0, _SHOWN_SIDE / max(image.size))
    large = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    scaled = (replace(b, x1=b.x1 * scale, y1=b.y1 * scale, x2=b.x2 * scale, y2=b.y2 * scale) for b in boxes)
    return with_boxes(large, scaled)


def _url(image: Image.Image) -> str:
    small, data = image.copy(), io.BytesIO()
    small.thumbnail((2 * _SHOWN_SIDE, 2 * _SHOWN_SIDE))
    small.save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
