"""Where the time of a sweep goes: by package, from Python's profiler."""

import contextlib
import cProfile
import pstats
import runpy
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from instructedit.files import ROOT

NETWORKS = ("torch", "diffusers", "transformers", "lpips", "piq", "torchmetrics", "open_clip", "torchvision")
OURS = ("instructedit", "baselines", "eval", "scripts", "data")
_BUILTIN = "~"


def shares(arguments: Sequence[str]) -> list[dict[str, float | str]]:
    """Run ``scripts.run`` under the profiler and return seconds and share by kind of code, without the imports.

    A function that is compiled counts for the Python code that calls it: a convolution for torch, a hash for ours.
    """
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "profile"
        command = [sys.executable, "-m", "eval.speed.profile", str(out), *arguments, f"results={temporary}/results"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if not out.is_file():
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
        seconds = _by_kind(pstats.Stats(str(out)))
    total = sum(seconds.values())
    return [{"code": kind, "seconds": spent, "share": spent / total} for kind, spent in seconds.most_common()]


def _by_kind(stats: pstats.Stats) -> Counter[str]:
    seconds: Counter[str] = Counter()
    for (file, _, _), (_, _, own, _, callers) in stats.stats.items():  # type: ignore[attr-defined]
        if file != _BUILTIN:
            seconds[_kind(file)] += own
        else:
            for (caller, _, _), (_, _, own_for_caller, _) in callers.items():
                seconds[_kind(caller)] += own_for_caller
    del seconds["imports"]
    return seconds


def _kind(file: str) -> str:
    path = Path(file)
    if "importlib" in file or file.startswith("<frozen"):
        return "imports"
    if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in OURS:
        return "ours"
    package = path.parts[path.parts.index("site-packages") + 1] if "site-packages" in path.parts else "Python"
    if package in NETWORKS:
        return "networks"
    return "configuration" if package in ("hydra", "omegaconf", "yaml", "antlr4") else "other packages"


def main(out: str, *arguments: str) -> None:
    """Run ``scripts.run`` with these arguments, and write its profile."""
    sys.argv[1:] = arguments
    profile = cProfile.Profile()
    with contextlib.suppress(SystemExit):
        profile.runcall(runpy.run_module, "scripts.run", run_name="__main__")
    profile.dump_stats(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
