"""``python -m tests.browser.server study|label FILE PORT``: a server that a test may kill."""

import sys
from pathlib import Path

from fastapi import FastAPI

from eval.annotation import label_pages, study_pages
from eval.annotation.label import LabelStore
from eval.annotation.study import UserStudy
from eval.annotation.web import serve

QUESTION, CONSENT = "Which image applied the instruction more appropriately?", "One.\n\nTwo."
COMPLETION = "https://app.prolific.com/submissions/complete?cc=C0DE"


def study_app(path: Path, checks: int = 2) -> FastAPI:
    return study_pages.pages(UserStudy(path), QUESTION, CONSENT, None, checks, COMPLETION, None)


def label_app(path: Path) -> FastAPI:
    return label_pages.pages(LabelStore(path), None)


if __name__ == "__main__":
    kind, file, port = sys.argv[1:]
    serve({"study": study_app, "label": label_app}[kind](Path(file)), "127.0.0.1", int(port), ["{url}"])
