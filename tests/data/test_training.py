"""The training loop, and what the shipped models say of themselves."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from data.picturebook.training.loop import Component, TrainConfig, train
from data.picturebook.training.tokenizers import clip_tokenizer, instruction_words

MODELS = Path(__file__).resolve().parents[2] / "data" / "picturebook" / "models"


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
