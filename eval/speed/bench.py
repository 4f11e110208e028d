"""The parts of the bench on one configuration; models load once."""

import datetime
import platform
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from eval.benchmarks.base import Benchmark, configured
from eval.metrics.base import Metric
from eval.metrics.entries import load_metrics, metric_entries
from eval.runs.provenance import environment
from eval.speed.edits import BATCH_SIZES, latency, share_of_peak, throughput
from eval.speed.profile import shares
from eval.speed.sweeps import growth, race, sweep
from instructedit.checkpoints import named
from instructedit.latent_diffusion import LatentDiffusion
from instructedit.models import Checkpoint, Context
from instructedit.types import Method

PAPER = {"language": 2.0, "segmenter": 8.0, "editor": 10.0}
"""Seconds by stage on one A100 (paper §4.1)."""
Rows = list[dict[str, Any]]


class Bench:
    """Measures one configuration of ``conf/bench.yaml``.

    Args:
        config: The composed configuration.
        models: Name of the models preset, which the sweeps of other processes get.
    """

    def __init__(self, config: DictConfig, models: str) -> None:
        self.config, self.models = config, models
        # Nothing is cached, so that every repetition computes.
        self.context = Context.create(None, str(config.device), config.offload, config.compiler)
        self.repeats = int(config.repeats)

    @property
    def parts(self) -> dict[str, Callable[[], Rows]]:
        """The measurements by name; each returns the rows of a table."""
        return {
            "race": self._race,
            "latency": self._latency,
            "throughput": lambda: throughput(self._method, self._benchmark, self.context.device),
            "growth": lambda: growth(self._overrides),
            "profile": lambda: shares([*sweep(int(self.config.limit)), *self._overrides]),
            "peak": lambda: [share_of_peak(self._backbone, 2 * size) for size in BATCH_SIZES],
        }

    def machine(self) -> dict[str, str]:
        """Return what the numbers depend on."""
        device = self.context.device
        versions = {k: v for k, v in environment().packages.items() if k in ("torch", "diffusers", "transformers")}
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        threads = str(torch.get_num_threads())
        return {"device": name, "threads": threads, "date": today, "models": self.models} | versions

    def _race(self) -> Rows:
        found = race(self._diffusion, self._benchmark, self._overrides, int(self.config.limit), self.repeats)
        ours = median(found.ours)
        seconds = {k: v for k, v in asdict(found).items() if isinstance(v, list)}
        counts = {k: v for k, v in asdict(found).items() if not isinstance(v, list)}
        return [
            {"sweep": name, "seconds": median(all_), "over_ours": median(all_) / ours, "all": all_} | counts
            for name, all_ in seconds.items()
        ]

    def _latency(self) -> Rows:
        sample = self._benchmark.samples[0]
        found = latency(self._method, self._backbone, self._metrics, sample, self.repeats)
        return [{"stage": k, "seconds": v, "paper_a100": PAPER.get(k)} for k, v in found.items()]

    @property
    def _overrides(self) -> list[str]:
        return [f"models={self.models}", f"device={self.config.device}"]

    @cached_property
    def _diffusion(self) -> Checkpoint:
        node = OmegaConf.to_container(self.config.models.diffusion, resolve=True)
        assert isinstance(node, dict)
        return named({str(k): v for k, v in node.items()})

    @cached_property
    def _backbone(self) -> LatentDiffusion:
        return LatentDiffusion(self.context, self._diffusion)

    @cached_property
    def _benchmark(self) -> Benchmark:
        return configured(self.config.benchmark, Path(self.config.results))

    @cached_property
    def _method(self) -> Method:
        method: Method = instantiate(self.config.wrapper, _convert_="all")(context=self.context)
        return method

    @cached_property
    def _metrics(self) -> list[Metric]:
        return load_metrics(metric_entries(self.config.metrics), self.context)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.processor()
