"""Run a method over a benchmark, or sweep over methods and hyperparameters.

python -m scripts.run method=instructedit ratio=0.5,0.7,0.9 -m
"""

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

from omegaconf import DictConfig

from instructedit.checkpoints import require_checkpoints
from scripts import slurm  # noqa: F401, registers the launcher
from scripts.app import OK, SOME_FAILED, launch
from scripts.values import check_values

if TYPE_CHECKING:
    from scripts.sweep import Sweep


@dataclass
class Command:
    """The command and its sweep; pickled when jobs run on a cluster."""

    words: list[str] = field(default_factory=lambda: sys.argv[1:])
    sweep: Optional["Sweep"] = None

    def check(self, config: DictConfig) -> None:
        """Refuse a wrong configuration before anything slow is imported."""
        check_values(config)
        require_checkpoints(config.models, config.wrapper, config.metrics)

    def job(self, config: DictConfig) -> int:
        """Run one job and return the exit code."""
        self.check(config)
        # Importing torch takes seconds; missing checkpoints are reported before.
        return SOME_FAILED if self._sweep().job(config) else OK

    def collect(self, config: DictConfig) -> int:
        """Read the results of a job that ran on a cluster, and return the exit code."""
        return SOME_FAILED if self._sweep().collect(config) else OK

    def _sweep(self) -> "Sweep":
        from eval.loggers.base import group_of
        from scripts.sweep import Sweep

        self.sweep = self.sweep or Sweep(group=group_of(self.words))
        return self.sweep


def main() -> int:
    """Run every job, then show their results."""
    command = Command()
    code = launch(command.job, "config", check=command.check, collect=command.collect)
    if command.sweep and command.sweep.outcomes:
        command.sweep.finish()
    return code


if __name__ == "__main__":
    sys.exit(main())
