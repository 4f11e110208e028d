"""The instructions that the paper prints, for pictures of one's own: the authors' were never released."""

from pathlib import Path

from eval.benchmarks import manifest
from eval.benchmarks.base import Benchmark
from instructedit.types import ConfigError


def read(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read a manifest whose pictures the user supplies, all of them.

    Raises:
        ConfigError: as :func:`eval.benchmarks.manifest.read`, and for pictures that are not there: which, and where.
    """
    benchmark = manifest.read(folder, masks)
    root = folder.resolve()
    missing = [s.image.relative_to(root).as_posix() for s in benchmark.samples if not s.image.is_file()]
    if missing:
        raise ConfigError(
            f"{folder}: {len(missing)} of {len(benchmark.samples)} pictures are not there: {', '.join(missing)}; the "
            f"paper's were never released, put your own under these names (see {folder / 'README.md'})"
        )
    return benchmark
