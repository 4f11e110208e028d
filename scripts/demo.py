"""Edit a picture in the browser with any method, and change what each component decided.

python -m scripts.demo
"""

import importlib.util
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from instructedit.checkpoints import OPTIONAL, by_key, checkpoints, require_checkpoints
from instructedit.checks import require, require_whole
from instructedit.types import ConfigError, Method
from scripts.app import CONF, OK, launch
from scripts.values import check_values

EXAMPLES = 6


def task(config: DictConfig) -> int:
    """Check the configuration of every method, and serve the page until Ctrl-C."""
    check_values(config)
    known = sorted(p.stem for p in (CONF / "method").glob("[!_]*.yaml"))
    is_list = isinstance(config.methods, ListConfig) and len(config.methods) > 0
    require(is_list, "methods", config.methods, f"lists of {', '.join(known)}")
    require_whole("port", config.port, 0, 65535)
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError("the demo needs gradio: install the extra `demo`, as in: pip install -e '.[demo]'")
    overrides = [o for o in HydraConfig.get().overrides.task if not o.startswith("method=")]
    configs = {str(name): compose("demo", [*overrides, f"method={name}"]) for name in config.methods}
    for own in configs.values():
        require_checkpoints(own.models, own.wrapper)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    blocks = page(config, configs)
    from eval.demo.page import launch as launch_page

    url = launch_page(blocks, str(config.host), config.port, prevent_thread_lock=True)
    print(f"the demo is at {url}; Ctrl-C ends", flush=True)
    blocks.block_thread()
    return OK


def page(config: DictConfig, configs: Mapping[str, DictConfig]) -> Any:
    """Return the page.

    Args:
        config: The demo's.
        configs: A configuration for each method, by name.
    """
    from eval.benchmarks.base import configured
    from eval.demo.page import page as page_of
    from instructedit.models import Context

    results = Path(str(config.results))
    context = Context.create(results / "cache", str(config.device), config.offload, config.compiler)

    @cache
    def built(name: str, values: tuple[tuple[str, float | int], ...]) -> Method:
        own = OmegaConf.merge(configs[name], dict(values))
        method: Method = instantiate(own.wrapper, _convert_="all")(context=context)
        return method

    samples = configured(config.benchmark, results).samples
    # Benchmarks are ordered by category, so the first samples alone would be of one kind.
    spread = samples[:: max(1, len(samples) // EXAMPLES)][:EXAMPLES]
    examples = [(str(sample.image), sample.instruction) for sample in spread]
    defaults = {key: config[key] for key in ("ratio", "theta", "dilate", "seed")}
    about = str(config.about or "The settings list the models.")
    return page_of(
        lambda name, values: built(name, tuple(values.items())),
        list(configs),
        examples,
        defaults,
        about,
        models(configs),
    )


def models(configs: Mapping[str, DictConfig]) -> dict[str, str]:
    """Return the ids of the checkpoints that the methods use, by their keys in the preset."""
    used = {c for own in configs.values() for c in checkpoints(OmegaConf.to_container(own.wrapper, resolve=True))}
    preset = OmegaConf.to_container(next(iter(configs.values())).models, resolve=True)
    return {key: c.id for key, c in by_key(preset) if c in used and not key.startswith(OPTIONAL)}


def main() -> int:
    """Serve the demo."""
    return launch(task, "demo")


if __name__ == "__main__":
    sys.exit(main())
