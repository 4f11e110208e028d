"""Checking a folder lists all of its problems at once; a sound folder is summarised."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from eval.benchmarks.check import check, summarized
from scripts import benchmark as script

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my pictures"
    folder.mkdir()
    Image.new("RGB", (16, 12)).save(folder / "cat.png")
    Image.new("L", (16, 12)).save(folder / "mask.png")
    Image.new("L", (12, 16)).save(folder / "turned.png")
    (folder / "torn.png").write_bytes((folder / "cat.png").read_bytes()[:50])
    os.mkfifo(folder / "pipe.png")
    (folder / "link.png").symlink_to("nowhere.png")
    return folder


def test_every_problem_of_json_lines_is_listed(folder: Path) -> None:
    lines = [
        {"image": "cat.png", "instruction": "x", "truth": {"mask": "turned.png", "msk": "mask.png"}, "Edit": "add"},
        {"image": "cat.png", "instruction": " "},
        {"id": "torn", "image": "torn.png", "instruction": "x", "captions": {"input": "a cat"}},
        {"image": "pipe.png", "instruction": "x", "truth": {"mask": "none.png", "edited": "mask.png"}},
        {"image": "link.png", "instruction": "x"},
        {"id": "../x", "image": "../x.png"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"image": "cat.png"\n'
    (folder / "manifest.jsonl").write_text(text)
    problems = check(folder).problems
    expected = [
        "line 1: Edit: unknown key; accepted are id, image",
        "line 1: truth.msk: unknown key; accepted are mask, edited",
        "line 2: instruction: empty",
        "line 2: id: 'cat' is taken by line 1",
        "line 3: captions.edited: missing",
        "line 6: id: '../x' is not accepted",
        "line 6: image: '../x.png' leaves the benchmark's folder",
        "line 6: instruction: missing",
        "line 7: line: no JSON object in UTF-8",
        "line 1: truth.mask: turned.png: 12x16 pixels; 16x12 pixels are expected",
        "line 3: image: torn.png: ",
        "line 4: image: pipe.png: a named pipe; a picture is expected",
        "line 4: truth.mask: none.png: no such file; a picture is expected",
        "line 5: image: link.png: a dead link; a picture is expected",
    ]
    found = [line.removeprefix(f"{folder / 'manifest.jsonl'}: ") for line in problems]
    assert not [line for line in expected if not any(other.startswith(line) for other in found)]
    assert len(found) == len(expected)


def test_every_problem_of_a_csv_is_listed(folder: Path) -> None:
    rows = b"Image;INSTRUCTION;mask;notes\ncat.png;x;turned.png;\ncat.png;caf\xe9;none.png\ncat.png;;;\n"
    (folder / "manifest.csv").write_bytes(rows)
    found = [line.removeprefix(f"{folder / 'manifest.csv'}: ") for line in check(folder).problems]
    expected = [
        "line 3: no text in UTF-8",
        "line 1: columns are separated by ';'; ',' is accepted",
        "column 'Image': 'image' is accepted",
        "column 'INSTRUCTION': 'instruction' is accepted",
        "column 'notes': unknown; accepted are id, image",
        "line 3: row: 3 cells; 4 are expected",
        "line 4: instruction: empty",
        "line 4: id: 'cat' is taken by line 2",
        "line 2: mask: turned.png: 12x16 pixels",
    ]
    assert [line[: len(other)] for line, other in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.jsonl"])
def test_utf_16_is_one_problem_beside_the_others(folder: Path, name: str) -> None:
    row = '{"image": "none.png", "instruction": "x"}\n' if name.endswith("jsonl") else "image,instruction\nnone.png,x\n"
    (folder / name).write_text(row, encoding="utf-16")
    encoding, picture = check(folder).problems
    assert f"{name}: text in UTF-16; UTF-8 is accepted" in encoding
    assert "image: none.png: no such file" in picture


def test_a_published_format_names_the_first_problem_of_its_file_and_the_missing_pictures(tmp_path: Path) -> None:
    pairs = [{"img_name": name, "target_text": "A cat."} for name in ("a.jpg", "b.jpg")]
    (tmp_path / "input_list.json").write_text(json.dumps(pairs))
    problems = check(tmp_path).problems
    assert [line.split(": ", 1)[1] for line in problems] == [
        f"item {k}: image: originals/{name}.jpg: no such file; a picture is expected "
        "(PNG, JPEG, WEBP, BMP, TIFF, GIF, PPM)"
        for k, name in ((1, "a"), (2, "b"))
    ]


def test_a_sound_folder_is_summarised(folder: Path) -> None:
    lines = [
        {"image": "cat.png", "instruction": "x", "category": "single", "variations": ["y", "z"]},
        {"id": "other", "image": "cat.png", "instruction": "x", "truth": {"mask": "mask.png", "target": "lion"}},
    ]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    checked = check(folder)
    assert checked.problems == ()
    assert checked.benchmark is not None
    assert summarized(checked.benchmark) == [
        "my pictures: 2 samples of 1 pictures",
        "categories: single 1, none 1",
        "edits: none 2",
        "captions: 0 of 2",
        "ground truth: mask 1 of 2, reference edit 0 of 2, referring expression 0 of 2, target 1 of 2",
        "paraphrases: 0 to 2 of each instruction",
    ]


@pytest.mark.parametrize("form", ["{}", "folder={}"])
def test_the_command_takes_the_folder_as_it_is_typed(
    folder: Path, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*arguments: str) -> int:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["script", *arguments])
        return script.main()

    monkeypatch.chdir(ROOT)
    (folder / "manifest.csv").write_text("image,instruction\nnone.png,x\n")
    assert call("check", form.format(folder)) == 2
    assert "line 2: image: none.png: no such file" in capsys.readouterr().err
    shutil.copy(folder / "cat.png", folder / "none.png")
    assert call("check", form.format(folder)) == 0
    assert "1 samples of 1 pictures" in capsys.readouterr().out
    assert call("check") == 2
    assert "folder=... is needed" in capsys.readouterr().err
    assert call("chek", form.format(folder)) == 2
    assert "action=chek: accepted are check" in capsys.readouterr().err
