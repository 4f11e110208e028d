"""What the page answers to a click: while the methods work, and when they are done."""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from PIL import Image

from eval.demo.mask_editor import Shown, from_editor
from eval.demo.session import Build, Wish, edit, first_prompts, prompts_of
from eval.demo.steps import render
from eval.display.style import method_title, seconds
from instructedit.types import ConfigError, EditResult, Failure

Outcomes = Mapping[str, EditResult | Failure]


class Kind(StrEnum):
    """How the line of an answer is marked."""

    WORKING = "working"
    DONE = "done"
    WRONG = "wrong"


@dataclass(frozen=True)
class Click:
    """What the page sends with a click."""

    image: Image.Image | None
    instruction: str
    methods: Sequence[str]
    values: Mapping[str, float | int]
    seed: int
    prompts: Sequence[str] = ("", "", "")
    """Segmentation prompt and both captions as typed; empty if the language processor is to write them."""
    takes_mask: bool = False
    drawn: Any = None
    """The mask editor's value."""


@dataclass(frozen=True)
class Answer:
    """What the page shows at one moment; None leaves a part as it is."""

    kind: Kind
    line: str
    edits: Sequence[tuple[Image.Image, str]] | None = None
    """Pictures with their titles: the picture before, and its edits."""
    steps: str | None = None
    """HTML."""
    prompts: Sequence[str] | None = None
    shown: Shown | None = None


def answers(build: Build, click: Click, shown: Shown | None) -> Iterator[Answer]:
    """Yield what the page shows until all methods are done; an error of the request is a line, too.

    Args:
        build: Builds a method.
        click: The request.
        shown: The result that the page shows; None before the first.
    """
    if click.image is None or not click.instruction or not click.methods:
        yield Answer(Kind.WRONG, "A picture, an instruction and at least one method are needed.")
        return
    start = time.perf_counter()
    try:
        mask = from_editor(click.drawn, shown, click.image) if click.takes_mask else None
        prompts = prompts_of(*click.prompts)
        wish = Wish(click.image, click.instruction, click.seed, click.values, prompts, mask)
        outcomes: dict[str, EditResult | Failure] = {}
        for number, name in enumerate(click.methods, start=1):
            of = f" (method {number} of {len(click.methods)})" if len(click.methods) > 1 else ""
            yield Answer(
                Kind.WORKING, f"{click.instruction}: {method_title(name)} works{of} ...", *_so_far(wish.image, outcomes)
            )
            # A method that needs captions takes those of the first method with a language processor.
            takes_own = build(name, wish.values).needs_captions is False
            known = prompts or (None if takes_own else first_prompts(list(outcomes.values())))
            outcomes[name] = edit(build, name, replace(wish, prompts=known))
    except ConfigError as error:
        yield Answer(Kind.WRONG, f"Not edited: {error}")
        return
    yield _last(wish, outcomes, time.perf_counter() - start)


def _so_far(image: Image.Image, outcomes: Outcomes) -> tuple[list[tuple[Image.Image, str]] | None, str | None]:
    if not outcomes:
        return None, None
    edits = [(o.image, method_title(name)) for name, o in outcomes.items() if isinstance(o, EditResult)]
    return [(image, "before"), *edits], render(image, outcomes)


def _last(wish: Wish, outcomes: Outcomes, took: float) -> Answer:
    edits = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, EditResult)}
    failed = [
        f"{method_title(n)} failed: {o.stage}: {o.message}" for n, o in outcomes.items() if isinstance(o, Failure)
    ]
    line = f"{wish.instruction}: {len(edits)} of {len(outcomes)} edits done in {seconds(took)} s."
    used = first_prompts(list(outcomes.values())) or wish.prompts
    texts = ("", "", "") if used is None else (used.segmentation_prompt, used.captions.input, used.captions.edited)
    mask = next((o.mask for o in edits.values() if o.mask is not None), None)
    shown = Shown(secrets.token_hex(8), wish.image, mask)
    return Answer(
        Kind.WRONG if failed else Kind.DONE, " ".join([line, *failed]), *_so_far(wish.image, outcomes), texts, shown
    )
