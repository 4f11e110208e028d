"""The training loop, and the cards of the shipped models."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from data.picturebook.training.denoising import object_map
from data.picturebook.training.loop import Component, Progress, TrainConfig, learning_rate, train
from data.picturebook.training.scenes import scene
from data.picturebook.training.tokenizers import clip_tokenizer, instruction_words

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "data" / "picturebook" / "models"


class Line(Component):
    """Fits y = 3 x."""

    name = "line"
    stop_at: int | None = None
    sign = signal.SIGTERM

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        super().__init__(config, work, models)
        torch.manual_seed(0)
        self.layer = nn.Linear(1, 1)
        self.saved: dict[str, Any] = {}

    def modules(self) -> dict[str, nn.Module]:
        return {"layer": self.layer}

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        if step == self.stop_at:
            os.kill(os.getpid(), self.sign)
        x = torch.randn(self.config.batch_size, 1, generator=generator)
        return (self.layer(x) - 3 * x).pow(2).mean(), {}

    def evaluate(self) -> dict[str, float]:
        return {"slope": self.layer.weight.item()}

    def sheet(self) -> Image.Image:
        return Image.new("RGB", (8, 8))

    def save(self, scores: dict[str, Any]) -> None:
        self.saved = scores


CONFIG = TrainConfig(steps=300, batch_size=8, learning_rate=0.1, warmup=5, ema_decay=0.9, threads=1)


def test_it_learns_and_reports(tmp_path: Path) -> None:
    line = Line(CONFIG, tmp_path, tmp_path)
    scores = train(line)
    assert scores["slope"] == pytest.approx(3, abs=0.05)
    assert line.saved["steps"] == 300
    assert line.saved["held_out"] == scores
    assert (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_training_goes_on_as_if_undisturbed(tmp_path: Path, sign: signal.Signals) -> None:
    whole = train(Line(CONFIG, tmp_path / "whole", tmp_path))
    stopped = Line(CONFIG, tmp_path / "stopped", tmp_path)
    stopped.stop_at, stopped.sign = 120, sign
    with pytest.raises(KeyboardInterrupt):
        train(stopped)
    assert not stopped.saved
    assert train(Line(CONFIG, tmp_path / "stopped", tmp_path)) == whole


@pytest.mark.parametrize("step", [2, 119, 299])
def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path, step: int) -> None:
    whole = train(Line(CONFIG, tmp_path / "whole", tmp_path))
    config = replace(CONFIG, checkpoint_minutes=0, evaluate_steps=50)

    class Killed(Line):
        def loss(self, step_now: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
            if step_now == step:
                raise SystemError  # nothing is written on exit, as under SIGKILL
            return super().loss(step_now, generator)

    with pytest.raises(SystemError):
        train(Killed(config, tmp_path / "killed", tmp_path))
    assert Progress.read(tmp_path / "killed").step == step
    assert train(Line(config, tmp_path / "killed", tmp_path)) == whole
    progress = Progress.read(tmp_path / "killed")
    assert progress.finished
    assert progress.scores == whole


def test_a_training_stops_after_its_minutes_and_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(Line(replace(CONFIG, stop_after=0), tmp_path, tmp_path))
    assert not Progress.read(tmp_path).finished
    assert train(Line(CONFIG, tmp_path, tmp_path))["slope"] == pytest.approx(3, abs=0.05)


def test_the_learning_rate_warms_up_holds_and_decays() -> None:
    config = TrainConfig(steps=1000, batch_size=1, learning_rate=2.0, decay_start=0.6, warmup=10)
    assert learning_rate(config, 0) == pytest.approx(0.2)
    assert learning_rate(config, 10) == learning_rate(config, 599) == 2
    assert learning_rate(config, 800) == pytest.approx(2 * (1 - 0.97 / 2))
    assert learning_rate(config, 1000) == pytest.approx(0.06)


def test_things_weigh_more_and_the_mean_stays() -> None:
    drawn = next(s for s in (scene("train", i) for i in range(50)) if len(s.things) == 1 and s.things[0].size < 90)
    weights = object_map(drawn, 16, 4)
    assert weights.mean() == pytest.approx(1, abs=1e-6)
    thing = drawn.things[0]
    assert weights[int(thing.y // 8), int(thing.x // 8)] == pytest.approx(4 * weights.min())
    assert set(np.unique(object_map(replace(drawn, things=()), 16, 4))) == {1}


def test_training_scenes_show_the_outcome_of_edits() -> None:
    drawn = [scene("train", i) for i in range(600)]
    several = [s for s in drawn if len(s.things) > 1]
    assert sum(any(t.parts for t in s.things) for s in several) > 0.1 * len(several)
    assert sum(any(t.mixed_with for t in s.things) for s in drawn) > 10


def _chain(work: Path) -> list[str]:
    parts = "[autoencoder,text_to_image,instruct_pix2pix,inpainting]"
    sizes = ["scenes=24", "held_out=2", "judged=1", "threads=1", "device=cpu"]
    train = ["+train.steps=4", "+train.batch_size=2", "+train.checkpoint_minutes=0", "+train.evaluate_steps=0"]
    return [sys.executable, "-m", "scripts.train", "chain", f"chain={parts}", *sizes, *train, f"work={work}"]


@pytest.mark.slow
def test_a_chain_killed_at_every_stage_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    quiet = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(_chain(tmp_path / "whole"), check=True, **quiet)  # type: ignore[call-overload]
    killed = []
    for stage in ("autoencoder", "text_to_image", "instruct_pix2pix", "inpainting"):
        with subprocess.Popen(_chain(tmp_path / "killed"), **quiet) as process:  # type: ignore[call-overload]
            while process.poll() is None:
                progress = Progress.read(tmp_path / "killed" / stage)
                if 0 < progress.step < 4:
                    process.kill()
                    killed.append(stage)
                    break
                time.sleep(0.005)
    assert killed == ["autoencoder", "text_to_image", "instruct_pix2pix", "inpainting"]
    subprocess.run(_chain(tmp_path / "killed"), check=True, **quiet)  # type: ignore[call-overload]
    for path in sorted((tmp_path / "whole" / "models").rglob("*.safetensors")):
        other = tmp_path / "killed" / "models" / path.relative_to(tmp_path / "whole" / "models")
        assert path.read_bytes() == other.read_bytes(), path
    status = subprocess.run(
        [sys.executable, "-m", "scripts.train", "status", f"work={tmp_path / 'killed'}"],
        cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "200"},
    ).stdout  # fmt: skip
    rows = {line.split()[0]: line for line in status.splitlines()[1:] if line.strip()}
    assert "4 / 4" in rows["inpainting"]
    assert "finished" in rows["inpainting"]
    assert "not begun" in rows["grounding_dino"]


def test_no_resume_starts_afresh(tmp_path: Path) -> None:
    first = train(Line(CONFIG, tmp_path, tmp_path))
    assert train(Line(replace(CONFIG, resume=False), tmp_path, tmp_path)) == first


CARDS = sorted(MODELS.rglob("card.json"))


@pytest.mark.parametrize("card", CARDS, ids=lambda p: p.parent.name)
def test_every_shipped_model_has_a_card_and_a_modest_size(card: Path) -> None:
    facts = json.loads(card.read_text())
    assert facts.get("held_out") or facts.get("source") or facts.get("licence")
    files = [p for p in card.parent.rglob("*") if p.is_file()]
    assert all(p.stat().st_size <= 16_000_000 for p in files)
    assert any(p.suffix == ".safetensors" for p in files)


def test_the_whole_pack_fits_in_100_megabytes() -> None:
    assert sum(p.stat().st_size for p in MODELS.rglob("*") if p.is_file()) <= 100_000_000
    names = ("diffusion", "grounding_dino", "sam", "language_model", "clip", "lpips", "brisque")
    assert {n for n in names if (MODELS / n).is_dir()} == set(names)


def test_tokenizers_number_their_words_alike_each_time() -> None:
    assert clip_tokenizer().get_vocab() == clip_tokenizer().get_vocab()
    words = instruction_words()
    tokenizer = clip_tokenizer(words)
    assert [w for w in words if len(tokenizer.tokenize(w)) > 1] == []
