"""Measure speed and memory, print tables, and write the numbers as JSON.

python -m scripts.bench                                        # all parts, on picturebook
python -m scripts.bench parts=[latency,peak] models=sd15_random
"""

import datetime
import json
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from instructedit.checkpoints import require_checkpoints
from instructedit.checks import require, require_whole
from instructedit.files import write_aside
from scripts.app import OK, launch
from scripts.values import check_values

PARTS = ("race", "latency", "throughput", "growth", "profile", "peak")


def task(config: DictConfig) -> int:
    """Measure the chosen parts, one after another, and write what was measured after each."""
    parts = OmegaConf.to_object(config.parts) if OmegaConf.is_list(config.parts) else [config.parts]
    assert isinstance(parts, list)
    require(bool(parts) and set(parts) <= set(PARTS), "parts", parts, f"a list of {', '.join(PARTS)}")
    for key in ("repeats", "limit"):
        require_whole(key, config[key], 1)
    check_values(config)
    require_checkpoints(config.models, config.wrapper, config.metrics)
    from eval.speed.bench import Bench  # loads torch, which a wrong value need not wait for

    bench, console = Bench(config, str(HydraConfig.get().runtime.choices["models"])), Console()
    measured: dict[str, Any] = dict(bench.machine())
    console.print(", ".join(f"{k} {v}" for k, v in measured.items()), style="dim")
    path = Path(str(config.out)) / f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d_%H-%M-%S}.json"
    for part in parts:
        measured[part] = bench.parts[part]()
        _print(console, part, measured[part])
        with write_aside(path) as file:
            file.write(json.dumps(measured, indent=2).encode() + b"\n")
    console.print(str(path), soft_wrap=True)
    return OK


def _print(console: Console, part: str, rows: list[dict[str, Any]]) -> None:
    table = Table(*(key.replace("_", " ") for key in rows[0]), title=part, title_justify="left")
    for row in rows:
        table.add_row(*map(_text, row.values()))
    console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(launch(task, "bench"))
