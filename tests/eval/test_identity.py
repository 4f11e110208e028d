"""Run ids: for every models preset, the report computes the id under which the run was stored."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from eval.benchmarks.base import Benchmark
from eval.report.study import studies
from eval.runs.identity import ID_VERSION, address, fingerprinted
from eval.runs.run import VALUES, Run
from instructedit.checkpoints import CHECKPOINT, checkpoints
from instructedit.types import Sample

CONF = Path(__file__).resolve().parents[2] / "conf"
BENCHMARK = Benchmark("b", "0", (Sample("a", Path("a.png"), "Change the cat", ("Turn the cat",)),))


def stored(run_id: str, config: dict[str, Any], versions: dict[str, str]) -> Run:
    manifest = {"sessions": [{"checkpoints": versions}]}
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


def test_runs_of_an_earlier_version_are_left_out_by_name() -> None:
    records = {"a": {"status": "edited", "instruction": "Change the cat", "category": "", "edit": "", "decisions": {}}}
    run = replace(stored("v1-0123456789abcdef", {"benchmark": {"name": "b"}}, {}), records=records)
    (study,) = studies([run], {}, "m")
    assert study.runs == ()
    assert any(f"version v1 and this code writes {ID_VERSION}" in note for note in study.notes)
