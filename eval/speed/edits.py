"""The cost of single edits and batches: seconds by stage, throughput, memory, and the share of the device's peak."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from eval.benchmarks.base import Benchmark
from eval.metrics.base import Metric, MetricUndefined
from eval.runs.memory import peak_gib, reset_peak
from instructedit import diffusion
from instructedit.images import load_image
from instructedit.latent_diffusion import LatentDiffusion
from instructedit.types import EditRequest, EditResult, Failure, Method, Sample

BATCH_SIZES = (1, 2, 4, 8, 16)


@dataclass
class Stopwatch:
    """Wall-clock seconds by name; waits for the device before each reading."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add the seconds of the body."""
        start = self.now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + self.now() - start

    def now(self) -> float:
        """Return the time at which all work given to the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def latency(
    method: Method, backbone: LatentDiffusion, metrics: Sequence[Metric], sample: Sample, repeats: int
) -> dict[str, float]:
    """Return the median seconds of each stage of one edit, without a cache, models loaded.

    Args:
        method: Mask-guided: the parts of its editor are encode, invert, denoise and decode.
        backbone: The editor's; its cache stores nothing.
        metrics: Scored on the edit.
        sample: Its captions are the editor's for the parts.
        repeats: Number of edits, after one that loads the models.
    """
    image = load_image(sample.image)
    request = EditRequest(sample.id, image, sample.instruction, sample.captions)
    rows = []
    for _ in range(repeats + 1):
        watch = Stopwatch(backbone.context.device)
        with watch.time("edit"):
            (outcome,) = method.edit([request])
        if isinstance(outcome, Failure):
            raise RuntimeError(f"sample {sample.id} cannot be edited: {outcome.stage}: {outcome.message}")
        captions = outcome.decisions.captions or sample.captions
        assert captions is not None
        with torch.no_grad():
            with watch.time("encode"):
                latents = backbone.encode([image])
            with watch.time("decode"):
                backbone.decode(latents)
            with watch.time("invert"):
                backbone.invert([image], [captions.input], _steps(outcome))
        for metric in metrics:
            with watch.time("metrics"):
                _score(metric, sample, image, outcome)
        rows.append(dict(outcome.seconds) | watch.seconds)
    return {name: float(torch.tensor([row[name] for row in rows[1:]]).median()) for name in rows[-1]}


def _steps(outcome: EditResult) -> int:
    return outcome.evaluations["inversion"]


def _score(metric: Metric, sample: Sample, image: Any, outcome: EditResult) -> None:
    try:
        if metric.applies(sample):
            metric.score(sample, image, outcome, sample.captions or outcome.decisions.captions)
    except MetricUndefined:
        pass


def throughput(method: Method, benchmark: Benchmark, device: torch.device) -> list[dict[str, float]]:
    """Return edits per second and peak memory by batch size, without a cache; every edit is another sample's."""
    rows = []
    for size in BATCH_SIZES:
        samples = benchmark.samples[:size]
        if len(samples) < size:
            break
        requests = [EditRequest(s.id, load_image(s.image), s.instruction, s.captions) for s in samples]
        reset_peak(str(device))
        best = min(_seconds(partial(method.edit, requests), device) for _ in range(2))
        rows.append({"batch_size": size, "edits_per_second": size / best, "peak_gib": peak_gib(str(device))})
    return rows


@torch.no_grad()
def share_of_peak(backbone: LatentDiffusion, rows: int) -> dict[str, float]:
    """Compare the noise predictor's FLOPs per second with those of a large matrix multiplication.

    Args:
        backbone: Its noise predictor is evaluated on its training size.
        rows: Batch size; a guided step of n samples has 2n.

    Returns:
        FLOPs of one evaluation (multiplications and additions, counted by torch), evaluations per second, FLOPs per
        second of the network and of the matrix multiplication in the same precision, and their ratio.
    """
    device, dtype = backbone.context.device, backbone.unet.dtype
    size = int(backbone.unet.config["sample_size"])
    latents = torch.randn(rows, int(backbone.unet.config["in_channels"]), size, size).to(device, dtype)
    condition = backbone.embed(["photo of a cat"] * rows)
    predict = diffusion.conditional(backbone.unet, backbone.scheduler, condition)
    counter = FlopCounterMode(display=False)
    with counter:
        predict(latents, 1)
    flops = counter.get_total_flops()
    seconds = min(_seconds(lambda: predict(latents, 1), device) for _ in range(5))
    side = 8192 if device.type == "cuda" else 2048
    matrix = torch.randn(side, side).to(device, dtype)
    product = min(_seconds(lambda: matrix @ matrix, device) for _ in range(5))
    rate, peak = flops / seconds, 2 * side**3 / product
    return {
        "batch_size": rows, "gflops_per_evaluation": flops / rows / 1e9, "evaluations_per_second": rows / seconds,
        "gflops_per_second": rate / 1e9, "peak_gflops_per_second": peak / 1e9, "share": rate / peak,
    }  # fmt: skip


def _seconds(body: Callable[[], Any], device: torch.device) -> float:
    watch = Stopwatch(device)
    with watch.time("body"):
        body()
    return watch.seconds["body"]
