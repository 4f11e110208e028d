"""``models=sd15`` with its ids and commits, on a hub cache with tiny models of the same classes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants
from hydra.core.global_hydra import GlobalHydra

from eval.runs.records import EditRecord
from eval.runs.store import RunStore
from instructedit.models import POOL
from scripts import run as run_script
from tests import hub_cache, tiny
from tests.language_server import Answer, serve

Run = Callable[..., RunStore]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``hub``, ``weights`` and ``benchmark``."""
    root = tmp_path_factory.mktemp("machine")
    hub_cache.fill(root / "hub", root / "weights")
    (root / "benchmark").mkdir()
    lines = []
    for i in range(2):
        tiny.picture(i).save(root / "benchmark" / f"{i}.png")
        captions = {"input": "photo of a cat", "edited": "photo of a dog"}
        line = {"id": str(i), "image": f"{i}.png", "instruction": "Change the cat to a dog", "captions": captions}
        lines.append(json.dumps(line))
    (root / "benchmark" / "manifest.jsonl").write_text("\n".join(lines))
    return root


@pytest.fixture
def sd15(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``scripts.run`` with the models of the paper; returns what it stored."""
    monkeypatch.chdir(hub_cache.ROOT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(machine / "hub"))
    monkeypatch.setenv("INSTRUCTEDIT_MODELS", str(machine / "weights"))

    def call(*overrides: str) -> RunStore:
        GlobalHydra.instance().clear()
        # A random detector gives low scores.
        thresholds = ["segmenter.box_threshold=0", "segmenter.text_threshold=0", "device=cpu"]
        where = ["benchmark=folder", f"benchmark.folder={machine / 'benchmark'}", f"results={tmp_path}"]
        defaults = {"models": "models=sd15", "metric": "metric=full"}
        for override in overrides:
            defaults.pop(override.partition("=")[0], None)
        monkeypatch.setattr(sys, "argv", ["run", *defaults.values(), *thresholds, *where, *overrides])
        try:
            assert run_script.main() == 0
        finally:
            POOL.clear()
        (run,) = (tmp_path / "runs").iterdir()
        return RunStore(tmp_path, run.name)

    return call


def values(store: RunStore, metric: str) -> list[float]:
    """A metric's values; each of the two samples must have been edited."""
    assert [type(record) for record in store.finished().values()] == [EditRecord, EditRecord]
    frame = store.read_metrics()
    assert frame is not None
    return [float(v) for v in frame.loc[frame["metric"] == metric, "value"].dropna()]


@pytest.mark.parametrize(
    "overrides",
    [
        ["method=instructedit"],
        # A random BLIP-2 says anything, and picturebook's language model, which stands for Qwen here, knows few words.
        ["captioner=blip2", "language=rules"],
        ["captioner=blip2", "language=rules", "models.blip2=${models.optional.blip2_opt}"],
        ["method=diffedit"],
        ["method=mdp"],
        ["method=instruct_pix2pix"],
        ["method=sd_inpainting"],
        ["models=sd14_official", "method.editor.blend=official"],
        ["models=sd21"],
        ["models=sd21", "method=diffedit"],
        ["models=sdxl"],
        ["models=sdxl", "method=mdp"],
        ["segmenter=grounded_sam2"],
        ["segmenter=mm_grounded_sam"],
        ["models.grounding_dino=${models.optional.grounding_dino_base}", "models.sam=${models.optional.sam_base}"],
        ["models.sam=${models.optional.sam_large}", "models.clip=${models.optional.clip_b32}"],
    ],
    ids=lambda overrides: "-".join(overrides),
)
def test_every_method_runs_and_is_scored(sd15: Run, overrides: list[str]) -> None:
    store = sd15(*overrides)
    for metric in ("brisque", "lpips", "clip_score", "clip_directional"):
        assert len(values(store, metric)) == 2, metric
    (session,) = json.loads((store.folder / "manifest.json").read_text())["sessions"]
    named = session["checkpoints"]
    presets = [hub_cache.preset(f"models={name}") for name in ("sd15", "sd14_official", "sd21", "sdxl")]
    known = [c for one in (*presets, hub_cache.preset(group="models.optional")) for c in one.values()]
    assert named
    assert named.items() <= {c.id: c.revision for c in known if c.revision}.items()


def test_a_vision_language_model_judges(sd15: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "anything")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    verdict = {"why": "-", "language": True, "segmenter": False, "editor": True}
    with serve(lambda body, n: Answer(json.dumps(verdict))) as server:
        store = sd15("metric=components", "judge=vlm", f"judge.base_url={server.url}")
    assert values(store, "language_right") == [1.0, 1.0]
    assert values(store, "segmenter_right") == [0.0, 0.0]


@pytest.mark.parametrize(
    ("metric", "names"),
    [
        ("components", ["language_right", "segmenter_right", "editor_right"]),
        ("full", ["mask_iou", "psnr_outside", "ssim_outside", "mse_outside", "lpips_outside", "clip_inside"]),
    ],
)
def test_what_needs_the_truth_is_scored_where_it_is_known(sd15: Run, metric: str, names: list[str]) -> None:
    drawn = ["benchmark=picturebook_ablation", "benchmark.folder=data/picturebook/benchmark_ablation", "limit=2"]
    store = sd15(f"metric={metric}", "judge=truth", *drawn)
    for name in names:
        assert len(values(store, name)) == 2, name
