"""Metric entries of a configuration: order, shared networks, context, and metrics of other packages."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from eval.metrics.base import Metric
from eval.metrics.brisque import Brisque
from eval.metrics.clip import ClipDirectional, ClipScore
from eval.metrics.components.truth import EditorRight
from eval.metrics.components.vlm import ByVlm
from eval.metrics.entries import load_metrics, metric_entries
from eval.metrics.lpips import Lpips
from eval.metrics.region import ClipInside, LpipsOutside
from eval.runs.plan import plan
from instructedit.cache import StageCache
from instructedit.checkpoints import require_checkpoints
from instructedit.models import Context, ModelPool
from instructedit.types import ConfigError
from tests.test_conf import CONF

PAPER = ["brisque", "lpips", "clip_score", "clip_directional", "mask_iou"]
REGION = ["psnr_outside", "ssim_outside", "mse_outside", "lpips_outside", "clip_inside"]
VERDICTS = ["language_right", "segmenter_right", "editor_right"]
IOU = {"_target_": "eval.metrics.mask_iou.MaskIoU"}
SCORE = {"_target_": "eval.metrics.clip.ClipScore.from_checkpoint", "checkpoint": None, "resize": "crop"}

PACKAGE = '''
"""Metrics of somebody else."""

from eval.metrics.mask_iou import MaskIoU


class Mine(MaskIoU):
    name = "mine"

    def __init__(self, tolerance: int = 0) -> None:
        self.tolerance = tolerance


class Device(MaskIoU):
    name = "device"

    def __init__(self, context, least=1) -> None:
        self.device = context.device


def nothing() -> None:
    return None
'''
YAML = """
# @package _global_
defaults:
  - paper
  - _self_
metrics:
  mine:
    _target_: somebody_elses.Mine
    tolerance: 8
"""


@pytest.fixture
def context() -> Context:
    return Context(ModelPool(), StageCache(None), torch.device("cpu"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package and a configuration folder outside of the tree."""
    (tmp_path / "somebody_elses.py").write_text(PACKAGE)
    (tmp_path / "metric").mkdir()
    (tmp_path / "metric" / "mine.yaml").write_text(YAML)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("somebody_elses", None)


def composed(*overrides: str) -> Mapping[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides)).metrics


def loaded(context: Context, *overrides: str) -> list[Metric]:
    return load_metrics(metric_entries(composed(*overrides)), context)


@pytest.mark.parametrize(
    ("choices", "names"),
    [
        (["metric=none"], []),
        (["metrics=null"], []),
        (["metric=paper"], PAPER),
        (["metric=full"], PAPER + REGION),
        (["metric=components"], PAPER + VERDICTS),
        (["metric=components", "judge=vlm"], PAPER + VERDICTS),
        (["~metrics.brisque", "+metrics.again=null"], PAPER[1:]),
    ],
)
def test_tables_have_the_order_of_the_entries(context: Context, choices: list[str], names: list[str]) -> None:
    assert [m.name for m in loaded(context, *choices)] == names


def test_networks_load_once_per_process(context: Context) -> None:
    """On the shipped models, over two runs of which one adds metrics."""
    first = {m.name: m for m in loaded(context, "metric=full")}
    again = {m.name: m for m in loaded(context, "metric=components")}
    brisque, distance, outside = first["brisque"], first["lpips"], first["lpips_outside"]
    scores = first["clip_score"], first["clip_directional"], first["clip_inside"], again["editor_right"]
    assert isinstance(brisque, Brisque)
    assert isinstance(distance, Lpips)
    assert isinstance(outside, LpipsOutside)
    assert again["brisque"] is brisque
    assert again["lpips"] is distance
    assert outside.whole is distance
    scorers = [m.scorer for m in scores if isinstance(m, ClipScore | ClipDirectional | ClipInside | EditorRight)]
    assert len(scorers) == 4
    assert len({id(scorer) for scorer in scorers}) == 1


def test_the_verdicts_of_a_run_share_their_requests(context: Context) -> None:
    def sessions(where: Context) -> set[int]:
        metrics = loaded(where, "metric=components", "judge=vlm")
        return {id(m.session) for m in metrics if isinstance(m, ByVlm)}

    other = Context(context.pool, StageCache(None), context.device)
    assert len(sessions(context)) == 1
    # Values that are missing because of a server error are requested again by the next run.
    assert sessions(context) != sessions(other)


def test_nothing_is_loaded_before_it_is_needed(tmp_path: Path, context: Context) -> None:
    (tmp_path / "model.safetensors").write_text("damaged")
    entries = metric_entries(composed(f"models.brisque.id={tmp_path}"))
    assert len(entries) == 5
    with pytest.raises(ConfigError, match="BRISQUE weights"):
        load_metrics(entries, context)


def test_checkpoints_of_entries_are_looked_for_before_a_run(folder: Path) -> None:
    checkpoint = "{_target_: instructedit.models.Checkpoint, id: some/one, revision: abc}"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(
            "config", ["metric=none", "+metrics.mine._target_=x.Y", f"+metrics.mine.backbone={checkpoint}"]
        )
    with pytest.raises(ConfigError, match=r"checkpoints are missing: some/one"):
        require_checkpoints(config.models, config.metrics)


@pytest.mark.parametrize("base", ["none", "paper"])
def test_a_metric_of_another_package_joins_by_an_override(folder: Path, context: Context, base: str) -> None:
    mine, device = "+metrics.mine._target_=somebody_elses.Mine", "+metrics.device._target_=somebody_elses.Device"
    made = loaded(context, f"metric={base}", mine, device, "+metrics.mine.tolerance=3")
    assert [m.name for m in made] == [*(PAPER if base == "paper" else []), "mine", "device"]
    assert vars(made[-2]) == {"tolerance": 3}
    assert vars(made[-1]) == {"device": torch.device("cpu")}  # one that takes a context is given one


def test_a_metric_of_another_package_joins_by_a_configuration_folder(folder: Path, tmp_path: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        search = f"hydra.searchpath=[file://{folder}]"
        config = compose("config", [search, "metric=mine", "limit=1", "device=cpu", f"results={tmp_path / 'results'}"])
    made = plan(config)
    metrics = made.metrics()
    assert [m.name for m in metrics] == [*PAPER, "mine"]
    assert vars(metrics[-1]) == {"tolerance": 8}


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (IOU | {"resiz": "crop"}, r"metrics\.x: got an unexpected keyword argument 'resiz'; accepted arguments: none"),
        (SCORE | {"resiz": 1}, r"'resiz'; accepted arguments: checkpoint, resize"),
        ({k: v for k, v in SCORE.items() if k != "resize"}, r"metrics\.x: missing a required.*'resize'"),
        ({"target": "a.B"}, r"metrics\.x: accepted is a mapping with _target_="),
        ("somebody_elses.Mine", r"metrics\.x: accepted is a mapping with _target_="),
    ],
)
def test_a_wrong_entry_is_named_before_anything_is_edited(entry: Any, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        metric_entries({"x": entry})


def test_a_target_that_does_not_exist_is_named() -> None:
    with pytest.raises(Exception, match=r"(?s)'eval\.metrics\.nothing\.Mine'.*metrics\.x"):
        metric_entries(OmegaConf.create({"metrics": {"x": {"_target_": "eval.metrics.nothing.Mine"}}}).metrics)


def test_two_metrics_of_one_name_are_refused(context: Context, folder: Path) -> None:
    with pytest.raises(ConfigError, match="two entries are called mask_iou"):
        load_metrics(metric_entries({"a": IOU, "b": IOU}), context)
    with pytest.raises(ConfigError, match="returned NoneType"):
        load_metrics(metric_entries({"a": {"_target_": "somebody_elses.nothing"}}), context)
