"""Check a folder of your own pictures, or of a published benchmark, before a run.

python -m scripts.benchmark check /my/pictures
python -m scripts.benchmark check folder=/my/pictures reader=my_package.pairs.read
"""

import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from eval.benchmarks.check import check, summarized
from instructedit.checks import require_one_of
from instructedit.types import ConfigError
from scripts.app import OK, WRONG_REQUEST, launch

ACTIONS = ("check",)
POSITIONAL = ("action", "folder")


def task(config: DictConfig) -> int:
    """Print one line per problem, or what the folder has; the exit code is 2 if there is a problem."""
    require_one_of("action", config.action, ACTIONS)
    if OmegaConf.is_missing(config, "folder") or not str(config.folder or "").strip():
        raise ConfigError("folder=... is needed, as in: python -m scripts.benchmark check /my/pictures")
    reader = None if config.reader is None else str(config.reader)
    checked = check(Path(str(config.folder)), reader, Path(str(config.results)) / "cache" / "true_masks")
    for line in checked.problems:
        print(f"error: {line}", file=sys.stderr)
    if checked.problems or checked.benchmark is None:
        print(f"{len(checked.problems)} problems in {config.folder}", file=sys.stderr)
        return WRONG_REQUEST
    for line in summarized(checked.benchmark):
        print(line)
    return OK


def main() -> int:
    """Run the action that the first argument names, on the folder that the second one names."""
    return launch(task, "benchmark", positional=POSITIONAL)


if __name__ == "__main__":
    sys.exit(main())
