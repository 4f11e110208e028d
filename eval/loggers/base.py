"""Interface of loggers of finished runs. Results are on disk before a logger is called; its errors are warnings."""

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
"""Names of environment variables whose values are removed from messages."""
LONGEST = 300
"""Maximum number of characters of a message."""
SILENT_KEYS = ("logger", "hydra", "results", "device", "batch_size", "retry_failed", "shard")
"""Overrides that do not affect results and so are not part of a group's name."""


class Logger(Protocol):
    """A logger of runs; any class that matches this protocol works by its dotted path, as ``logger._target_``."""

    def log(self, run: Run, benchmark: Benchmark | None, group: str | None) -> None:
        """Log one run; a repeated call replaces the first.

        Args:
            run: The run, read from disk.
            benchmark: The run's benchmark, for the input pictures; None if it was moved or changed.
            group: Group of the run, see :func:`group_of`.

        Raises:
            Exception: Any; the caller logs it and continues.
        """
        ...


@dataclass
class Reporter:
    """Calls a logger until its first failure, so that a server that does not answer causes only one timeout."""

    is_off: bool = False
    """Whether the logger has failed."""

    def tell(self, logger: Logger, results: Path, run_id: str, benchmark: Benchmark | None, group: str | None) -> bool:
        """Log one run; an error becomes a one-line warning.

        Returns:
            Whether the run was logged.
        """
        if self.is_off:
            return False
        try:
            logger.log(read_run(RunStore(results, run_id)), benchmark, group)
        # Logging libraries may raise SystemExit, which must not end the sweep.
        except (Exception, SystemExit) as error:
            self.is_off = True
            hint = f"results are in {results}/runs, `python -m scripts.publish` uploads them later"
            log.warning("logging of %s failed and is now off: %s; %s", run_id, described(error), hint)
            return False
        return True


def described(error: BaseException) -> str:
    """Return an error in one line, without the values of secret environment variables."""
    line = f"{type(error).__name__}: {' '.join(str(error).split())}"
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 8:
            line = line.replace(value, "***")
    return line[:LONGEST]


def group_of(overrides: Iterable[str]) -> str:
    """Return the group name of a command's runs, which is the same for equal commands.

    Args:
        overrides: The command's arguments, such as ``method=diffedit`` and ``theta=0.3,0.5``.

    Returns:
        A name such as ``method=diffedit_theta=0.3,0.5-1a2b3c4d``, at most 100 characters.
    """
    words = sorted(word.lstrip("+~") for word in overrides if "=" in word and not word.startswith("--"))
    relevant = [word for word in words if not word.startswith(SILENT_KEYS)]
    readable = re.sub(r"[^\w=.,+-]+", "_", "_".join(relevant))[:90].strip("_") or "default"
    return f"{readable}-{digest(relevant)[:8]}"
