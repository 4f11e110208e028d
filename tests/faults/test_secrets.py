"""Keys appear in nothing that is written or printed, checkpoints are safetensors only, and servers are on loopback."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from eval.loggers.wandb import WandbLogger
from instructedit.models import Checkpoint, ModelPool
from instructedit.types import ConfigError
from tests.faults.conftest import Tally
from tests.faults.forks import ROOT, SETTINGS
from tests.language_server import Answer, serve

KEY = "sk-planted-0123456789abcdef"
OURS = ("instructedit", "baselines", "eval", "scripts", "data")


def run(results: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    keys = {
        "OPENAI_API_KEY": KEY,
        "WANDB_API_KEY": KEY.replace("-", "")[:23] + "a" * 20,
        "HF_TOKEN": KEY,
        "MY_KEY": KEY,
    }
    command = [sys.executable, "-m", *words, f"results={results}"]
    environment = os.environ | SETTINGS | keys | {"WANDB_MODE": "offline"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def found_in(folder: Path, *texts: str) -> list[str]:
    """Files that hold the key, and the texts that do."""
    secrets = (KEY.encode(), KEY.replace("-", "")[:23].encode())
    files = [str(p) for p in folder.rglob("*") if p.is_file() and any(s in p.read_bytes() for s in secrets)]
    return files + [text for text in texts if any(s.decode() in text for s in secrets)]


@pytest.mark.slow
def test_a_planted_key_is_nowhere(tmp_path: Path, tally: Tally) -> None:
    """The server repeats the key in its errors, as some do; runs, W&B files, logs and the report are searched."""
    with serve(
        lambda body, number: Answer(status=401, body=f'{{"error": {{"message": "wrong key {KEY}"}}}}')
    ) as server:
        words = [
            "language=openai",
            f"language.base_url={server.url}",
            "language.max_retries=0",
            "language.api_key_env=MY_KEY",
        ]
        done = run(tmp_path, "scripts.run", *words, "limit=2", "metric=none", "logger=wandb", "hydra.verbose=true")
        assert server.keys[0] == f"Bearer {KEY}"
    assert done.returncode == 1, done.stderr
    report = run(tmp_path, "scripts.report")
    assert list(tmp_path.glob("wandb/*/*.wandb"))
    assert (tmp_path / "report" / "index.html").is_file(), report.stderr
    leaks = found_in(tmp_path, done.stdout, done.stderr, report.stdout, report.stderr)
    count = sum(path.is_file() for path in tmp_path.rglob("*"))
    tally("files and outputs searched for a planted key", count + 4, len(leaks))


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (f"language.base_url='http://me:{KEY}@host/v1'", "put the key into the environment"),
        (f"language.base_url='http://host/v1?key={KEY}'", "put the key into the environment"),
        (f"language.api_key_env={KEY}", "language.api_key_env: accepted is the name of an environment variable"),
    ],
)
def test_a_key_in_a_value_is_refused_and_not_repeated(tmp_path: Path, tally: Tally, word: str, line: str) -> None:
    done = run(tmp_path / "results", "scripts.run", "language=openai", word, "limit=1", "metric=none")
    assert done.returncode == 2, done.stderr
    assert line in done.stderr
    tally("a key in a configuration value", 1, len(found_in(tmp_path, done.stdout, done.stderr)))


def test_a_pickled_checkpoint_is_refused_with_a_message(tmp_path: Path) -> None:
    folder = pickled(tmp_path / "pickled")
    with pytest.raises(ConfigError, match="CLIPTextModel cannot be loaded from .*safetensors"):
        ModelPool().model(CLIPTextModel, Checkpoint(str(folder)), torch.device("cpu"))
    assert not (folder / "owned").exists()


def pickled(folder: Path) -> Path:
    """A checkpoint whose weights are a pickle that would run code."""

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (folder / "owned",))

    CLIPTextConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2).save_pretrained(
        folder
    )
    torch.save({"a": Evil()}, folder / "pytorch_model.bin")
    return folder


def test_no_module_reads_a_pickle_without_its_safe_loader() -> None:
    # The one exception converts the published BRISQUE weights of an installed package, when these are made.
    allowed = {"eval/metrics/brisque_weights.py"}
    for path in (p for top in OURS for p in (ROOT / top).rglob("*.py")):
        text = path.read_text()
        calls = re.findall(r"torch\.load\((?:[^()]|\([^()]*\))*\)", text)
        assert all("weights_only=True" in call for call in calls), path
        if str(path.relative_to(ROOT)) not in allowed:
            assert not re.search(r"pickle\.loads?\(|joblib\.load|allow_pickle=True|yaml\.(unsafe_)?load\(", text), path


def test_nothing_listens_beyond_this_machine() -> None:
    for path in (p for top in OURS for p in (ROOT / top).rglob("*.py")):
        assert "0.0.0.0" not in path.read_text(), path


def test_the_loggers_settings_hold_no_key() -> None:
    assert not [name for name in WandbLogger.__dataclass_fields__ if "key" in name or "token" in name]
