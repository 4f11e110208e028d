"""Scenes with poses: a folder with a manifest whose pictures are strips, and ``scenes/<id>/transforms.json``."""

from dataclasses import replace
from pathlib import Path

from eval.benchmarks import manifest
from eval.benchmarks.base import Benchmark, revision
from instructedit.applications.nerf.scenes import TRANSFORMS


def read(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read a folder with a manifest; the revision covers the poses, too.

    Raises:
        ConfigError: See :func:`eval.benchmarks.manifest.read`.
    """
    benchmark = manifest.read(folder, masks)
    poses = [folder / "scenes" / sample.id / TRANSFORMS for sample in benchmark.samples]
    return replace(benchmark, revision=revision(benchmark.revision.encode(), poses))
