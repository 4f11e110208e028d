"""The cost of whole sweeps: ours beside diffusers' pipeline, and as the sweep grows."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.analysis.evaluations import evaluations, total
from eval.benchmarks.base import Benchmark
from eval.runs.run import read_runs
from eval.runs.store import RunStore
from eval.speed.peer import NOISES, STEPS, Work
from instructedit.checkpoints import Checkpoint
from instructedit.files import ROOT

RATIOS, THETAS = (0.5, 0.7, 0.9), (0.3, 0.5, 0.7)
GROWTH: dict[str, list[str]] = {
    "4 samples": ["limit=4"],
    "8 samples": ["limit=8"],
    "2 ratios": ["limit=4", "ratio=0.5,0.7"],
    "3 ratios": ["limit=4", "ratio=0.5,0.7,0.9"],
    "2 thetas": ["limit=4", "theta=0.3,0.5"],
    "3 thetas": ["limit=4", "theta=0.3,0.5,0.7"],
    "2 methods": ["limit=4", "method=diffedit,instructedit"],
    "5 methods": ["limit=4", "method=diffedit,instructedit,mdp,sd_inpainting,instruct_pix2pix"],
}
"""Sweeps that differ from the first one, of one ratio, theta and method, in one respect."""


@dataclass(frozen=True)
class Race:
    """One sweep done by us and by diffusers' DiffEdit pipeline, in turns: wall-clock seconds of whole commands."""

    edits: int
    ours: list[float]
    again: list[float]
    """Ours with the results removed and the stage cache kept."""
    one_process: list[float]
    """diffusers, with the pipeline loaded once."""
    process_per_job: list[float]
    """diffusers, with the pipeline loaded by each job; measured in the first turn only."""
    computed: int
    """NFE that our sweep computed."""
    distinct: int
    """NFE of the sweep's distinct work."""
    largest_difference: int
    """Largest difference of a pixel between our edits and theirs, of 255."""


def race(checkpoint: Checkpoint, benchmark: Benchmark, overrides: Sequence[str], limit: int, repeats: int) -> Race:
    """Run the sweep of 3 ratios x 3 thetas of DiffEdit in turns.

    Args:
        checkpoint: Stable Diffusion of ``overrides``' models.
        benchmark: Its samples have captions.
        overrides: For ``scripts.run``: models, device and so on.
        limit: Number of samples.
        repeats: Number of turns.
    """
    jobs = [(ratio, theta) for ratio in RATIOS for theta in THETAS]
    samples = [
        {"id": s.id, "image": str(s.image.resolve()), "input": s.captions.input, "edited": s.captions.edited}
        for s in benchmark.samples[:limit] if s.captions
    ]  # fmt: skip
    command = [*sweep(limit), *overrides]
    weights = str(checkpoint.folder.resolve()), checkpoint.dtype
    times: dict[str, list[float]] = {"ours": [], "again": [], "one_process": [], "process_per_job": []}
    largest = computed = 0
    for turn in range(repeats):
        with tempfile.TemporaryDirectory() as temporary:
            results, theirs = Path(temporary) / "results", Path(temporary) / "theirs"
            theirs.mkdir()
            times["ours"].append(_run([*command, f"results={results}"]))
            computed = total(evaluations(list(read_runs(results)))).computed
            work = Work(*weights, samples, jobs, str(theirs)).save(Path(temporary) / "work.json")
            times["one_process"].append(_timed("eval.speed.peer", str(work)))
            largest = max(largest, _largest_difference(results, theirs))
            if turn == 0:
                works = [Work(*weights, samples, [job], str(theirs)) for job in jobs]
                paths = [work.save(Path(temporary) / f"{i}.json") for i, work in enumerate(works)]
                times["process_per_job"].append(sum(_timed("eval.speed.peer", str(path)) for path in paths))
            (results / "runs").rename(results / "removed")
            times["again"].append(_run([*command, f"results={results}"]))
    # Inversion and denoising with guidance; one mask for all ratios and thetas.
    distinct = limit * (2 * STEPS + 2 * NOISES + sum(2 * int(STEPS * ratio) for ratio, _ in jobs))
    return Race(len(samples) * len(jobs), **times, computed=computed, distinct=distinct, largest_difference=largest)


def sweep(limit: int) -> list[str]:
    """Return the arguments of ``scripts.run`` for DiffEdit at 3 ratios x 3 thetas."""
    ratios, thetas = (",".join(map(str, values)) for values in (RATIOS, THETAS))
    return ["-m", "method=diffedit", "method.variant=diffusers", f"ratio={ratios}", f"theta={thetas}", f"limit={limit}"]


def growth(overrides: Sequence[str]) -> list[dict[str, Any]]:
    """Measure how NFE and seconds grow with samples, ratios, thetas and methods; each sweep has a fresh cache."""
    rows = []
    for name, change in GROWTH.items():
        with tempfile.TemporaryDirectory() as results:
            method = [] if any(c.startswith("method=") for c in change) else ["method=diffedit"]
            seconds = _run(["-m", *method, *change, *overrides, f"results={results}"])
            counted = total(evaluations(list(read_runs(Path(results)))))
        rows.append({"sweep": name, "seconds": seconds, "requested": counted.requested, **asdict(counted)})
    return rows


def _run(arguments: Sequence[str]) -> float:
    return _timed("scripts.run", *arguments)


def _timed(module: str, *arguments: str) -> float:
    start = time.perf_counter()
    # Code 1 means that samples failed, as DiffEdit does where theta leaves no mask.
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, env=dict(os.environ)
    )
    if done.returncode not in (0, 1) or (done.returncode and module != "scripts.run"):
        raise RuntimeError(f"python -m {module} {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return time.perf_counter() - start


def _largest_difference(results: Path, theirs: Path) -> int:
    largest = 0
    for run in read_runs(results):
        store = RunStore(results, run.run_id)
        method = run.config["method"]
        for id_ in run.records:
            ours = store.image_path(id_)
            if ours.is_file():
                pair = [Image.open(p) for p in (ours, theirs / f"{method['ratio']}_{method['theta']}_{id_}.png")]
                a, b = (np.asarray(p.convert("RGB"), dtype=int) for p in pair)
                largest = max(largest, int(np.abs(a - b).max()))
    return largest
