"""A method whose task raises, dies, or fails on a sample."""

import os
import signal
import time
from collections.abc import Sequence

from instructedit.models import Context
from instructedit.types import EditRequest, EditResult, Failure, Method


class Stubborn(Method):
    """Returns each image after a second, or does what ``fault`` says in its task."""

    def __init__(self, context: Context, fault: str) -> None:
        if fault == "raise":
            raise RuntimeError("no such device")
        self.fault = fault

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        time.sleep(1.5)
        if self.fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return [
            Failure(r.id, "editor", "StageError", "will not")
            if self.fault == "fail" and r.id.startswith("single_01")
            else EditResult(r.id, r.image)
            for r in requests
        ]
