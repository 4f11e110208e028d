"""Show what is done, running, failed and missing of all runs on disk. Nothing is computed.

python -m scripts.status
"""

import sys
from pathlib import Path

from omegaconf import DictConfig

from instructedit.types import ConfigError
from scripts.app import OK, launch


def task(config: DictConfig) -> int:
    """Print one row per run."""
    from rich.console import Console

    from eval.display.terminal import show_status
    from eval.runs.run import read_runs

    results = Path(str(config.results))
    runs = list(read_runs(results))
    if not runs:
        raise ConfigError(f"no runs in {results / 'runs'}; python -m scripts.run makes them")
    show_status(Console(), runs)
    return OK


def main() -> int:
    """Print the state of the runs in ``results``."""
    return launch(task, "status")


if __name__ == "__main__":
    sys.exit(main())
