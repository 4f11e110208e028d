"""A method whose task raises, dies, or fails on a sample."""

import os
import signal
import time
from collections.abc import Sequence

from instructedit.models import Context
from instructedit.types import EditRequest, EditResult, Failure, Method


class Stubborn(Method):
    """Returns each image after some seconds, or does what ``fault`` says in its task."""

    def __init__(self, context: Context, fault: str, seconds: float) -> None:
        if fault == "raise":
            raise RuntimeError("no such device")
        self.fault, self.seconds = fault, seconds

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        time.sleep(self.seconds)
        if self.fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return [
            Failure(r.id, "editor", "StageError", "will not")
            if self.fault == "fail" and r.id.startswith("single_01")
            else EditResult(r.id, r.image)
            for r in requests
        ]
