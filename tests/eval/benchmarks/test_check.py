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


def problems_of(folder: Path, index: str, content: object) -> list[str]:
    (folder / index).write_text(json.dumps(content))
    return [line.split(f"{index}: ", 1)[1] for line in check(folder, masks=folder / "masks").problems]


def begin(found: list[str], expected: list[str]) -> None:
    assert [line[: len(other)] for line, other in zip(found, expected, strict=False)] == expected
    assert len(found) == len(expected), found


def test_every_problem_of_pie_bench_is_listed(tmp_path: Path) -> None:
    (tmp_path / "annotation_images").mkdir()
    Image.new("RGB", (512, 512)).save(tmp_path / "annotation_images" / "cat.jpg")
    sound = {
        "image_path": "cat.jpg", "editing_instruction": "x", "original_prompt": "[a] cat", "editing_prompt": "a [dog]",
        "editing_type_id": "1", "mask": [0, 4],
    }  # fmt: skip
    entries = {
        "000": sound,
        "001": sound | {"editing_type_id": "12", "mask": [1]},
        "002": [1],
        "003": sound | {"original_prompt": "[]", "image_path": "../mapping_file.json"},
        "../4": sound | {"mask": [True, 2]},
        "005": {},
        "006": sound | {"image_path": "none.jpg"},
    }
    begin(
        problems_of(tmp_path, "mapping_file.json", entries),
        [
            "entry 001: editing_type_id: '12'; accepted are 0, 1",
            "entry 001: mask: start and length of each run",
            "entry 002: an object is expected, not a list",
            "entry 003: image_path: '../mapping_file.json' leaves the benchmark's folder",
            "entry 003: original_prompt: empty",
            "entry ../4: id: '../4' is not accepted",
            "entry ../4: mask: start and length of each run",
            *(f"entry 005: {key}: missing" for key in ("editing_type_id", "image_path", "editing_instruction")),
            *(f"entry 005: {key}: missing" for key in ("original_prompt", "editing_prompt")),
            "entry 005: mask: start and length of each run",
            "entry 006: image: annotation_images/none.jpg: no such file",
        ],
    )


def test_every_problem_of_magicbrush_is_listed(tmp_path: Path) -> None:
    sound = {"input": "1-input.png", "mask": "1-mask1.png", "output": "1-output1.png", "instruction": "x"}
    for name in ("input", "mask1", "output1"):
        (tmp_path / "images" / "1").mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (16, 12)).save(tmp_path / "images" / "1" / f"1-{name}.png")
    (tmp_path / "global_descriptions.json").write_text("[]")
    turns = [sound, sound, 3, sound | {"output": "../x.png", "input": "x"}, {"instruction": ""}]
    begin(
        sorted(check_lines(tmp_path, turns)),
        [
            "global_descriptions.json: an object of captions by picture is expected, not a list",
            "item 2: id: '1-output1' is taken by item 1",
            "item 3: an object is expected, not a number",
            "item 4: input: 'x'; a name such as 242679-input1.png is expected",
            "item 4: output: '../x.png'; a name such as 242679-output1.png is expected",
            "item 5: input: missing",
            "item 5: instruction: empty",
            "item 5: mask: missing",
            "item 5: output: missing",
        ],
    )


def check_lines(folder: Path, turns: list[object]) -> list[str]:
    (folder / "edit_turns.json").write_text(json.dumps(turns))
    lines = check(folder, masks=folder / "masks").problems
    return [line.removeprefix(f"{folder}/").removeprefix("edit_turns.json: ") for line in lines]


def test_every_problem_of_tedbench_is_listed(tmp_path: Path) -> None:
    pair = {"img_name": "a.jpg", "target_text": "A cat."}
    (tmp_path / "originals").mkdir()
    Image.new("RGB", (16, 12)).save(tmp_path / "originals" / "a.jpg")
    begin(
        problems_of(tmp_path, "input_list.json", [pair, None, {"img_name": "\x1b[2Ja"}, pair, {"target_text": 1}]),
        [
            "item 2: an object is expected, not null",
            "item 3: target_text: missing",
            "item 4: id: 'a.jpg-A_cat' is taken by item 1",
            "item 5: img_name: missing",
            "item 5: target_text: a text is expected, not a number",
            "item 3: image: ",
        ],
    )


@pytest.mark.parametrize(
    ("index", "text", "line"),
    [
        ("mapping_file.json", '{"1": {}, "1": {}}', "'1': repeated; it is accepted once"),
        ("input_list.json", '[{"img_name": "a", "img_name": "b"}]', "'img_name': repeated; it is accepted once"),
    ],
)
def test_a_repeated_key_of_a_published_file_is_a_problem(tmp_path: Path, index: str, text: str, line: str) -> None:
    (tmp_path / index).write_text(text)
    assert f"{tmp_path / index}: {line}" in check(tmp_path).problems


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
