"""The pages of the user study (paper, Fig. 15): consent, one triplet a page, thanks."""

import secrets
from typing import Annotated, Literal

from fastapi import FastAPI, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from eval.annotation.study import Done, UserStudy, Visitor, Withdrawn
from eval.annotation.web import Pages, application, png

TITLE = "Compare edits of images"
PROLIFIC = ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")
"""URL parameters that Prolific adds to the study's address."""
COOKIE = "participant"
_ID = r"[A-Za-z0-9_-]{1,64}"
_UNKNOWN = "This link does not belong to the study. Please check that it is complete."
ProlificId = Annotated[str | None, Query(pattern=f"^{_ID}$")]
ProlificField = Annotated[str | None, Form(pattern=f"^{_ID}$")]


def pages(
    study: UserStudy,
    question: str,
    consent: str,
    samples: int | None,
    checks: int,
    completion_url: str | None,
    public_url: str | None,
) -> FastAPI:
    """Return the application.

    Args:
        study: A study that has begun.
        question: Shown above each triplet.
        consent: Paragraphs, separated by empty lines.
        samples: Number of samples of each participant; None is all.
        checks: Number of attention checks.
        completion_url: Where participants from Prolific go in the end, after their last answer is stored.
        public_url: Address by which participants reach the server; None if they use this machine.
    """
    templates = Pages()
    app = application(templates, public_url)
    count = study.count(samples) + checks

    def remembered(request: Request) -> str | None:
        """Return the token of the participant who began in this browser, as the back button returns to consent."""
        token = request.cookies.get(COOKIE)
        return token if token is not None and study.page(token) is not None else None

    @app.get("/")
    def consent_page(
        request: Request,
        PROLIFIC_PID: ProlificId = None,
        STUDY_ID: ProlificId = None,
        SESSION_ID: ProlificId = None,
        another: bool = False,
    ) -> Response:
        visitor = Visitor(secrets.token_urlsafe(12), PROLIFIC_PID, STUDY_ID, SESSION_ID)
        token = study.known(visitor) if PROLIFIC_PID is not None else None if another else remembered(request)
        if token is not None:
            return RedirectResponse(f"/p/{token}", 303)
        prolific = dict(zip(PROLIFIC, (PROLIFIC_PID, STUDY_ID, SESSION_ID), strict=True))
        return templates.render(
            "study_consent.html", title=TITLE, question=question, consent=consent, count=count, visit=visitor.visit,
            prolific=prolific, another=another,
        )  # fmt: skip

    @app.post("/join")
    def join(
        request: Request,
        visit: Annotated[str, Form(pattern=f"^{_ID}$")],
        consent: Annotated[Literal["yes"], Form()],
        PROLIFIC_PID: ProlificField = None,
        STUDY_ID: ProlificField = None,
        SESSION_ID: ProlificField = None,
        another: Annotated[bool, Form()] = False,
    ) -> RedirectResponse:
        token = None if another or PROLIFIC_PID is not None else remembered(request)
        token = token or study.join(Visitor(visit, PROLIFIC_PID, STUDY_ID, SESSION_ID), samples, checks)
        response = RedirectResponse(f"/p/{token}", 303)
        is_secure = (public_url or "").startswith("https:")
        response.set_cookie(COOKIE, token, max_age=30 * 24 * 3600, httponly=True, samesite="lax", secure=is_secure)
        return response

    @app.get("/p/{token}")
    def next_page(token: str, kept: bool = False) -> HTMLResponse:
        found = study.page(token)
        if found is None:
            raise HTTPException(404, _UNKNOWN)
        if isinstance(found, Withdrawn):
            return templates.render("study_withdrawn.html", title="You have withdrawn", withdrawn=found)
        if isinstance(found, Done):
            completion = completion_url if found.is_prolific else None
            return templates.render(
                "study_done.html", title="Thank you", done=found, token=token, completion=completion
            )
        link = f"{(public_url or '').rstrip('/')}/p/{token}"
        return templates.render(
            "study_item.html", title=f"Page {found.place} of {found.count}: {TITLE}", question=question, page=found,
            token=token, kept=kept, link=link,
        )  # fmt: skip

    @app.get("/p/{token}/withdraw")
    def confirm(token: str) -> Response:
        found = study.page(token)
        if found is None:
            raise HTTPException(404, _UNKNOWN)
        if isinstance(found, Withdrawn):
            return RedirectResponse(f"/p/{token}", 303)
        return templates.render(
            "study_confirm.html", title="Withdraw your answers?", token=token, answers=study.answered(token)
        )

    @app.post("/p/{token}/withdraw")
    def withdraw(token: str) -> RedirectResponse:
        if not study.withdraw(token):
            raise HTTPException(404, _UNKNOWN)
        return RedirectResponse(f"/p/{token}", 303)

    @app.post("/p/{token}/{place}")
    def answer(token: str, place: int, choice: Annotated[Literal["left", "right"], Form()]) -> RedirectResponse:
        is_stored = study.answer(token, place, choice)
        if is_stored is None:
            raise HTTPException(404, _UNKNOWN)
        return RedirectResponse(f"/p/{token}" if is_stored else f"/p/{token}?kept=true", 303)

    @app.get("/p/{token}/{place}/{which}.png")
    def picture(token: str, place: int, which: Literal["input", "left", "right"]) -> Response:
        data = study.picture(token, place, which)
        if data is None:
            raise HTTPException(404, _UNKNOWN)
        return png(data)

    return app
