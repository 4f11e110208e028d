"""``models=sd15`` as it stands, every id and commit, on a hub cache that holds tiny models of the same families."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants
from hydra.core.global_hydra import GlobalHydra

from eval.store import RunStore
from instructedit.models import POOL
from scripts import run as run_script
from tests import hub_cache, tiny

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
        # A random detector is sure of nothing.
        knobs = ["segmenter.box_threshold=0", "segmenter.text_threshold=0", "device=cpu"]
        where = ["benchmark=folder", f"benchmark.folder={machine / 'benchmark'}", f"results={tmp_path}"]
        monkeypatch.setattr(sys, "argv", ["run", "models=sd15", "metric=full", *knobs, *where, *overrides])
        try:
            assert run_script.main() == 0
        finally:
            POOL.clear()
        (run,) = (tmp_path / "runs").iterdir()
        return RunStore(tmp_path, run.name)

    return call


@pytest.mark.parametrize(
    "overrides",
    [
        ["method=instructedit"],
        # A random BLIP-2 says anything, and picturebook's language model, which stands for Qwen here, knows few words.
        ["captioner=blip2", "language=rules"],
        ["captioner=blip2", "models.blip2=${models.optional.blip2_opt}"],
        ["method=diffedit"],
        ["method=mdp"],
        ["method=instruct_pix2pix"],
        ["method=sd_inpainting"],
    ],
    ids=lambda overrides: "-".join(overrides),
)
def test_every_method_runs_and_is_scored(sd15: Run, overrides: list[str]) -> None:
    store = sd15(*overrides)
    assert len(store.finished()) == 2
    assert all(record["status"] == "edited" for record in store.finished().values())
    frame = store.read_metrics()
    assert frame is not None
    for metric in ("brisque", "lpips", "clip_score", "clip_directional"):
        assert frame.loc[frame["metric"] == metric, "value"].notna().all(), metric
    (session,) = json.loads((store.folder / "manifest.json").read_text())["sessions"]
    named = session["checkpoints"]
    known = hub_cache.preset() | hub_cache.preset(group="models.optional")
    wanted = {c.id: c.revision for c in known.values() if c.revision}
    assert named
    assert named.items() <= wanted.items()
