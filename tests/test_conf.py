"""Every file under conf/ composes and names things that exist."""

import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from omegaconf import OmegaConf

from eval.analysis.stats import DEFAULT
from eval.runs.declared import non_identity_keys_of
from eval.runs.plan import plan
from eval.runs.runner import RunPlan
from instructedit.checkpoints import CHECKPOINT
from instructedit.types import ConfigError

CONF = Path(__file__).resolve().parents[1] / "conf"
CHOICES = [
    f"{folder.name}={path.stem}"
    for folder in sorted(CONF.iterdir())
    if folder.is_dir() and folder.name != "component"
    for path in sorted(folder.glob("*.yaml"))
    if not path.stem.startswith("_")  # inherited, and no choice
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


@pytest.mark.parametrize("wrapper", [[], ["wrapper=auto_ratio"], ["max_side=512", "paste_back=true"]])
def test_where_a_server_stands_and_what_it_costs_changes_no_run(wrapper: list[str], tmp_path: Path) -> None:
    def run_id(*overrides: str) -> str:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return plan(compose("config", ["language=openai", f"results={tmp_path}", *wrapper, *overrides])).run_id

    settings = resolved("config", "language=openai")["language"]
    outside = non_identity_keys_of(settings["_target_"])
    assert outside < settings.keys()
    others = {
        "base_url": "http://localhost:8000/v1", "timeout": "5", "max_retries": "9", "concurrency": "1",
        "api_key_env": "MY_KEY", "prices": "{prompt: 0.15, completion: 0.6}",
    }  # fmt: skip
    assert others.keys() == outside
    assert run_id(*(f"language.{key}={value}" for key, value in others.items())) == run_id()
    deciding = {"model": "n", "revision": "q4", "structured": "never", "temperature": "1", "max_tokens": "9"}
    assert deciding.keys() | others.keys() | {"_target_", "_partial_"} == settings.keys()
    assert len({run_id(f"language.{key}={value}") for key, value in deciding.items()} | {run_id()}) == 6


@pytest.mark.parametrize(
    ("prices", "line"),
    [
        ("{prompt: -1, completion: 1}", "language.prices.prompt=-1: accepted are dollars for a million tokens"),
        ("{prompt: 1, completion: cheap}", "language.prices.completion=cheap: accepted are dollars"),
        ("5", "language.prices=5: accepted are prompt and completion, both or none"),
        ("{prompt: 1, completion: null}", "accepted are prompt and completion, both or none"),
    ],
)
def test_a_wrong_price_is_named(prices: str, line: str, tmp_path: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["language=openai", f"results={tmp_path}", f"language.prices={prices}"])
    with pytest.raises(ConfigError) as caught:
        plan(config).method()
    assert line in str(caught.value)


@pytest.mark.parametrize("method", ["instructedit", "mdp", "instruct_pix2pix", "diffedit", "sd_inpainting"])
def test_the_first_try_of_tuning_is_the_methods_default(method: str) -> None:
    first = resolved("config", "experiment=table1_tuned", f"method={method}")
    assert first["tries"][method]
    assert first["wrapper"] == resolved("config", f"method={method}")["wrapper"]


def test_every_script_has_hydras_settings_from_one_file() -> None:
    primary = [p for p in CONF.glob("*.yaml") if p.stem != "base"]
    assert len(primary) == 14
    for path in primary:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            hydra = compose(path.stem, return_hydra_config=True).hydra
        assert hydra.job_logging.handlers.keys() == {"console"}, path  # none to a file
        assert (hydra.output_subdir, hydra.run.dir, hydra.job_logging.root.level) == (None, ".", "WARNING")
        assert "job_logging" not in path.read_text()


def made_by(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if "_target_" in node and node["_target_"] != CHECKPOINT:  # each checkpoint has settings of its own
            yield node["_target_"], node
        for value in node.values():
            yield from made_by(value)


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("choice", CHOICES)
def test_a_default_in_python_is_that_of_the_configuration(choice: str) -> None:
    """With the paper's models; a default that is nothing (None, 0, False, empty) leaves a part out and sets no value.

    The detector's threshold belongs to the preset of models, and Python's default is the paper's.
    """
    preset = {"box_threshold"} if choice.startswith("models=") else set()
    for target, given in made_by(resolved("config", "models=sd15", choice)):
        made = get_object(target)
        factories = {f.name: f.default_factory for f in fields(made)} if is_dataclass(made) else {}
        for name, parameter in inspect.signature(made).parameters.items():
            own = parameter.default
            if (factory := factories.get(name, MISSING)) is not MISSING:
                own = factory()
            if name in given.keys() - preset and own is not parameter.empty and own:
                assert plain(own) == given[name], f"{target}: {name}"


def test_the_runners_defaults_are_those_of_the_configuration() -> None:
    config = resolved("config")
    shared = [f for f in fields(RunPlan) if f.name in config and f.default is not MISSING and f.name != "config"]
    assert {f.name for f in shared} == {"seed", "batch_size", "retry_failed", "fail_on_error"}
    assert {f.name: f.default for f in shared} == {f.name: config[f.name] for f in shared}
    assert resolved("report")["interval"] == DEFAULT


def test_every_file_says_what_it_is_for() -> None:
    for path in CONF.rglob("*.yaml"):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
        assert lines[0].startswith("# "), path
