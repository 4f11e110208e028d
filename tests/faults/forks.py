"""Functions of :mod:`tests.faults.work` in forked children of a process that has imported and loaded everything.

A child starts in milliseconds, so that a test can kill many of them. :class:`Forks` is the test's side.
"""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "WANDB_MODE": "disabled"}


class Child:
    """A running child."""

    def __init__(self, server: "subprocess.Popen[str]") -> None:
        self._server = server
        self.pid = int(self._line())

    def wait(self) -> int:
        """Return the exit code; minus the signal's number for a child that was killed."""
        return int(self._line())

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()


class Forks:
    """Starts children; those of one instance run one after the other.

    Args:
        log: File for what the children print.
        *warm: Names of functions of :mod:`tests.faults.work`, called before the first fork with what they need.
    """

    def __init__(self, log: Path, *warm: list[Any]) -> None:
        self._log = log
        self._warm = warm

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", __name__, json.dumps(self._warm)]
        self._server = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | SETTINGS, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log.open("a"),
        )  # fmt: skip
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "ready\n", self._log.read_text()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()

    def start(self, function: str, *arguments: Any) -> Child:
        """Start a function in a child."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps([function, *arguments]) + "\n")
        self._server.stdin.flush()
        return Child(self._server)

    def run(self, function: str, *arguments: Any) -> int:
        """Run a function in a child; return its exit code."""
        return self.start(function, *arguments).wait()


def _serve() -> None:
    from tests.faults import work

    def call(function: str, *arguments: Any) -> int:
        return int(getattr(work, function)(*arguments) or 0)

    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a child prints belongs into the log
    for function, *arguments in json.loads(sys.argv[1]):
        call(function, *arguments)
    print("ready", file=said, flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            code = 70
            try:
                code = call(*json.loads(line))
            except SystemExit as error:
                code = int(error.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        print(child, file=said, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=said, flush=True)


if __name__ == "__main__":
    _serve()
