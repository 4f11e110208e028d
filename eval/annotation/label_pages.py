"""The pages of component labels: the annotator's name, one case a page, what is left."""

import re
from typing import Annotated, Literal

from fastapi import FastAPI, Form, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from eval.analysis.components import COMPONENTS
from eval.annotation.label import LabelStore, Verdict
from eval.annotation.web import Pages, application, png
from instructedit.types import Stage

QUESTIONS: dict[str, str] = {
    Stage.LANGUAGE: "The prompt names what the instruction means, and the edited caption asks for what it asks for.",
    Stage.SEGMENTER: "The red covers what the instruction means, or the place for it, and little else.",
    Stage.EDITOR: "The edited image shows what the instruction asks for, in the thing that it means.",
}
"""When a component is right, as the page says it."""
ALTERNATIVES = {"source": "Input", "marked": "Mask in red, boxes in yellow", "edited": "Edited image"}
LONGEST_COMMENT = 2000
NAME = r"[\w.-]{1,40}"
Choice = Annotated[Literal["right", "wrong"] | None, Form()]
_NO_CASE = "There is no such case."


def pages(store: LabelStore, public_url: str | None) -> FastAPI:
    """Return the application.

    Args:
        store: The cases and verdicts.
        public_url: Address by which annotators reach the server; None if they use this machine.
    """
    templates = Pages()
    app = application(templates, public_url)

    @app.get("/")
    def names(wrong: bool = False) -> HTMLResponse:
        known = {name: store.progress(name) for name in store.annotators()}
        return templates.render("label_names.html", title="Label components", known=known, wrong=wrong)

    @app.post("/begin")
    def begin(name: Annotated[str, Form()] = "") -> RedirectResponse:
        name = name.strip()
        return RedirectResponse(f"/a/{name}" if re.fullmatch(NAME, name, re.ASCII) else "/?wrong=true", 303)

    def shown(annotator: str, number: int, changed: bool) -> HTMLResponse:
        case = store.case(annotator, number)
        if case is None:
            raise HTTPException(404, _NO_CASE)
        return templates.render(
            "label_case.html", title="Label components", case=case, annotator=annotator, changed=changed,
            progress=store.progress(annotator), questions=QUESTIONS, alternatives=ALTERNATIVES, longest=LONGEST_COMMENT,
        )  # fmt: skip

    def checked(annotator: str) -> str:
        if re.fullmatch(NAME, annotator, re.ASCII) is None:
            raise HTTPException(404, "A name has letters, digits, hyphens, dots and underscores.")
        return annotator

    @app.get("/a/{annotator}")
    def next_case(annotator: str) -> HTMLResponse:
        number = store.next(checked(annotator))
        if number is not None:
            return shown(annotator, number, changed=False)
        progress = store.progress(annotator)
        return templates.render("label_done.html", title="All cases seen", annotator=annotator, progress=progress)

    @app.get("/a/{annotator}/{number}")
    def one_case(annotator: str, number: int, changed: bool = False) -> HTMLResponse:
        return shown(checked(annotator), number, changed)

    @app.post("/a/{annotator}/{number}")
    def save(
        annotator: str,
        number: int,
        seen: Annotated[int, Form()],
        action: Annotated[Literal["save", "skip"], Form()] = "save",
        language: Choice = None,
        segmenter: Choice = None,
        editor: Choice = None,
        comment: Annotated[str, Form(max_length=LONGEST_COMMENT)] = "",
    ) -> RedirectResponse:
        case = store.case(checked(annotator), number)
        if case is None:
            raise HTTPException(404, _NO_CASE)
        given = dict(zip(COMPONENTS, (language, segmenter, editor), strict=True))
        is_skip = action == "skip"
        if not is_skip and any(given[c] is None for c in case.asked):
            raise HTTPException(422, "Each component needs right or wrong; or skip the case.")
        right = {c: None if is_skip or c not in case.asked else given[c] == "right" for c in COMPONENTS}
        verdict = Verdict(right, " ".join(comment.split()), is_skip)
        is_stored = store.save(annotator, number, verdict, seen)
        return RedirectResponse(f"/a/{annotator}" if is_stored else f"/a/{annotator}/{number}?changed=true", 303)

    @app.get("/picture/{number}/{which}.png")
    def picture(number: int, which: str) -> Response:
        data = store.picture(number, which)
        if data is None:
            raise HTTPException(404, _NO_CASE)
        return png(data)

    return app
