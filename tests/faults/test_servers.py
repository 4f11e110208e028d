"""A language server that refuses, fails, lies, stalls or falls silent costs the samples in question only."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from eval.runs.store import RunStore
from instructedit.types import Captions
from tests.faults.conftest import Tally
from tests.faults.forks import ROOT, SETTINGS
from tests.language_server import GOOD, Answer, openai_language, serve

WRONG = {
    "429": Answer(status=429, body='{"error": {"message": "slow down"}}', headers={"Retry-After": "0"}),
    "500": Answer(status=500, body="internal error"),
    "503 as a page": Answer(status=503, body="<html>" * 1000, content_type="text/html"),
    "garbage": Answer(body="\x00\x1b[2J}{" * 50),
    "half a JSON": Answer(body=Answer().bytes().decode()[:60]),
    "an empty body": Answer(body=""),
    "no choices": Answer(body='{"choices": []}'),
    "null": Answer(body="null"),
    "an empty reply": Answer(content=""),
    "a reply of 1 MB": Answer(content="x" * 1_000_000),
    "a very slow answer": Answer(delay=1.5),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_costs_its_sample_only(monkeypatch: pytest.MonkeyPatch, tally: Tally, wrong: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "some-key-12345678")

    def answer(body: dict[str, object], number: int) -> Answer:
        return WRONG[wrong] if "hostile" in json.dumps(body) else Answer(GOOD)

    with serve(answer) as server:
        language = openai_language(server.url, timeout=0.7, max_retries=1)
        answers = language.parse(["a", "hostile", "b"], [None] * 3)
    failed = str(answers[1])
    assert failed.isprintable()
    assert len(failed) < 1_000
    assert "some-key" not in failed
    parsed = [getattr(a, "captions", None) for a in (answers[0], answers[2])]
    tally(f"server answers {wrong}", 3, sum(p != Captions("Photo of a dog", "Photo of a cat") for p in parsed))


@pytest.mark.slow
def test_a_run_goes_on_where_the_server_came_back(tmp_path: Path, tally: Tally) -> None:
    """Half of the samples fail while the server is down; ``retry_failed`` edits them, and no others."""
    reply = 'Segmentation prompt: {0}. Editing prompt 1: "Photo of a {0}". Editing prompt 2: "Photo of a lion".'
    is_up, asked = threading.Event(), []

    def answer(body: dict[str, object], number: int) -> Answer:
        asked.append(number)
        return Answer(reply.format("cat")) if is_up.is_set() or len(asked) <= 2 else Answer(status=500, body="down")

    with serve(answer) as server:
        command = [
            sys.executable, "-m", "scripts.run", "language=openai", f"language.base_url={server.url}", "limit=4",
            "language.max_retries=0", "language.structured=never", "language.concurrency=1", "batch_size=1",
            "method.editor.steps=2", "metric=none", f"results={tmp_path}", "retry_failed=true",
        ]  # fmt: skip
        environment = os.environ | SETTINGS | {"OPENAI_API_KEY": "some-key-12345678"}
        codes = []
        for _ in range(2):
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
            codes.append(done.returncode)
            assert "Traceback" not in done.stderr
            (folder,) = (tmp_path / "runs").iterdir()
            records = RunStore(tmp_path, folder.name).finished()
            if not is_up.is_set():
                stages = [record.decisions.reply is not None for record in records.values()]
                assert stages == [True, True, False, False]
            is_up.set()
    assert codes[0] == 1
    replies = [record.decisions.reply for record in records.values()]
    tally("server down for half of a run", 4, replies.count(None))
