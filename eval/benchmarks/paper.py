"""The instructions printed in the paper, for user-supplied pictures; the authors' pictures were not released."""

from pathlib import Path

from eval.benchmarks import manifest
from eval.benchmarks.base import Benchmark
from eval.benchmarks.schema import noted
from instructedit.types import ConfigError


def read(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read a manifest whose pictures the user supplies.

    Raises:
        ConfigError: See :func:`eval.benchmarks.manifest.read`; also if pictures are missing. The message names them.
    """
    benchmark = manifest.read(folder, masks)
    root = folder.resolve()
    missing = [
        s.image.relative_to(root).as_posix() for s in benchmark.samples if s.image != Path() and not s.image.is_file()
    ]
    if missing:
        problem = ConfigError(
            f"{folder}: {len(missing)} of {len(benchmark.samples)} pictures are missing: {', '.join(missing)}; the "
            f"paper's were not released, put your own under these names (see {folder / 'README.md'})"
        )
        noted(problem)
    return benchmark
