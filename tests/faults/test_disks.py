"""A disk that is full or cannot be written: one line says so, nothing is torn, and the same command goes on later."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.eval.runs.test_runner import make_benchmark
from tests.faults.conftest import Tally
from tests.faults.forks import ROOT, SETTINGS
from tests.faults.work import contents, lines_of

MOUNTS = ["unshare", "--mount", "--map-root-user"]
CAN_MOUNT = not subprocess.run([*MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode
METHOD = ("method=blur", "metric=none", "benchmark=folder", "batch_size=1")
BLUR = """
from PIL import ImageFilter
from instructedit.types import EditResult
class Blur:
    needs_captions = False
    def __init__(self, context, radius):
        self.radius = radius
    def edit(self, requests):
        return [EditResult(r.id, r.image.filter(ImageFilter.GaussianBlur(self.radius))) for r in requests]
"""
YAML = """
# @package _global_
name: blur
label: blur
method: {_target_: blur_of_tests.Blur, _partial_: true, radius: 1.0}
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    (tmp_path / "code" / "conf" / "method").mkdir(parents=True)
    (tmp_path / "code" / "blur_of_tests.py").write_text(BLUR)
    (tmp_path / "code" / "conf" / "method" / "blur.yaml").write_text(YAML)
    make_benchmark(tmp_path / "benchmark", 12)
    conf = ["--config-dir", str(tmp_path / "code" / "conf")]
    return [sys.executable, "-m", "scripts.run", *conf, *METHOD, f"benchmark.folder={tmp_path / 'benchmark'}"]


def call(command: list[str], folder: Path, prefix: list[str] | None = None) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | SETTINGS | {"PYTHONPATH": str(folder / "code")}
    return subprocess.run([*(prefix or []), *command], cwd=ROOT, env=environment, capture_output=True, text=True)


def in_namespace(script: str) -> list[str]:
    """A prefix that mounts something only the command sees."""
    return [*MOUNTS, "sh", "-c", f'{script} && "$@"', "sh"]


@pytest.mark.slow
@pytest.mark.skipif(not CAN_MOUNT, reason="this user may not mount a small disk")
def test_a_full_disk_is_one_line_and_the_rest_is_done_when_there_is_room(
    command: list[str], tmp_path: Path, tally: Tally
) -> None:
    assert call([*command, f"results={tmp_path / 'undisturbed'}"], tmp_path).returncode == 0
    small, kept = tmp_path / "small", tmp_path / "kept"
    small.mkdir()
    # What was on the full disk is copied out before the namespace, and with it the disk, goes.
    mount = f'mount -t tmpfs -o size=40k tmpfs "{small}" && trap \'cp -a "{small}/." "{kept}"\' EXIT'
    full = call([*command, f"results={small}"], tmp_path, in_namespace(mount))
    assert full.returncode == 1, full.stderr
    (line,) = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert "No space left on device" in line
    assert "the same command resumes" in line
    assert "Traceback" not in full.stderr
    before = lines_of(kept)
    assert 0 < len(before) < 12
    assert call([*command, f"results={kept}"], tmp_path).returncode == 0
    after = lines_of(kept)
    lost = sum(after.get(key) != line for key, line in before.items())
    found, expected = contents(kept), contents(tmp_path / "undisturbed")
    assert {k: v for k, v in found.items() if "config.yaml" not in k} == {
        k: v for k, v in expected.items() if "config.yaml" not in k
    }
    tally("disk full", 1, lost)


@pytest.mark.skipif(not CAN_MOUNT, reason="this user may not mount a read-only disk")
def test_a_read_only_disk_is_refused_before_anything_is_edited(
    command: list[str], tmp_path: Path, tally: Tally
) -> None:
    (tmp_path / "results").mkdir()
    mount = f'mount -t tmpfs -o ro tmpfs "{tmp_path / "results"}"'
    done = call([*command, f"results={tmp_path / 'results'}"], tmp_path, in_namespace(mount))
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: results=")
    assert "can be written" in line
    tally("results on a read-only disk", 1, 0)


def test_a_file_in_place_of_a_folder_is_refused_in_one_line(command: list[str], tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "results").write_text("mine")
    done = call([*command, f"results={tmp_path / 'results'}"], tmp_path)
    assert (done.returncode, done.stderr.startswith("error: results=")) == (2, True)
    assert (tmp_path / "results").read_text() == "mine"
    tally("a file in place of the results folder", 1, 0)
