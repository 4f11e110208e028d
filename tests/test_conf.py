"""Every file under conf/ composes and names things that exist."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from omegaconf import OmegaConf

CONF = Path(__file__).resolve().parents[1] / "conf"
CHOICES = [
    f"{folder.name}={path.stem}"
    for folder in sorted(CONF.iterdir())
    if folder.is_dir() and folder.name != "component"
    for path in sorted(folder.glob("*.yaml"))
]


def targets(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [v for k, v in node.items() if k == "_target_"] + [t for v in node.values() for t in targets(v)]
    return []


def resolved(name: str, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose(name, list(overrides)), resolve=True)
    assert isinstance(config, dict)
    return {str(k): v for k, v in config.items()}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_its_targets_exist(choice: str) -> None:
    found = targets(resolved("config", choice))
    assert found
    for target in found:
        get_object(target)


@pytest.mark.parametrize("component", sorted(p.stem for p in (CONF / "component").glob("*.yaml")))
def test_every_component_composes(component: str) -> None:
    config = resolved("train", f"component={component}")
    assert get_object(config["component"]["_target_"]).name == component
    assert set(config["component"]["train"]) >= {"steps", "batch_size", "learning_rate"}


def test_every_file_says_what_it_is_for() -> None:
    for path in CONF.rglob("*.yaml"):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
        assert lines[0].startswith("# "), path
