"""Benchmarks are validated completely and addressed by content; errors are one line that names the place."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from eval.benchmarks.base import load_benchmark
from instructedit.types import Captions, ConfigError, Truth

FULL: dict[str, Any] = {
    "id": "lion-1",
    "image": "images/cat.png",
    "instruction": "Change the bigger cat to a lion",
    "variations": ["Turn the bigger cat into a lion", "让大猫变成狮子"],
    "captions": {"input": "Photo of a cat", "edited": "Photo of a lion"},
    "category": "same",
    "edit": "change",
    "truth": {"mask": "masks/cat.png", "edited": "edited/cat.png", "referred": "bigger cat", "target": "lion"},
}
SHORT: dict[str, Any] = {"id": "short", "image": "images/dog.png", "instruction": "Remove the dog"}


def write(folder: Path, *lines: Any) -> Path:
    for name in ("images", "masks", "edited"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "cat.png").write_bytes(name.encode())
    (folder / "images" / "dog.png").write_bytes(b"dog")
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "manifest.jsonl").write_text("\n".join(texts) + "\n")
    return folder


def complaint(folder: Path, *lines: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_benchmark(write(folder, *lines))
    message = str(caught.value)
    assert str(folder / "manifest.jsonl") in message
    assert "\n" not in message
    return message


def test_every_field_is_read(tmp_path):
    folder = write(tmp_path / "picturebook", FULL, "", SHORT)
    benchmark = load_benchmark(folder)
    assert benchmark.name == "picturebook"
    assert len(benchmark.revision) == 64
    full, short = benchmark.samples
    assert (full.id, full.image, full.category, full.edit) == ("lion-1", folder / "images/cat.png", "same", "change")
    assert full.variations == ("Turn the bigger cat into a lion", "让大猫变成狮子")
    assert full.captions == Captions("Photo of a cat", "Photo of a lion")
    assert full.truth == Truth(folder / "masks/cat.png", folder / "edited/cat.png", "bigger cat", "lion")
    assert (short.variations, short.captions, short.category, short.edit, short.truth) == ((), None, "", "", Truth())


def test_null_and_empty_mean_absent(tmp_path):
    nothing = {"variations": None, "captions": None, "category": "", "truth": {"mask": None, "target": ""}}
    (sample,) = load_benchmark(write(tmp_path, SHORT | nothing)).samples
    assert sample == load_benchmark(write(tmp_path, SHORT)).samples[0]


def test_line_separators_inside_texts_and_a_byte_order_mark_are_no_trouble(tmp_path):
    line = json.dumps(SHORT | {"instruction": "Remove\u2028the dog"}, ensure_ascii=False)
    folder = write(tmp_path, "\ufeff" + line + "\r", FULL)
    assert [sample.id for sample in load_benchmark(folder).samples] == ["short", "lion-1"]
    assert load_benchmark(folder).samples[0].instruction == "Remove\u2028the dog"


def test_a_sample_without_an_id_is_named_after_its_picture(tmp_path):
    lines = [{"image": f"images/{name}", "instruction": "x"} for name in ("my dog.png", "cat.png", "../images/cat.jpg")]
    assert [s.id for s in load_benchmark(write(tmp_path, *lines[:2], SHORT | {"id": ""})).samples] == [
        "my_dog", "cat", "dog",
    ]  # fmt: skip
    message = complaint(tmp_path, *lines)
    assert "line 3: id: 'cat' is taken by line 2 (without an id, a sample is named after its picture)" in message


@pytest.mark.parametrize("name", ["manifest.jsonl", "manifest.csv"])
def test_a_manifest_that_is_no_file_is_named_as_what_it_is(tmp_path, name):
    (tmp_path / name).symlink_to("nowhere")
    with pytest.raises(ConfigError, match=rf"{name}: a dead link; a benchmark is a folder"):
        load_benchmark(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(ConfigError, match=rf"{name}: a named pipe; a benchmark is a folder"):
        load_benchmark(tmp_path)


def test_limit_takes_the_first_and_keeps_the_revision(tmp_path):
    folder = write(tmp_path, FULL, SHORT)
    limited = load_benchmark(folder, limit=1)
    assert [sample.id for sample in limited.samples] == ["lion-1"]
    assert limited.revision == load_benchmark(folder).revision
    assert len(load_benchmark(folder, limit=9).samples) == 2
    with pytest.raises(ConfigError, match="limit=0"):
        load_benchmark(folder, limit=0)


def test_revision_is_of_the_content_not_the_place(tmp_path):
    folder = write(tmp_path / "a", FULL, SHORT)
    revision = load_benchmark(folder).revision
    moved = Path(shutil.copytree(folder, tmp_path / "b"))
    (moved / "README.md").write_text("A card, and what the manifest does not name, change nothing.")
    assert load_benchmark(moved).revision == revision
    revisions = {revision}
    for name in ("images/cat.png", "images/dog.png", "masks/cat.png", "edited/cat.png"):
        (moved / name).write_bytes(b"other")
        revisions.add(load_benchmark(moved).revision)
    revisions.add(load_benchmark(write(moved, FULL, SHORT | {"edit": "remove"})).revision)
    assert len(revisions) == 6


def test_missing_and_broken_pictures_are_no_error_yet(tmp_path):
    folder = write(tmp_path, FULL, SHORT)
    whole = load_benchmark(folder).revision
    (folder / "images/cat.png").unlink()
    (folder / "masks/cat.png").unlink()
    (folder / "masks/cat.png").mkdir()
    (folder / "images/dog.png").unlink()
    os.mkfifo(folder / "images/dog.png")  # reading it would block
    benchmark = load_benchmark(folder)
    assert len(benchmark.samples) == 2
    assert benchmark.revision != whole


def test_folder_without_a_manifest(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match=r"no manifest\.jsonl .* a benchmark is a folder with"):
            load_benchmark(folder)
    assert "no samples" in complaint(tmp_path, "")


@pytest.mark.parametrize(
    ("change", "key", "accepted"),
    [
        ({"id": "../x"}, "id", "letters"),
        ({"id": ".hidden"}, "id", "no leading dot"),
        ({"id": "a/b"}, "id", "letters"),
        ({"id": "x" * 200}, "id", "128"),
        ({"id": "a\n"}, "id", "letters"),
        ({"id": 7}, "id", "text is expected, not a number"),
        ({"image": ""}, "image", "empty"),
        ({"image": "../secret.png"}, "image", "leaves"),
        ({"image": "/etc/passwd"}, "image", "leaves"),
        ({"image": "images/../../x.png"}, "image", "leaves"),
        ({"image": "link/x.png"}, "image", "leaves"),
        ({"image": "loop/x.png"}, "image", "expected|not a path"),
        ({"image": "."}, "image", "leaves"),
        ({"image": "a\0b"}, "image", "not a path"),
        ({"truth": {"mask": "link/x.png"}}, "truth.mask", "leaves"),
        ({"instruction": "  "}, "instruction", "empty"),
        ({"instruction": None}, "instruction", "not null"),
        ({"instruction": "\ud800"}, "instruction", "Unicode"),
        ({"variations": "one"}, "variations", "list"),
        ({"variations": ["one", 2]}, "variations[1]", "not a number"),
        ({"captions": "one"}, "captions", "object with input, edited"),
        ({"captions": {"input": "one"}}, "captions.edited", "missing"),
        ({"captions": {"input": "a", "edited": "b", "output": "c"}}, "captions.output", "accepted are input, edited"),
        ({"truth": {"masks": "x.png"}}, "truth.masks", "accepted are mask, edited, referred, target"),
        ({"truth": {"target": True}}, "truth.target", "not true or false"),
        ({"prompt": "x"}, "prompt", "accepted are id, image, instruction"),
        ({"category": ["same"]}, "category", "not a list"),
    ],
)
def test_wrong_lines_are_named(tmp_path, change, key, accepted):
    folder = tmp_path / "benchmark"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    (folder / "loop").symlink_to("loop")
    if "loop/x.png" in str(change) and not _refuses_loops(folder):
        pytest.skip("this Python resolves loops of links without a complaint")
    message = complaint(folder, FULL, SHORT | change)
    assert f"line 2: {key}: " in message
    assert any(word in message for word in accepted.split("|"))


def _refuses_loops(folder: Path) -> bool:
    try:
        (folder / "loop/x.png").resolve()
    except (OSError, RuntimeError):
        return True
    return False


def test_missing_keys_duplicates_and_torn_json_are_named(tmp_path):
    assert "line 1: instruction: missing" in complaint(tmp_path, {"id": "a", "image": "b.png"})
    assert "line 3: id: 'lion-1' is taken by line 1" in complaint(tmp_path, FULL, SHORT, FULL)
    assert "line 2: id: 'SHORT' is taken by line 1" in complaint(tmp_path, SHORT, SHORT | {"id": "SHORT"})
    assert "line 1: id: repeated" in complaint(tmp_path, '{"id": "a", "id": "b"}')
    assert "line 2: line: no JSON" in complaint(tmp_path, SHORT, json.dumps(FULL)[:50])
    assert "line 1: line: a JSON object is expected, not a list" in complaint(tmp_path, "[1]")
    assert "line 1: line: no JSON" in complaint(tmp_path, "[" * 200_000)
    (tmp_path / "manifest.jsonl").write_bytes(b'{"id": "\xff"}')
    with pytest.raises(ConfigError, match="line 1: line: no JSON object in UTF-8"):
        load_benchmark(tmp_path)
