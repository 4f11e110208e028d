"""Telling others of finished runs. The results on disk come first: no logger can harm, delay or end a run."""

import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eval.benchmarks.base import Benchmark
from eval.runs.run import Run, read_run
from eval.runs.store import RunStore
from instructedit.files import digest

log = logging.getLogger(__name__)

SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
"""Names of environment variables whose values are shown nowhere."""
LONGEST = 300
SILENT_KEYS = ("logger", "hydra", "results", "device", "batch_size", "retry_failed")
"""Overrides that change no number, so they make no other sweep of a command."""


class Logger(Protocol):
    """Whatever is told of runs; anything of this shape works by its dotted path, as ``logger._target_``."""

    def log(self, run: Run, benchmark: Benchmark | None, group: str | None) -> None:
        """Tell of one run; a second time in place of the first.

        Args:
            run: As it lies on disk.
            benchmark: What it ran on, for the input pictures; None where that is gone or has changed.
            group: What the run belongs to, see :func:`group_of`.

        Raises:
            Exception: Any; the caller goes on without.
        """
        ...


@dataclass
class Reporter:
    """Calls a logger, and no more after its first failure: a server that does not answer is waited for once."""

    is_off: bool = False

    def tell(self, logger: Logger, results: Path, run_id: str, benchmark: Benchmark | None, group: str | None) -> bool:
        """Tell of one run; never raises, and says what went wrong in one warning.

        Returns:
            Whether the logger was told.
        """
        if self.is_off:
            return False
        try:
            logger.log(read_run(RunStore(results, run_id)), benchmark, group)
        # SystemExit too: what a logging library does about its own trouble is no reason to end.
        except (Exception, SystemExit) as error:
            self.is_off = True
            kept = f"results are safe in {results}/runs, `python -m scripts.publish` tells of them later"
            log.warning("logging of %s failed and is off from here on: %s; %s", run_id, described(error), kept)
            return False
        return True


def described(error: BaseException) -> str:
    """An error in one line, without what the environment keeps secret."""
    line = f"{type(error).__name__}: {' '.join(str(error).split())}"
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 8:
            line = line.replace(value, "***")
    return line[:LONGEST]


def group_of(overrides: Iterable[str]) -> str:
    """One name for all runs of a command, the same whenever it is given again.

    Args:
        overrides: The command's words, such as ``method=diffedit`` and ``theta=0.3,0.5``.

    Returns:
        Such as ``method=diffedit_theta=0.3,0.5-1a2b3c4d``, at most 100 characters.
    """
    words = sorted(word.lstrip("+~") for word in overrides if "=" in word and not word.startswith("--"))
    deciding = [word for word in words if not word.startswith(SILENT_KEYS)]
    readable = re.sub(r"[^\w=.,+-]+", "_", "_".join(deciding))[:90].strip("_") or "default"
    return f"{readable}-{digest(deciding)[:8]}"
