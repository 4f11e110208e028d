"""What the children of :mod:`tests.faults.forks` do, and how a test reads what they leave."""

import contextlib
import json
import os
import random
import runpy
import signal
import sys
from pathlib import Path

import torch

from eval.runs.records import TIMING
from eval.runs.runner import run
from eval.runs.store import RunStore
from instructedit.cache import StageCache
from tests.eval.runs.test_runner import Invert, make_benchmark, make_plan

CHANGES = ("os.rename", "os.remove", "os.truncate", "os.mkdir")
"""Audit events of calls that change a folder, beside opening a file for writing."""
TIMED = ("manifest.json", ".lock")
"""Files of a run that hold times or processes."""
LOCKS = (".claims", "locks")
"""Folders of locks: their files are empty, and a killed process leaves them, released."""


def script(module: str, *words: str) -> None:
    """Run ``python -m module words...``; raises SystemExit."""
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def warm(module: str, *words: str) -> None:
    """Run a script and keep what it has imported and loaded."""
    try:
        script(module, *words)
    except SystemExit as error:
        if error.code:
            raise


def invert(benchmark: str, results: str, kill_at: int | None = None) -> None:
    """Run a method without models on a small benchmark.

    Args:
        benchmark: Its folder.
        results: The results folder.
        kill_at: Number of the change on disk before which the process kills itself, from 1; None does not.
    """
    plan = make_plan(make_benchmark(Path(benchmark), 4), Invert(fails=("s1",)), Path(results))
    if kill_at is not None:
        _kill_at(kill_at, results)
    run(plan)


def _kill_at(number: int, results: str) -> None:
    seen = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in CHANGES) and str(arguments[0]).startswith(results):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def lines_of(results: Path) -> dict[tuple[str, str], str]:
    """Return the line of each finished sample of each run, by run id and sample id."""
    found: dict[tuple[str, str], str] = {}
    for folder in sorted((results / "runs").glob("*/")):
        finished = RunStore(results, folder.name).finished()
        path = folder / "samples.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.is_file() else []
        found |= {(folder.name, key): line for line in lines if (key := json.loads(line)["id"]) in finished}
    return found


def contents(results: Path) -> dict[str, bytes]:
    """Return every file of a results folder, without times: two sweeps of equal results have equal contents."""
    found = {}
    for path in sorted(p for p in results.rglob("*") if p.is_file()):
        name = str(path.relative_to(results))
        if path.name in TIMED or path.parent.name in LOCKS or name.startswith("sweeps/") or path.suffix == ".tmp":
            continue
        data = path.read_bytes().replace(str(results).encode(), b"results")
        found[name] = b"\n".join(map(_untimed, data.splitlines())) if path.name == "samples.jsonl" else data
    return found


def _untimed(line: bytes) -> bytes:
    return json.dumps({k: v for k, v in json.loads(line).items() if k not in TIMING}).encode()


def share_cache(folder: str, rounds: int) -> int:
    """Write, read and damage the same entries as other processes; return the number of wrong values that were read."""
    generator, wrong = random.Random(os.getpid()), 0
    for number in range(rounds):
        cache, key = StageCache(Path(folder)), StageCache.key("stage", 1, number=number % 5)
        expected = torch.full((50, 50), float(number % 5))
        cache.put("stage", key, {"a": expected})
        cache.put_json("stage", key, number % 5)
        if generator.random() < 0.3:
            for path in Path(folder).glob("*/*/*.*"):
                with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
                    file.seek(generator.randrange(40))
                    file.write(b"x")
        found, value = cache.get("stage", key), cache.get_json("stage", key)
        wrong += (found is not None and not torch.equal(found["a"], expected)) + (value not in (None, number % 5))
    return wrong
