"""A killed process loses what was in flight only; the same command then ends byte for byte as an undisturbed one."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Tally
from tests.faults.forks import ROOT, SETTINGS, Forks
from tests.faults.work import contents, lines_of

SWEEP = (
    "ratio=0.5,0.9", "limit=2", "batch_size=1", "method.editor.steps=2",
    "~metrics.brisque", "~metrics.clip_score", "~metrics.clip_directional",
)  # fmt: skip
KILLS = 30


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    folder = tmp_path_factory.mktemp("forks")
    with Forks(folder / "log", ["warm", "scripts.run", *SWEEP, f"results={folder / 'warm'}", "-m"]) as started:
        yield started


@pytest.mark.slow
def test_a_sweep_killed_at_random_moments_ends_as_an_undisturbed_one(
    forks: Forks, tmp_path: Path, tally: Tally
) -> None:
    def words(results: Path) -> list[str]:
        return ["scripts.run", *SWEEP, f"results={results}", "-m"]

    start = time.monotonic()
    assert forks.run("script", *words(tmp_path / "undisturbed")) == 0
    lasted = time.monotonic() - start
    expected = contents(tmp_path / "undisturbed")
    assert {Path(name).name for name in expected} >= {"samples.jsonl", "metrics.parquet", "cards.json", "scored.json"}
    generator, killed, lost, trial = random.Random(0), 0, 0, 0
    while killed < KILLS:
        trial += 1
        assert trial < 2 * KILLS
        results = tmp_path / f"killed{trial}"
        child = forks.start("script", *words(results))
        time.sleep(generator.uniform(0, lasted))
        with contextlib.suppress(ProcessLookupError):  # it ended before, so the next moments are earlier
            os.kill(child.pid, signal.SIGKILL)
        if child.wait() != -signal.SIGKILL:
            lasted *= 0.8
            continue
        killed += 1
        before = lines_of(results)
        assert forks.run("script", *words(results)) == 0
        after = lines_of(results)
        # A line has its times, so an equal one was not written again.
        lost += sum(after.get(key) != line for key, line in before.items())
        found = contents(results)
        assert found.keys() == expected.keys()
        assert [name for name in expected if found[name] != expected[name]] == []
    tally("SIGKILL at a random moment of a sweep", killed, lost)


def test_a_run_killed_before_any_change_on_disk_ends_as_an_undisturbed_one(tmp_path: Path, tally: Tally) -> None:
    with Forks(tmp_path / "log") as forks:
        assert forks.run("invert", str(tmp_path / "benchmark"), str(tmp_path / "undisturbed")) == 0
        expected, lost, number = contents(tmp_path / "undisturbed"), 0, 1
        while True:
            results = tmp_path / f"killed{number}"
            code = forks.run("invert", str(tmp_path / "benchmark"), str(results), number)
            if not code:
                break
            assert code == -signal.SIGKILL
            before = lines_of(results)
            assert forks.run("invert", str(tmp_path / "benchmark"), str(results)) == 0
            after = lines_of(results)
            lost += sum(after.get(key) != line for key, line in before.items())
            assert contents(results) == expected
            number += 1
    tally("SIGKILL before each change on disk, one by one", number - 1, lost)
    assert number > 30


def test_an_interrupt_in_a_finaliser_is_not_lost() -> None:
    """Python ignores exceptions there."""
    code = """
import signal, time
import scripts
class Finalised:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)
signal.signal(signal.SIGINT, signal.default_int_handler)
Finalised()
time.sleep(20)
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "went on" not in done.stdout
    assert "interrupted before anything began" in done.stderr
    assert done.returncode != 0


@pytest.mark.slow
def test_a_command_interrupted_says_how_to_go_on(tmp_path: Path, tally: Tally) -> None:
    sweep = ("ratio=0.5,0.9", "limit=6", "batch_size=1", "metric=none")
    command = [sys.executable, "-m", "scripts.run", *sweep, f"results={tmp_path}", "-m"]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | SETTINGS, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not lines_of(tmp_path) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    before = lines_of(tmp_path)
    assert 0 < len(before) < 12, said
    assert process.returncode == 130
    assert "interrupted; finished samples are kept, and the same command resumes" in said
    assert "Traceback" not in said
    done = subprocess.run(command, cwd=ROOT, env=os.environ | SETTINGS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = lines_of(tmp_path)
    assert len(after) == 12
    tally("SIGINT of python -m scripts.run", 1, sum(after.get(key) != line for key, line in before.items()))
