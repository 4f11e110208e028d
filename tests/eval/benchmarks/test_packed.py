"""Pictures in an archive: unpacked at the first use, the same on every machine, and nothing is lost or overwritten."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

from eval.benchmarks.base import configured, load_benchmark
from eval.benchmarks.check import check
from eval.benchmarks.packed import ARCHIVE, SUFFIXES, pack, unpack, unpack_around
from instructedit.applications.nerf.scenes import read_scene
from instructedit.types import ConfigError
from tests.faults.forks import ROOT
from tests.faults.test_disks import CAN_MOUNT, in_namespace

PICTUREBOOK = ROOT / "data" / "picturebook"
PACKED = ("benchmark_ablation", "benchmark_unclear", "benchmark_video", "benchmark_3d")


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.suffix in SUFFIXES}


def cloned(source: Path, folder: Path) -> Path:
    """A copy of a benchmark as a clone of the repository has it."""
    return shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*(f"*{suffix}" for suffix in SUFFIXES)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A benchmark of eight pictures that are there and packed."""
    folder = tmp_path / "benchmark"
    for number in range(8):
        path = folder / "images" / "deep" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (30 * number, 9, 9)).save(path)
    rows = [f"images/deep/{number}.png,Remove it" for number in range(8)]
    (folder / "manifest.csv").write_text("\n".join(["image,instruction", *rows]) + "\n")
    pack(folder)
    return folder


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder / "images")
    return folder


def complaint(call: Callable[[Path], object], folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        call(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def python(code: str, *arguments: object, prefix: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
    command = [*prefix, sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT)


UNPACK = "import sys; from pathlib import Path; from eval.benchmarks.packed import unpack; unpack(Path(sys.argv[1]))"


@pytest.mark.parametrize("name", PACKED)
def test_a_clone_of_the_repository_has_the_pictures_after_the_first_use(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unpack(PICTUREBOOK / name)  # this checkout may be a fresh clone, too
    capsys.readouterr()
    folder = cloned(PICTUREBOOK / name, tmp_path / name)
    assert pictures(folder) == {}
    named = {"folder": str(folder)} | ({"reader": "eval.benchmarks.scenes.read"} if name == "benchmark_3d" else {})
    found = configured(named, tmp_path / "results", limit=1)
    assert f"unpacking {folder}" in capsys.readouterr().err
    # test_readers.py pins it
    assert found.revision == configured(named | {"folder": str(PICTUREBOOK / name)}, tmp_path / "results").revision
    with ZipFile(PICTUREBOOK / name / ARCHIVE) as archive:
        assert pictures(folder) == {i: archive.read(i) for i in sorted(archive.namelist())}
    assert check(folder).problems == ()
    assert not capsys.readouterr().err


def test_git_ignores_what_is_unpacked() -> None:
    listed = subprocess.run(
        ["git", "ls-files", *(f"data/picturebook/{name}" for name in PACKED)], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert {Path(line).suffix for line in listed.stdout.splitlines()} <= {".md", ".jsonl", ".json", ".zip"}
    pictures = [f"data/picturebook/{n}/{i}" for n in PACKED for i in ZipFile(PICTUREBOOK / n / ARCHIVE).namelist()]
    ignored = subprocess.run(
        ["git", "check-ignore", "--stdin"], input="\n".join(pictures), cwd=ROOT, capture_output=True, text=True
    )
    assert ignored.stdout.splitlines() == pictures


def test_a_scene_of_a_packed_benchmark_has_its_views(tmp_path: Path) -> None:
    folder = cloned(PICTUREBOOK / "benchmark_3d", tmp_path / "scenes")
    scene = folder / "scenes" / "scene_01_cat_to_lion"
    assert "000.png is absent" in complaint(read_scene, scene)
    unpack_around(scene)
    assert len(read_scene(scene).pictures) == 24


def test_nothing_is_written_twice_and_what_was_damaged_is_written_again(folder: Path) -> None:
    before = pictures(folder)
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    revision = load_benchmark(folder).revision
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == stamps
    deep = folder / "images" / "deep"
    (deep / "2.png").write_bytes((deep / "2.png").read_bytes()[:20])
    (deep / "3.png").write_bytes((deep / "3.png").read_bytes()[:-1] + b"x")  # of the same size
    (deep / "4.png").unlink()
    (deep / "mine.png").write_bytes(b"mine")
    assert load_benchmark(folder).revision == revision
    assert pictures(folder) == before | {"images/deep/mine.png": b"mine"}
    kept = [path for path in stamps if path.suffix == ".png" and path.stem not in "234"]
    assert len(kept) == 5
    assert all(path.stat().st_mtime_ns == stamps[path] for path in kept)


def test_equal_pictures_make_an_equal_archive(folder: Path, tmp_path: Path) -> None:
    written = (folder / ARCHIVE).read_bytes()
    for name, data in sorted(pictures(folder).items(), reverse=True):
        (tmp_path / "again" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "again" / name).write_bytes(data)
    pack(tmp_path / "again")
    assert (tmp_path / "again" / ARCHIVE).read_bytes() == written


def test_an_archive_of_somebody_else_is_left_alone(folder: Path) -> None:
    path = folder / "images" / "deep" / "0.png"
    with ZipFile(folder / ARCHIVE, "w") as archive:
        archive.writestr("images/deep/0.png", b"the original of a picture that was cropped since")
        archive.writestr("images/deep/new.png", b"new")
    before = pictures(folder)
    assert load_benchmark(folder).samples[0].image == path.resolve()
    assert pictures(folder) == before


def test_processes_may_unpack_one_folder_at_the_same_time(folder: Path) -> None:
    before = pictures(folder)
    emptied(folder)
    processes = [python(UNPACK, folder) for _ in range(3)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert pictures(folder) == before
    assert [p for p in folder.rglob(".*")] == []


def test_a_kill_leaves_no_incomplete_picture_and_the_next_call_goes_on(folder: Path) -> None:
    before = pictures(folder)
    emptied(folder)
    kill = """
import os, signal
replace, calls = os.replace, []
def replace_or_die(*paths):
    calls.append(paths)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*paths)
os.replace = replace_or_die
"""
    process = python(kill + UNPACK, folder)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert pictures(folder) == dict(list(before.items())[:3])
    unpack(folder)
    assert pictures(folder) == before


@pytest.mark.parametrize("damage", ["cut", "byte", "pointer"])
def test_a_damaged_archive_is_named(folder: Path, damage: str) -> None:
    data = (folder / ARCHIVE).read_bytes()
    middle = data.index(b"IDAT") + 8
    damaged = {
        "cut": data[: len(data) // 2],
        "byte": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "pointer": b"version https://git-lfs.github.com/spec/v1\n",
    }
    (folder / ARCHIVE).write_bytes(damaged[damage])
    line = complaint(load_benchmark, emptied(folder))
    assert line.startswith(f"{folder / ARCHIVE}: damaged (")
    assert "git checkout --" in line
    assert pictures(folder) == {}
    assert any("damaged" in problem for problem in check(folder).problems)


@pytest.mark.parametrize("name", ["../out.png", "/{tmp}/out.png", "link/out.png", "images/run.py"])
def test_an_archive_writes_nothing_outside_its_folder_and_only_pictures(
    name: str, folder: Path, tmp_path: Path
) -> None:
    name = name.format(tmp=tmp_path)
    (folder / "link").symlink_to(tmp_path)
    with ZipFile(folder / ARCHIVE, "a") as archive:
        archive.writestr(name, b"out")
    line = complaint(load_benchmark, emptied(folder))
    assert line.endswith(f"{name}: accepted are .png, .webp in the folder")
    assert not (tmp_path / "out.png").exists()
    assert pictures(folder) == {}


def test_a_file_in_the_way_is_one_line(folder: Path) -> None:
    (emptied(folder) / "images").write_text("a file")
    assert "cannot be unpacked beside it" in complaint(load_benchmark, folder)


@pytest.mark.skipif(not CAN_MOUNT, reason="this user may not mount a read-only disk")
def test_a_folder_that_cannot_be_written_is_read_if_its_pictures_are_there(folder: Path) -> None:
    prefix = tuple(in_namespace(f'mount --bind "{folder}" "{folder}" && mount -o remount,ro,bind "{folder}"'))
    process = python(UNPACK, folder, prefix=prefix)
    assert (process.communicate()[1], process.returncode) == ("", 0)
    emptied(folder)
    process = python(UNPACK, folder, prefix=prefix)
    line = process.communicate()[1].splitlines()[-1]
    assert f"{folder / ARCHIVE}: its pictures cannot be unpacked" in line
    assert "Read-only file system" in line
