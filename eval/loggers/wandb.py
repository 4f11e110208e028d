"""Logger of runs to Weights & Biases: configuration, provenance, means with intervals, pictures, failures, metrics.

Offline by default: files are written to ``results/wandb`` until ``wandb sync`` or ``python -m scripts.publish`` uploads
them. The key is read from ``WANDB_API_KEY`` or from the netrc that ``wandb login`` writes.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from PIL import Image

from eval.analysis.summary import on_images, summary
from eval.benchmarks.base import Benchmark
from eval.runs.records import EditRecord, FailureRecord, SampleRecord
from eval.runs.run import Run, counts_of
from instructedit.images import load_image, overlay
from instructedit.types import ConfigError

MODES = ("online", "offline")
SIDE = 512
"""Maximum length of a logged picture's longer side in pixels."""
PICTURES = ("id", "instruction", "input", "mask", "edit")
FAILURES = ("id", "instruction", "stage", "error", "message")


@dataclass(frozen=True)
class WandbLogger:
    """Writes one W&B run per run, under the run's id, so that the same command updates it.

    Raises:
        ConfigError: A setting has a value that is not accepted.
    """

    project: str
    entity: str | None = None
    """User or team; None for the key's own."""
    mode: Literal["online", "offline"] = "offline"
    tags: Sequence[str] = ()
    group: str | None = None
    """Replaces the command's group."""
    samples: int = 24
    """Number of edits to log."""
    timeout: float = 30.0
    """Seconds to wait for W&B's response, and again for the upload."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"logger.mode={self.mode}: accepted are {', '.join(MODES)}; logger=none logs nothing")
        if self.samples < 0 or self.timeout <= 0:
            raise ConfigError(
                f"logger.samples={self.samples}, logger.timeout={self.timeout}: "
                "accepted are samples from 0 on and more than 0 seconds"
            )

    def log(self, run: Run, benchmark: Benchmark | None, group: str | None) -> None:
        """Write or update the W&B run of the run's id; see :class:`eval.loggers.base.Logger`."""
        # Results are read before the W&B run is opened, so that an error there leaves no incomplete W&B run.
        numbers, failures = results(run, benchmark), _failures(run)
        rows = [_row(run, record, benchmark) for record in chosen(run.records, self.samples)]
        folder = run.store.root.resolve() / "wandb"
        staged = folder / "staged" / f"{run.run_id}-{secrets.token_hex(4)}"
        with _environment(staged, folder / "cache"):
            import wandb  # takes seconds; an ImportError is handled like other logging errors

            with self._open(run, folder.parent, self.group or group) as session:
                session.summary.update(numbers)
                names, cells = _pictures(run, rows)
                data = [[wandb.Image(c) if isinstance(c, Image.Image) else c for c in row] for row in cells]
                session.log({
                    "samples": wandb.Table(columns=[*names], data=data),
                    "failures": wandb.Table(columns=[*FAILURES], data=failures),
                })  # fmt: skip
                if (metrics := run.store.folder / "metrics.parquet").is_file():
                    artifact = wandb.Artifact(f"metrics-{run.run_id}", "metrics", metadata={"cards": dict(run.cards)})
                    artifact.add_file(str(metrics))
                    session.log_artifact(artifact)
                session_folder = Path(session.settings.sync_dir)
        _drop_older(folder, run.run_id, (session_folder, staged))

    def _open(self, run: Run, root: Path, group: str | None) -> Any:
        import wandb

        root.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True, x_disable_meta=True,
            x_save_requirements=False, init_timeout=self.timeout, finish_timeout=self.timeout,
            x_graphql_timeout_seconds=self.timeout, finish_timeout_raises=True,
        )  # fmt: skip
        return wandb.init(
            project=self.project, entity=self.entity, id=run.run_id, name=run.label, group=group, job_type=run.name,
            tags=[*self.tags], mode=self.mode, dir=str(root), config=described(run), allow_val_change=True,
            # Offline, W&B cannot resume, and "allow" would cause a warning.
            resume="allow" if self.mode == "online" else None, reinit="create_new", settings=settings,
        )  # fmt: skip


def described(run: Run) -> dict[str, Any]:
    """Return a run's configuration, provenance and metric cards."""
    return {**run.config, "provenance": run.manifest.to_json(), "cards": dict(run.cards)}


def results(run: Run, benchmark: Benchmark | None) -> dict[str, float | int | None]:
    """Return counts, and ``<metric>/mean``, ``/low`` and ``/high`` (95 % interval), and ``/n``."""
    numbers: dict[str, float | int | None] = {"edited": run.edited, "failed": run.failed}
    if benchmark:
        run = run.in_order_of(benchmark)
    frame = on_images(run.metrics, benchmark.images if benchmark else {})
    for row in summary(frame, counts_of([run])).to_dict("records"):
        for key in ("mean", "low", "high"):
            numbers[f"{row['metric']}/{key}"] = None if pd.isna(row[key]) else float(row[key])
        numbers[f"{row['metric']}/n"] = int(row["n"])
    return numbers


def chosen(records: Mapping[str, SampleRecord], count: int) -> list[EditRecord]:
    """Return up to ``count`` edits, selected by a hash of their ids, so that all runs log the same samples."""
    edited = [record for record in records.values() if isinstance(record, EditRecord)]
    selected = sorted(edited, key=lambda record: hashlib.sha256(record.id.encode()).hexdigest())[:count]
    return sorted(selected, key=lambda record: record.id)


def _row(run: Run, record: EditRecord, benchmark: Benchmark | None) -> list[Any]:
    """Return the cells of ``PICTURES``; without the benchmark, the mask is drawn on the edit."""
    edit = run.store.read_result(record.id)
    paths = {s.id: s.image for s in benchmark.samples} if benchmark else {}
    source = load_image(paths[edit.id]) if edit.id in paths else None
    mask = None if edit.mask is None else overlay(source or edit.image, edit.mask)
    pictures = [None if image is None else _small(image) for image in (source, mask, edit.image)]
    return [edit.id, record.instruction, *pictures]


def _pictures(run: Run, rows: Sequence[list[Any]]) -> tuple[list[str], list[list[Any]]]:
    """Return the column names and the rows with the values of each metric appended."""
    wide = run.metrics.pivot(index="sample_id", columns="metric", values="value")
    wide = wide.reindex(columns=list(dict.fromkeys(run.metrics["metric"])))
    names = [str(name) for name in wide.columns]
    plain = [[None if pd.isna(v) else float(v) for v in row] for row in wide.to_numpy()]
    values = dict(zip(map(str, wide.index), plain, strict=True))
    return [*PICTURES, *names], [[*row, *values.get(row[0], [None] * len(names))] for row in rows]


def _failures(run: Run) -> list[list[str]]:
    return [[getattr(r, key) for key in FAILURES] for r in run.records.values() if isinstance(r, FailureRecord)]


def _small(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image


@contextlib.contextmanager
def _environment(staged: Path, cache: Path) -> Iterator[None]:
    """Set W&B's folders and silent mode by environment variables, as not all of them are settings; restore after."""
    variables = {"WANDB_DATA_DIR": str(staged), "WANDB_CACHE_DIR": str(cache), "WANDB_SILENT": "true"}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _drop_older(folder: Path, run_id: str, keep: Sequence[Path]) -> None:
    """Remove the files of earlier calls for the run, which the current ones replace."""
    for path in (*folder.glob(f"*run-*-{run_id}"), *folder.glob(f"staged/{run_id}-*")):
        if path.resolve() not in {k.resolve() for k in keep}:
            shutil.rmtree(path, ignore_errors=True)
