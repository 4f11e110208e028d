"""Run ids: for every models preset, the report computes the id under which the run was stored."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from eval.benchmarks.base import Benchmark
from eval.report.study import studies
from eval.runs import declared
from eval.runs.declared import non_identity_keys_of
from eval.runs.identity import ID_VERSION, address, fingerprinted
from eval.runs.provenance import Manifest, Session
from eval.runs.records import record_of
from eval.runs.run import VALUES, Run
from instructedit.checkpoints import CHECKPOINT, checkpoints
from instructedit.types import Failure, Sample, non_identity_keys

CONF = Path(__file__).resolve().parents[2] / "conf"
BENCHMARK = Benchmark("b", "0", (Sample("a", Path("a.png"), "Change the cat", ("Turn the cat",)),))


def stored(run_id: str, config: dict[str, Any], versions: dict[str, str]) -> Run:
    manifest = Manifest(run_id, (Session(checkpoints=versions),))
    values = pd.DataFrame(columns=list(VALUES))
    return Run(run_id, "m", "m", {}, values, config=config, manifest=manifest)


@pytest.mark.parametrize("models", ["picturebook", "sd15", "sdxl", "sd21", "sd15_random"])
@pytest.mark.parametrize("method", ["instructedit", "sd_inpainting", "mdp"])
@pytest.mark.parametrize("variation", [0, 1])
def test_the_report_finds_the_address_that_a_run_was_stored_under(models: str, method: str, variation: int) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", [f"models={models}", f"method={method}", f"variation={variation}"])
    config = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(config, dict)
    try:
        versions = {c.id: c.version for c in checkpoints(config["wrapper"])}
    except FileNotFoundError:
        pytest.skip(f"models={models} has folders that are not on this machine")
    run_id = address(fingerprinted(config["wrapper"]), BENCHMARK.worded(variation), config["seed"])
    run = stored(run_id, {str(k): v for k, v in config.items()}, versions)
    assert run.was_made_on(BENCHMARK)
    assert not run.was_made_on(replace(BENCHMARK, revision="1"))


def test_a_checkpoints_folder_may_change_or_vanish_after_the_run(tmp_path: Path) -> None:
    """A local folder takes precedence over the hub, and the manifest records which of the two was used."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for revision in (None, "abc"):
        method = {"model": {"_target_": CHECKPOINT, "id": str(folder), "revision": revision, "variant": "fp16"}}
        (version,) = (c.version for c in checkpoints(method))
        run_id = address(fingerprinted(method), BENCHMARK, 0)
        gone = method | {"model": method["model"] | {"id": str(tmp_path / "gone")}}
        run = stored(run_id, {"wrapper": gone, "seed": 0}, {str(tmp_path / "gone"): version})
        assert run.was_made_on(BENCHMARK)
        assert stored(run_id, {"wrapper": gone, "seed": 0}, {}).was_made_on(BENCHMARK) is (False if revision else None)


def run_id(*overrides: str) -> str:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
    assert isinstance(config, dict)
    return address(fingerprinted(config["wrapper"]), BENCHMARK, config["seed"])


def test_the_addresses_of_todays_configurations_stay() -> None:
    """A change here makes every stored result unreachable: raise ID_VERSION if it is meant."""
    assert run_id("models=sd15", "language=openai") == "v2-56bef6c434ceea04"
    assert run_id("models=sd15", "method=mdp") == "v2-bcdd4169a4c40da3"


class Remote:
    NON_IDENTITY_KEYS = frozenset({"url"})

    @classmethod
    def from_name(cls, name: str, url: str) -> "Remote":
        return cls()


class Mirror(Remote):
    pass


@non_identity_keys("url")
def remote(name: str, url: str) -> Remote:
    return Remote()


@pytest.mark.parametrize("target", ["Remote", "Mirror", "Mirror.from_name", "remote"])
def test_a_component_declares_which_of_its_parameters_change_no_result(target: str) -> None:
    first, moved, other = (
        {"part": [{"_target_": f"{__name__}.{target}", "name": name, "url": url}]}
        for name, url in [("a", "here"), ("a", "there"), ("b", "here")]
    )
    assert address(fingerprinted(first), BENCHMARK, 0) == address(fingerprinted(moved), BENCHMARK, 0)
    assert address(fingerprinted(first), BENCHMARK, 0) != address(fingerprinted(other), BENCHMARK, 0)


def test_a_component_that_cannot_be_imported_keeps_all_of_its_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_component.py").write_text("raise RuntimeError('no driver')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for target in ("not_installed.Part", "broken_component.Part", f"{__name__}.gone"):
        node = {"_target_": target, "url": "here"}
        assert fingerprinted(node) == node


def test_runs_of_an_earlier_version_are_left_out_by_name() -> None:
    (sample,) = BENCHMARK.samples
    records = {"a": record_of(Failure("a", "editor", "E", "no"), sample)}
    run = replace(stored("v1-0123456789abcdef", {"benchmark": {"name": "b"}}, {}), records=records)
    (study,) = studies([run], {}, "m")
    assert study.runs == ()
    assert any(f"version v1 and this code writes {ID_VERSION}" in note for note in study.notes)


MODULE = """
from {base} import Base
from instructedit.types import Method, non_identity_keys


class Inherits(Base):
    pass


class Own(Method):
    NON_IDENTITY_KEYS: frozenset[str] = frozenset({{"url", "key"}})

    @classmethod
    def made(cls): ...


class Nothing(Method): ...


class Computed(Own):
    NON_IDENTITY_KEYS = Own.NON_IDENTITY_KEYS | {{"more"}}


@non_identity_keys("host")
def build(host, size): ...


def plain(host): ...
"""


@pytest.mark.parametrize(
    ("name", "keys", "is_read"),
    [
        ("Inherits", {"port"}, True), ("Own", {"url", "key"}, True), ("Own.made", {"url", "key"}, True),
        ("Nothing", set(), True), ("build", {"host"}, True), ("plain", set(), True), ("Absent", set(), False),
        ("Computed", {"url", "key", "more"}, False), ("Base", {"port"}, True),
    ],
)  # fmt: skip
def test_declarations_are_read_without_importing_where_the_source_tells(
    name: str, keys: set[str], is_read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = f"declares_{name.lower().replace('.', '_')}"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").write_text(f"from {package}.module import {name.split('.')[0]}\n")
    (folder / "base.py").write_text('class Base:\n    NON_IDENTITY_KEYS = ("port",)\n')
    (folder / "module.py").write_text(MODULE.format(base=f"{package}.base"))
    if name == "Absent":
        (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for target in (f"{package}.module.{name}", f"{package}.{name}"):
        assert non_identity_keys_of(target) == keys
        assert (package not in sys.modules) == is_read or name == "Absent"


def test_every_declaration_of_the_configuration_is_what_importing_gives() -> None:
    # A launcher is no component of a run.
    texts = [path.read_text() for path in CONF.rglob("*.yaml") if "hydra" not in path.relative_to(CONF).parts]
    targets = {target for text in texts for target in re.findall(r"_target_: *(\S+)", text)}
    assert len(targets) > 40
    for target in targets:
        assert declared._read(target, declared._DEEPEST) == declared._imported(target), target
