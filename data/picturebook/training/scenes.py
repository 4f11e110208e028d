"""Numbered training and held-out scenes, disjoint from the benchmarks.

Scene ``i`` of a split is sampled from a generator seeded by ``(split, i)``, so a resumed training gets the same scenes
as an uninterrupted one. Pictures are drawn once and stored in a memory-mapped file.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from data.picturebook.edits import possible
from data.picturebook.world import NOUNS, SIZE, Scene, pixels, sample_mix, sample_scene

SPLITS = {"train": 101, "held_out": 202, "benchmark": 303}
"""Seeds of the splits. Training data and benchmark share no seed."""
MIXED = 0.04
"""Share of held-out scenes in which one animal is mixed with another."""
EDITED = 0.6
"""Share of training scenes that show the outcome of an edit, so that the generator is trained on animals of any size
that wear things, on mixes, and on scenes after a removal."""
EDITS = {"add": 0.45, "recolour": 0.2, "change": 0.16, "mix": 0.13, "remove": 0.06}
"""Frequencies of the kinds of these edits; if a kind is not possible in a scene, the next one is tried."""
NOUN_WEIGHTS = [{"car": 2.5, "balloon": 2.0, "shrimp": 1.6, "zebra": 1.3}.get(noun, 1.0) for noun in NOUNS]
"""Relative frequencies of nouns in training: larger for things with colours and for those that the first edition's
models drew worst."""


def scene(split: str, index: int) -> Scene:
    """Return scene ``index`` of a split, deterministically."""
    rng = np.random.default_rng([SPLITS[split], index])
    if split != "train":
        drawn = sample_scene(rng)
        return sample_mix(rng, drawn) if rng.random() < MIXED else drawn
    drawn = sample_scene(rng, noun_weights=NOUN_WEIGHTS)
    if rng.random() >= EDITED:
        return drawn
    kinds = rng.choice(list(EDITS), len(EDITS), replace=False, p=list(EDITS.values()))
    edits = (edit.edited for kind in kinds for edit in possible(rng, drawn, str(kind)))
    return next(edits, drawn)


def _draw(drawn: Callable[[int], Scene], start: int, stop: int) -> UInt8[np.ndarray, "n 128 128 3"]:
    return np.stack([pixels(drawn(i)) for i in range(start, stop)])


def drawings(
    name: str, count: int, folder: Path, drawn: Callable[[int], Scene], workers: int = 2
) -> UInt8[np.ndarray, "n 128 128 3"]:
    """Return the first ``count`` pictures of a series; they are drawn once, in parallel, and stored in ``folder``."""
    # A hash of the first pictures is part of the file name, so that files of another distribution are not read.
    version = hashlib.sha256(_draw(drawn, 0, 4).tobytes()).hexdigest()[:8]
    path = folder / f"{name}_{count}_{version}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".part.npy")
        images = np.lib.format.open_memmap(aside, "w+", np.uint8, (count, SIZE, SIZE, 3))
        chunks = [(i, min(i + 200, count)) for i in range(0, count, 200)]
        with ProcessPoolExecutor(workers) as pool:
            jobs = [(a, b, pool.submit(_draw, drawn, a, b)) for a, b in chunks]
            for a, b, job in tqdm(jobs, desc=f"drawing {name}", unit="x200"):
                images[a:b] = job.result()
        images.flush()
        aside.rename(path)
    return np.load(path, mmap_mode="r")


def pictures(split: str, count: int, folder: Path, workers: int = 2) -> UInt8[np.ndarray, "n 128 128 3"]:
    """Return pictures of the first ``count`` scenes of a split; see :func:`drawings`."""
    return drawings(split, count, folder, partial(scene, split), workers)


def to_tensor(images: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
    """Convert uint8 pictures to floats in [-1, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
