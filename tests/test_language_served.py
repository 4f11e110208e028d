"""The OpenAI backend with ``transformers serve`` and picturebook's language model."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from eval.runs.records import EditRecord, SampleRecord
from eval.runs.store import RunStore
from instructedit.cache import StageCache
from instructedit.language import Parsed, cached
from instructedit.language.build import CheckpointLanguage
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import StageError, Tokens
from scripts import run as run_script
from tests.language_server import openai_language

for package in ("fastapi", "uvicorn"):
    pytest.importorskip(package, reason=f"transformers serve needs {package}: install this project with [dev]")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
MODEL = "data/picturebook/models/language_model"
MOST_TOKENS = 96
QUESTIONS: list[tuple[str, str | None]] = [
    ("Change the bigger cat to a lion", None),
    ("Color the white scarf pink", None),
    ("Remove the dog on the left", None),
    ("Give the frog a crown", None),
    ("Turn the glasses into sunglasses", "photo of a cat with glasses"),
    ("Change it to a lion", "painting of a dog on grass"),
    ("Replace the oranges with apples", "drawing of oranges on sand"),
]
INSTRUCTIONS, DESCRIPTIONS = [i for i, _ in QUESTIONS], [d for _, d in QUESTIONS]


@dataclass
class Served:
    """A server under way."""

    url: str
    process: "subprocess.Popen[bytes]"
    here: list[Parsed | StageError]
    """Return the answers of the same model without a server."""

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", MODEL, "--host", "127.0.0.1"]
    command += ["--port", port, "--device", "cpu", "--dtype", "float32"]
    log = tmp_path_factory.mktemp("served") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
    try:
        here = _here()  # while it loads, which takes both some ten seconds
        _wait(int(port), process, log)
        yield Served(f"http://127.0.0.1:{port}/v1", process, here)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _here() -> list[Parsed | StageError]:
    context = Context(ModelPool(), StageCache(None), torch.device("cpu"))
    model = Checkpoint(str(ROOT / MODEL))
    return CheckpointLanguage(context, model, MOST_TOKENS).parse(INSTRUCTIONS, DESCRIPTIONS)


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return  # it listens once the model is loaded
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"transformers serve does not come up:\n{log.read_text()[-2000:]}")


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize("structured", ["never", "auto"])
def test_a_server_answers_as_the_model_does_here(served: Served, tmp_path: Path, structured: str) -> None:
    settings = {"model": MODEL, "max_tokens": MOST_TOKENS, "structured": structured}
    here = served.here
    language = cached(openai_language(served.url, **settings), StageCache(tmp_path))
    there = language.parse(INSTRUCTIONS, DESCRIPTIONS)
    assert all(isinstance(answer, Parsed) for answer in here)
    assert there == here
    # Both count every token of the chat, and the one that ends the reply.
    assert [answer.tokens for answer in there] == [answer.tokens for answer in here]
    kept = cached(openai_language("http://127.0.0.1:9/v1", **settings), StageCache(tmp_path))
    replayed = kept.parse(INSTRUCTIONS, DESCRIPTIONS)
    assert replayed == here
    assert [answer.tokens for answer in replayed] == [Tokens()] * len(QUESTIONS)


def test_a_server_that_passes_over_the_schema_does_not_do_where_json_is_demanded(served: Served) -> None:
    # The server logs a line and ignores the field. Asked for JSON a second time, the shipped model refuses.
    language = openai_language(served.url, model=MODEL, structured="always")
    [answer] = language.parse(INSTRUCTIONS[:1], [None])
    assert isinstance(answer, StageError)
    assert "the language model refused" in str(answer)
    once = served.here[0].tokens
    assert answer.tokens is not None
    assert once is not None
    assert answer.tokens.prompt > 2 * once.prompt


def test_a_model_that_it_does_not_serve_is_named(served: Served) -> None:
    [answer] = openai_language(served.url, model="gpt-4o-mini").parse(INSTRUCTIONS[:1], [None])
    assert isinstance(answer, StageError)
    assert "requested 'gpt-4o-mini'" in str(answer)


def test_a_run_on_a_server_and_again_without_it(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def records(results: Path, *language: str) -> dict[str, SampleRecord]:
        GlobalHydra.instance().clear()
        wanted = ["limit=2", "metric=none", "method.editor.steps=10", f"results={results}", *language]
        monkeypatch.setattr(sys, "argv", ["run", *wanted])
        assert run_script.main() == 0
        (folder,) = (results / "runs").iterdir()
        return RunStore(results, folder.name).finished()

    openai = ("language=openai", f"language.base_url={served.url}", f"language.model={MODEL}")
    first = records(tmp_path / "first", *openai)
    assert all((r.tokens or Tokens()).prompt > 0 and (r.tokens or Tokens()).completion > 0 for r in first.values())
    served.stop()
    monkeypatch.delenv("OPENAI_API_KEY")
    shutil.copytree(tmp_path / "first" / "cache", tmp_path / "second" / "cache")
    second = records(tmp_path / "second", *openai)
    assert [r.tokens for r in second.values()] == [Tokens()] * 2
    here = records(tmp_path / "third")
    for other in (second, here):
        assert {k: r.decisions for k, r in other.items()} == {k: r.decisions for k, r in first.items()}
        digests = [[r.image_sha256 for r in own.values() if isinstance(r, EditRecord)] for own in (other, first)]
        assert digests[0] == digests[1] != []
