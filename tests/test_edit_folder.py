"""scripts.edit on a folder of photos, which are edited independently."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from scripts import edit as script

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "data/picturebook/benchmark/images/same_01_bigger_cat_to_lion.png"
INSTRUCTION = "instruction='Change the bigger cat to a lion'"
ORIENTATION = 0x0112


def edit(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.chdir(ROOT)
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["edit", *arguments])
    return script.main()


def test_a_folder_is_edited_whatever_one_picture_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    (photos / "folder.png").mkdir(parents=True)
    with Image.open(PICTURE) as image:
        upright = image.convert("RGB").resize((600, 600), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # shown turned by 90 degrees clockwise
    upright.rotate(90).save(photos / "turned.jpg", exif=exif, quality=95)
    upright.convert("RGBA").save(photos / "with alpha.png")
    (photos / "broken.jpg").write_bytes(b"no picture")
    (photos / "notes.txt").write_text("no picture by its ending")
    out = tmp_path / "out"
    code = edit(monkeypatch, f"image={photos}", INSTRUCTION, "paste_back=true", f"out={out}", f"results={tmp_path}")
    said = capsys.readouterr()
    assert code == 1
    assert "broken.jpg: not a picture" in said.err
    assert "left out, no pictures by their endings: notes.txt" in said.out
    assert "2 of 3 pictures edited" in said.out
    assert {p.name for p in out.iterdir()} == {"turned.jpg", "with alpha.png", "broken.jpg"}
    assert [p.name for p in (out / "broken.jpg").iterdir()] == ["trace.json"]
    edited, mask = (Image.open(out / "with alpha.png" / name) for name in ("edited.png", "mask.png"))
    assert edited.size == mask.size == (600, 600)
    changed = (np.asarray(edited) != np.asarray(upright)).any(axis=2)
    covered = (np.asarray(mask) != np.asarray(upright)).any(axis=2)
    assert changed.any()
    assert not (changed & ~covered).any()  # the rest is the photo's, pixel for pixel
    traces = [json.loads((out / name / "trace.json").read_text()) for name in ("turned.jpg", "with alpha.png")]
    assert all(t["decisions"]["segmentation_prompt"] == "bigger cat" for t in traces)
    # Both photos are equal when upright, so their results are equal up to JPEG compression.
    boxes = [t["decisions"]["boxes"][0] for t in traces]
    assert boxes[0]["x1"] == pytest.approx(boxes[1]["x1"], abs=12)
    assert boxes[0]["y2"] == pytest.approx(boxes[1]["y2"], abs=12)


def test_edits_are_kept_apart_and_none_is_made_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    results = f"results={tmp_path / 'results'}"
    for name, turn in (("a", 0), ("b", 180)):
        (tmp_path / name).mkdir()
        with Image.open(PICTURE) as image:
            image.convert("RGB").rotate(turn).save(tmp_path / name / "cat.png")
    words = "Change the bigger cat to a lion"
    cases = [
        (str(tmp_path / "a" / "cat.png"), words),
        (str(tmp_path / "b" / "cat.png"), words),
        (f"image={tmp_path / 'a' / 'cat.png'}", f"instruction={words}", "seed=1"),
        (f"image={tmp_path / 'a' / 'cat.png'}", f"instruction={words}", "ratio=0.5"),
    ]
    for case in cases:
        assert edit(monkeypatch, *case, results) == 0
    folders = sorted((tmp_path / "results" / "edits").iterdir())
    assert len(folders) == len(cases)
    assert all(f.name.startswith("instructedit_cat_change_the_bigger_cat_to_a_lion-") for f in folders)
    before = {p: p.stat().st_mtime_ns for f in folders for p in f.iterdir()}
    first = capsys.readouterr().out
    # The method is not loaded for what is there.
    monkeypatch.setattr("scripts.edit.load_method", None)
    assert edit(monkeypatch, *cases[0], results) == 0
    again = capsys.readouterr().out
    assert again.strip().endswith("(edited before)")
    assert again.splitlines()[:-1] == first.splitlines()[: len(again.splitlines()) - 1]
    assert {p: p.stat().st_mtime_ns for f in folders for p in f.iterdir()} == before


def test_a_folder_given_again_edits_what_is_missing_or_damaged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("one.png", "two.png"):
        (photos / name).write_bytes(PICTURE.read_bytes())
    (photos / "dead.png").symlink_to("nowhere.png")
    os.mkfifo(photos / "pipe.png")
    case = (str(photos), "Change the bigger cat to a lion", f"results={tmp_path / 'results'}")
    assert edit(monkeypatch, *case) == 0
    said = capsys.readouterr()
    assert "left out, dead links, pipes or devices: dead.png, pipe.png" in said.out
    (edited,) = (tmp_path / "results").glob("edits/*/one.png-*/edited.png")
    whole = edited.read_bytes()
    edited.write_bytes(whole[:100])
    assert edit(monkeypatch, *case) == 0
    assert "2 of 2 pictures edited, 1 of them before, in" in capsys.readouterr().out
    assert edited.read_bytes() == whole


def test_no_folder_of_another_edit_is_overwritten_and_no_old_picture_stays_beside_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    case = (str(PICTURE), "Change the bigger cat to a lion", f"results={tmp_path / 'results'}", f"out={out}")
    assert edit(monkeypatch, *case) == 0
    capsys.readouterr()
    assert edit(monkeypatch, *case, "seed=3") == 2
    assert f"{out} contains another edit; out=<another folder> is accepted" in capsys.readouterr().err
    other = (
        str(PICTURE),
        "Change the zebra to a pizza",
        f"results={tmp_path / 'results'}",
        "segmenter.box_threshold=0.99",
    )
    assert edit(monkeypatch, *other) == 1
    (folder,) = (tmp_path / "results").glob("edits/*zebra*")
    (folder / "edited.png").write_bytes(PICTURE.read_bytes())
    assert edit(monkeypatch, *other) == 1
    assert [p.name for p in folder.iterdir()] == ["trace.json"]
    assert json.loads((folder / "trace.json").read_text())["stage"] == "segmenter"


def test_a_folder_without_pictures_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".hidden.png").touch()
    assert edit(monkeypatch, f"image={tmp_path}", INSTRUCTION, f"results={tmp_path}") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"image={tmp_path}: no pictures in it; accepted are PNG, JPEG" in line


def test_a_method_without_masks_cannot_paste_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ("method=instruct_pix2pix", f"image={PICTURE}", INSTRUCTION, "paste_back=true", f"results={tmp_path}")
    assert edit(monkeypatch, *arguments) == 2
    assert "paste_back=true: this method has no mask" in capsys.readouterr().err
