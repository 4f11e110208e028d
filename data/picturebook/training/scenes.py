"""The scenes that models train on: endless, numbered, and never those of a benchmark.

Scene ``i`` of a split is drawn from a generator seeded by ``(split, i)``, so a training that resumes sees what an
undisturbed one would have seen. Pictures are drawn once and kept in a memory-mapped file.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from data.picturebook.world import SIZE, Scene, pixels, sample_mix, sample_scene

SPLITS = {"train": 101, "held_out": 202, "benchmark": 303}
"""Seeds of the splits. Training data never shares one with the benchmark."""
MIXED = 0.04
"""Share of the scenes in which one animal is mixed with another."""


def scene(split: str, index: int) -> Scene:
    """Scene ``index`` of a split; the same for ever."""
    rng = np.random.default_rng([SPLITS[split], index])
    drawn = sample_scene(rng)
    return sample_mix(rng, drawn) if rng.random() < MIXED else drawn


def _draw(drawn: Callable[[int], Scene], start: int, stop: int) -> UInt8[np.ndarray, "n 128 128 3"]:
    return np.stack([pixels(drawn(i)) for i in range(start, stop)])


def drawings(
    name: str, count: int, folder: Path, drawn: Callable[[int], Scene], workers: int = 2
) -> UInt8[np.ndarray, "n 128 128 3"]:
    """The first ``count`` pictures of a series, drawn in parallel the first time and read from ``folder`` after."""
    path = folder / f"{name}_{count}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".part.npy")
        kept = np.lib.format.open_memmap(aside, "w+", np.uint8, (count, SIZE, SIZE, 3))
        chunks = [(i, min(i + 200, count)) for i in range(0, count, 200)]
        with ProcessPoolExecutor(workers) as pool:
            jobs = [(a, b, pool.submit(_draw, drawn, a, b)) for a, b in chunks]
            for a, b, job in tqdm(jobs, desc=f"drawing {name}", unit="x200"):
                kept[a:b] = job.result()
        kept.flush()
        aside.rename(path)
    return np.load(path, mmap_mode="r")


def pictures(split: str, count: int, folder: Path, workers: int = 2) -> UInt8[np.ndarray, "n 128 128 3"]:
    """The first ``count`` scenes of a split as :func:`drawings`."""
    return drawings(split, count, folder, partial(scene, split), workers)


def to_tensor(images: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
    """uint8 pictures to floats in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
