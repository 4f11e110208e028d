"""Each published format is read in its published form, and errors are one line."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from eval.benchmarks.base import Benchmark, load_benchmark
from eval.benchmarks.pie_bench import mask_decode
from eval.metrics.base import MetricUndefined
from eval.metrics.region import true_region
from eval.runs.plan import plan, require_captions
from instructedit.types import Captions, ConfigError, Sample, Truth
from instructedit.wrappers.full_size import FullSize

ROOT = Path(__file__).resolve().parents[3]


def complaint(folder: Path, reader: str | None = None, masks: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_benchmark(folder, reader=reader, masks=masks)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def picture(path: Path, size: tuple[int, int] = (16, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (len(path.name), 0, 0)).save(path)
    return path


# Content addresses must not change.


@pytest.mark.parametrize(
    ("name", "revision"),
    [
        ("benchmark", "d2f0fe4846110eb18febef1b64e7818af4ebeabbd43bf70dbc90f2ad58e7a4ab"),
        ("benchmark_ablation", "6103b78f37e1577a51dcd2ab365a92260486868440e531e57efa20911ab5bea5"),
        ("benchmark_unclear", "8bddbafe5aefd114f08796b4cb68073cb2036e104db255a4070946da0a188028"),
        ("benchmark_video", "0dbce2248283c11ae4d76afe8bf5e6da400aadd17d2edee0c1a4aa40cf3402b3"),
        ("benchmark_3d", "79b6a77094b162053ea31caff5e4023794fd3d04a19c783c9531ff7b8af49a62"),
    ],
)
def test_picturebooks_address_is_what_it_was(name: str, revision: str) -> None:
    reader = "eval.benchmarks.scenes.read" if name == "benchmark_3d" else None
    benchmark = load_benchmark(ROOT / "data" / "picturebook" / name, reader=reader)
    assert (benchmark.name, benchmark.revision) == (name, revision)


def planned(monkeypatch: pytest.MonkeyPatch, *overrides: str) -> Any:
    monkeypatch.chdir(ROOT)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return plan(compose("config", list(overrides)))


def test_photos_are_fitted_and_addressed_by_their_size_and_picturebook_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = planned(monkeypatch, "method=diffedit")
    method = own.method()
    assert isinstance(method, FullSize)
    assert method.max_side is None
    assert planned(monkeypatch, "method=diffedit", "max_side=null").run_id == own.run_id
    assert planned(monkeypatch, "method=diffedit", "paste_back=true").run_id != own.run_id
    picture(tmp_path / "a.png")
    (tmp_path / "manifest.csv").write_text("image,instruction\na.png,Remove the cat\n")
    folder = ("method=instruct_pix2pix", "benchmark=folder", f"benchmark.folder={tmp_path}")
    photos = planned(monkeypatch, *folder)
    method = photos.method()
    assert isinstance(method, FullSize)
    assert method.max_side == 512
    assert len({photos.run_id, *(planned(monkeypatch, *folder, f"max_side={side}").run_id for side in (256, 512))}) == 2


# manifest.csv

FULL = {
    "id": "lion-1",
    "image": "images/cat.png",
    "instruction": 'Change the "bigger" cat, please',
    "variation_1": "Turn it into a lion",
    "variation_2": "让大猫变成狮子",
    "input_caption": "Photo of a cat",
    "edited_caption": "Photo of a lion",
    "category": "same",
    "edit": "change",
    "image_id": "film",
    "mask": "masks/cat.png",
    "edited_image": "edited/cat.png",
    "referred": "bigger cat",
    "target": "lion",
}


def csv_of(folder: Path, *rows: dict[str, str], columns: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names = columns.split(",") if columns is not None else list(dict.fromkeys(name for row in rows for name in row))
    quoted = [",".join('"{}"'.format(row.get(n, "").replace('"', '""')) for n in names) for row in rows]
    (folder / "manifest.csv").write_text("\n".join([",".join(names), *quoted]) + "\n")
    return folder


def test_a_csv_says_what_the_json_lines_say(tmp_path: Path) -> None:
    folder = csv_of(tmp_path / "mine", FULL, {"image": "images/my dog.jpg", "instruction": "Remove the dog"})
    (full, short) = load_benchmark(folder).samples
    assert full == Sample(
        id="lion-1",
        image=folder / "images/cat.png",
        instruction='Change the "bigger" cat, please',
        variations=("Turn it into a lion", "让大猫变成狮子"),
        captions=Captions("Photo of a cat", "Photo of a lion"),
        category="same",
        edit="change",
        truth=Truth(folder / "masks/cat.png", folder / "edited/cat.png", "bigger cat", "lion"),
        image_id="film",
    )
    assert short == Sample("my_dog", folder / "images/my dog.jpg", "Remove the dog")


def test_a_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(b'\xef\xbb\xbfinstruction, image\r\n"Two\nlines", a.png \r\n,\r\n')
    (sample,) = load_benchmark(tmp_path).samples
    assert (sample.id, sample.instruction, sample.image.name) == ("a", "Two\nlines", "a.png")


SHORT = {"image": "a.png", "instruction": "x"}


@pytest.mark.parametrize(
    ("rows", "columns", "line"),
    [
        ([SHORT | {"prompt": "x"}], None, "column 'prompt': unknown; accepted are id, image, instruction"),
        ([SHORT], "image;instruction", "line 1: columns are separated by ';'; ',' is accepted"),
        ([SHORT], "Image,instruction", "column 'Image': 'image' is accepted, in lower case"),
        ([SHORT], "image,image,instruction", "column 'image': repeated"),
        ([SHORT], "image", "column 'instruction': missing"),
        ([SHORT], "image,instruction,variation_2", "column 'variation_1': missing"),
        ([], "", "column 'image': missing"),
        ([], "image,instruction", "no samples"),
        ([SHORT, SHORT | {"image": "b/a.jpg"}], None, "line 3: id: 'a' is taken by line 2"),
        ([SHORT, SHORT | {"image": ""}], None, "line 3: image: empty"),
        ([SHORT | {"image": "../a.png"}], None, "line 2: image: .* leaves"),
        ([SHORT | {"instruction": " "}], None, "line 2: instruction: empty"),
        ([SHORT | {"input_caption": "a cat"}], None, "line 2: edited_caption: missing"),
        ([SHORT | {"mask": "/etc/passwd"}], None, "line 2: mask: .* leaves"),
        ([SHORT | {"variation_1": "", "variation_2": "y"}], None, "line 2: variation_1: empty"),
    ],
)
def test_wrong_csv_is_named(tmp_path: Path, rows: list[dict[str, str]], columns: str | None, line: str) -> None:
    message = complaint(csv_of(tmp_path, *rows, columns=columns))
    assert str(tmp_path / "manifest.csv") in message
    assert re.search(line, message)


def test_torn_csv_and_two_manifests_are_named(tmp_path: Path) -> None:
    file = tmp_path / "manifest.csv"
    file.write_text("image,instruction\na.png\n")
    assert "line 2: row: 1 cells; 2 are expected" in complaint(tmp_path)
    file.write_text('image,instruction\na.png,"x\n')
    assert "line 2: no CSV with commas" in complaint(tmp_path)
    file.write_bytes(b"image,instruction\na.png,\xff\n")
    assert "line 2: no text in UTF-8" in complaint(tmp_path)
    file.write_bytes("image,instruction\na.png,x\n".encode("utf-16"))
    assert "manifest.csv: text in UTF-16; UTF-8 is accepted" in complaint(tmp_path)
    (tmp_path / "manifest.jsonl").write_text("{}\n")
    assert "both manifest.jsonl and manifest.csv are there" in complaint(tmp_path)


# PIE-Bench

BICYCLE = {
    "image_path": "0_random_140/000000000000.jpg",
    "original_prompt": "a slanted mountain bicycle on the road in front of a building",
    "editing_prompt": "a slanted [rusty] mountain bicycle on the road in front of a building",
    "editing_instruction": "Make the frame of the bike rusty",
    "editing_type_id": "0",
    "blended_word": "bicycle bicycle",
    "mask": [512 * 10 + 20, 5, 512 * 11 + 20, 5, 512 * 512 - 3, 100],
}
CAT = BICYCLE | {
    "image_path": "1_change_object_80/1_artificial/1_animal/111000000000.jpg",
    "original_prompt": "a [cat] sitting on a chair",
    "editing_prompt": "a [dog] sitting on a chair",
    "editing_type_id": "1",
    "mask": [],
}


def pie_bench(folder: Path, **entries: Any) -> Path:
    for entry in (BICYCLE, CAT):
        picture(folder / "annotation_images" / str(entry["image_path"]), (512, 512))
    (folder / "mapping_file.json").write_text(json.dumps(entries))
    return folder


def test_pie_bench(tmp_path: Path) -> None:
    folder = pie_bench(tmp_path / "data", **{"000000000000": BICYCLE, "111000000000": CAT})
    benchmark = load_benchmark(folder, reader="eval.benchmarks.pie_bench.read", masks=tmp_path / "masks")
    assert benchmark.name == "pie_bench"
    bicycle, cat = benchmark.samples
    assert bicycle.id == "000000000000"
    assert bicycle.image == folder / "annotation_images/0_random_140/000000000000.jpg"
    assert bicycle.instruction == "Make the frame of the bike rusty"
    assert bicycle.captions == Captions(
        "a slanted mountain bicycle on the road in front of a building",
        "a slanted rusty mountain bicycle on the road in front of a building",
    )
    assert (bicycle.category, bicycle.edit) == ("0_random", "")
    assert (cat.category, cat.edit) == ("1_change_object", "change")
    assert cat.captions == Captions("a cat sitting on a chair", "a dog sitting on a chair")
    region = true_region(bicycle, (512, 512))
    assert region[10:12, 20:25].all()
    inside = region[1:-1, 1:-1]
    assert inside.sum() == 10
    assert region.sum() == 10 + 4 * 511  # the border is always in it
    with pytest.raises(MetricUndefined):
        true_region(bicycle, (16, 16))


def test_pie_benchs_masks_are_its_own_decoders() -> None:
    runs = [0, 3, 700, 2000, 262_000, 4000, 300_000, 5]

    def official(encoded: list[int]) -> np.ndarray:  # the released mask_decode, retold
        flat = np.zeros(512 * 512)
        for i in range(0, len(encoded), 2):
            for j in range(min(encoded[i + 1], len(flat) - encoded[i])):
                flat[encoded[i] + j] = 1
        square = flat.reshape(512, 512)
        square[0, :] = square[-1, :] = square[:, 0] = square[:, -1] = 1
        return square

    assert (mask_decode(runs) == official(runs)).all()


def test_masks_are_written_once_by_content_and_change_no_revision(tmp_path: Path) -> None:
    folder = pie_bench(tmp_path / "data", **{"1": BICYCLE, "2": CAT, "3": CAT})
    plain = load_benchmark(folder)
    assert all(s.truth == Truth() for s in plain.samples)
    first = load_benchmark(folder, masks=tmp_path / "masks")
    assert first.revision == plain.revision
    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "masks").iterdir()}
    assert len(written) == 2
    assert load_benchmark(folder, masks=tmp_path / "masks") == first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "masks").iterdir()} == written
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    assert load_benchmark(moved).revision == plain.revision
    pie_bench(moved, **{"1": BICYCLE, "2": CAT, "3": BICYCLE})
    assert load_benchmark(moved).revision != plain.revision
    picture(folder / "annotation_images" / str(CAT["image_path"]), (8, 8))
    assert load_benchmark(folder).revision != plain.revision


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"mask": [1]}, "mask: start and length"),
        ({"mask": [-1, 5]}, "mask: start and length"),
        ({"mask": [1.0, 5]}, "mask: start and length"),
        ({"mask": [True, 5]}, "mask: start and length"),
        ({"mask": "1 2"}, "mask: start and length"),
        ({"mask": None}, "mask: start and length"),
        ({"editing_type_id": "10"}, "editing_type_id: '10'; accepted are 0, 1, 2"),
        ({"editing_type_id": 1}, "editing_type_id: a text is expected"),
        ({"image_path": "../../x.jpg"}, "image_path: '../../x.jpg' leaves"),
        ({"original_prompt": "[]"}, "original_prompt: empty"),
        ({"editing_instruction": ""}, "editing_instruction: empty"),
        ({"editing_prompt": None}, "editing_prompt: a text is expected, not null"),
    ],
)
def test_wrong_pie_bench_entries_are_named(tmp_path: Path, change: dict[str, Any], line: str) -> None:
    message = complaint(pie_bench(tmp_path, **{"1": CAT, "2": BICYCLE | change}), masks=tmp_path / "masks")
    assert f"{tmp_path / 'mapping_file.json'}: entry 2: {line}" in message


def test_wrong_pie_bench_files_are_named(tmp_path: Path) -> None:
    reader = "eval.benchmarks.pie_bench.read"
    for folder in (tmp_path, tmp_path / "none"):
        message = complaint(folder, reader)
        assert f"{folder}: no mapping_file.json there" in message
        assert "annotation_images/" in message
        assert "PnPInversion" in message
    file = tmp_path / "mapping_file.json"
    for text, line in {
        "[1]": "not a list",
        "{}": "not an empty one",
        '{"a": 1}': "entry a: an object is expected, not a number",
        '{"../a": {}}': "entry ../a: id: '../a' is not accepted",
        '{"a"': "no JSON in UTF-8",
        "[" * 200_000: "no JSON in UTF-8",
    }.items():
        file.write_text(text)
        assert line in complaint(tmp_path, reader)
    assert "not an empty one" not in complaint(pie_bench(tmp_path, **{"A": CAT, "a": CAT}), reader)
    assert "entry a: id: 'a' is taken by entry A" in complaint(tmp_path, reader)


# MagicBrush

TURNS = [
    {
        "input": "242679-input.png",
        "mask": "242679-mask1.png",
        "output": "242679-output1.png",
        "instruction": "Put a cat on the seat.",
    },
    {
        "input": "242679-output1.png",
        "mask": "242679-mask2.png",
        "output": "242679-output2.png",
        "instruction": "Have the cat wear a hat.",
    },
]
GLOBAL = {
    "242679": {
        "242679-input.png": "A seat under a mirror onboard a train",
        "242679-output1.png": "A cat lounges on a seat under a mirror onboard a train",
        "242679-output2.png": "A cat in a hat lounges on a seat",
    }
}


def magicbrush(folder: Path, turns: Any = TURNS, descriptions: Any = GLOBAL) -> Path:
    images = folder / "images" / "242679"
    for name in ("input", "output1", "output2"):
        picture(images / f"242679-{name}.png")
    for number in (1, 2):
        # As released: the input with the region erased to transparent black.
        erased = Image.new("RGBA", (16, 16), (200, 100, 0, 255))
        erased.paste((0, 0, 0, 0), (number, 0, 8, 8))
        erased.save(images / f"242679-mask{number}.png")
    (folder / "edit_turns.json").write_text(json.dumps(turns))
    (folder / "edit_sessions.json").write_text(json.dumps({"242679": turns}))
    if descriptions is not None:
        (folder / "global_descriptions.json").write_text(json.dumps(descriptions))
    return folder


def test_magicbrush(tmp_path: Path) -> None:
    folder = magicbrush(tmp_path / "dev")
    benchmark = load_benchmark(folder, reader="eval.benchmarks.magicbrush.read", masks=tmp_path / "masks")
    assert benchmark.name == "magicbrush"
    first, second = benchmark.samples
    images = folder / "images" / "242679"
    assert (first.id, first.category, first.image) == ("242679-output1", "turn 1", images / "242679-input.png")
    assert (second.id, second.category, second.image) == ("242679-output2", "turn 2", images / "242679-output1.png")
    assert first.image_id == second.image_id == "242679"
    assert second.instruction == "Have the cat wear a hat."
    assert first.captions == Captions(*list(GLOBAL["242679"].values())[:2])
    assert second.truth.edited == images / "242679-output2.png"
    region = true_region(second, (16, 16))
    assert region[:8, 2:8].all()
    assert region.sum() == 48


def test_magicbrush_without_descriptions_or_with_masks_that_say_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = magicbrush(tmp_path / "dev", descriptions=None)
    images = folder / "images" / "242679"
    whole = load_benchmark(folder, masks=tmp_path / "masks")
    assert [s.captions for s in whole.samples] == [None, None]
    assert not caplog.records
    (images / "242679-mask1.png").write_bytes((images / "242679-mask1.png").read_bytes()[:60])
    Image.new("RGB", (16, 16)).save(images / "242679-mask2.png")
    damaged = load_benchmark(folder, masks=tmp_path / "masks")
    assert [s.truth.mask for s in damaged.samples] == [None, None]
    assert "2 of 2 masks cannot be used, such as" in caplog.text
    (images / "242679-mask1.png").unlink()
    assert len({whole.revision, damaged.revision, load_benchmark(folder).revision}) == 3
    magicbrush(folder, descriptions={"242679": {"242679-input.png": "A seat"}})
    assert [s.captions for s in load_benchmark(folder).samples] == [None, None]


@pytest.mark.parametrize(
    ("turns", "line"),
    [
        ([TURNS[0], TURNS[1] | {"output": "x.png"}], "item 2: output: 'x.png'; a name such as"),
        ([TURNS[0], TURNS[1] | {"input": "../a-b.png"}], "item 2: input: '../a-b.png'; a name such as"),
        ([TURNS[0], TURNS[1] | {"mask": ""}], "item 2: mask: empty"),
        ([TURNS[0], TURNS[1] | {"instruction": None}], "item 2: instruction: a text is expected, not null"),
        ([TURNS[0], TURNS[0]], "item 2: id: '242679-output1' is taken by item 1"),
        (["x"], "item 1: an object is expected, not a text"),
        ({"242679": TURNS}, "a list of turns is expected, not an object"),
        ([], "a list of turns is expected, not an empty one"),
    ],
)
def test_wrong_magicbrush_is_named(tmp_path: Path, turns: Any, line: str) -> None:
    assert f"edit_turns.json: {line}" in complaint(magicbrush(tmp_path, turns))


def test_wrong_magicbrush_files_are_named(tmp_path: Path) -> None:
    message = complaint(tmp_path, "eval.benchmarks.magicbrush.read")
    assert f"{tmp_path}: no edit_turns.json there" in message
    assert "osu-nlp-group.github.io/MagicBrush" in message
    assert "an object of captions by picture" in complaint(magicbrush(tmp_path, descriptions=[]))
    captions = {"242679": {"242679-input.png": 7, "242679-output1.png": "x"}}
    message = complaint(magicbrush(tmp_path, descriptions=captions))
    assert "global_descriptions.json: entry 242679: 242679-input.png: a text is expected, not a number" in message


# TEdBench

PAIRS = [
    {"img_name": "dog2_standing.png", "target_text": "A photo of a sitting dog."},
    {"img_name": "dog2_standing.png", "target_text": "A photo of a jumping dog."},
    {"img_name": "tree_1.jpeg", "target_text": "A photo of a tree. Taken in autumn."},
]


def tedbench(folder: Path, pairs: Any = PAIRS) -> Path:
    for name in ("dog2_standing.png", "tree_1.jpeg"):
        picture(folder / "originals" / name)
    (folder / "input_list.json").write_text(json.dumps(pairs))
    return folder


def test_tedbench_has_target_texts_only(tmp_path: Path) -> None:
    folder = tedbench(tmp_path / "tedbench")
    benchmark = load_benchmark(folder, reader="eval.benchmarks.tedbench.read")
    assert benchmark.name == "tedbench"
    assert [s.id for s in benchmark.samples] == [
        "dog2_standing.png-A_photo_of_a_sitting_dog",
        "dog2_standing.png-A_photo_of_a_jumping_dog",
        "tree_1.jpeg-A_photo_of_a_tree._Taken_in_autumn",
    ]
    sample = benchmark.samples[0]
    assert sample.image == folder / "originals/dog2_standing.png"
    assert (sample.instruction, sample.captions, sample.truth) == ("A photo of a sitting dog.", None, Truth())

    class ByCaptions:
        needs_captions = True

    with pytest.raises(ConfigError, match="caption-conditioned, and sample dog2_standing"):
        require_captions("mdp", ByCaptions(), benchmark)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pairs", "line"),
    [
        ([{"img_name": "a.png"}], "item 1: target_text: missing"),
        ([{"img_name": "/a.png", "target_text": "x"}], "item 1: img_name: '/a.png' leaves"),
        ([PAIRS[0], PAIRS[0]], "item 2: id: .* is taken by item 1"),
        ({}, "a list of pairs is expected, not an object"),
        ([], "a list of pairs is expected, not an empty one"),
    ],
)
def test_wrong_tedbench_is_named(tmp_path: Path, pairs: Any, line: str) -> None:
    message = complaint(tedbench(tmp_path, pairs))
    assert re.search(f"input_list.json: {line}", message)


def test_tedbench_that_is_not_there_says_where_it_is(tmp_path: Path) -> None:
    message = complaint(tmp_path / "none", "eval.benchmarks.tedbench.read")
    assert "no input_list.json there" in message
    assert "imagic-editing" in message


# The paper's instructions


def test_the_papers_instructions_wait_for_pictures(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ROOT / "data" / "paper", tmp_path / "paper", ignore=lambda *_: ["images"]))
    benchmark = load_benchmark(folder)  # what the report reads: no pictures needed
    assert benchmark.name == "paper"
    names = sorted(s.image.relative_to(folder).as_posix() for s in benchmark.samples)
    message = complaint(folder, "eval.benchmarks.paper.read")
    assert all(name in message for name in names)
    assert "11 of 11 pictures are missing" in message
    assert "were not released" in message
    for name in names[1:]:
        picture(folder / name)
    assert f"1 of 11 pictures are missing: {names[0]};" in complaint(folder, "eval.benchmarks.paper.read")
    picture(folder / names[0])
    assert len(load_benchmark(folder, reader="eval.benchmarks.paper.read").samples) == 11


def test_the_papers_instructions_are_the_papers() -> None:
    instructions = [s.instruction for s in load_benchmark(ROOT / "data" / "paper").samples]
    for printed in ("Change the bigger cat to a lion", "Replace the oranges with apples", "Color the lips purple"):
        assert printed in instructions
    assert all(s.captions is None for s in load_benchmark(ROOT / "data" / "paper").samples)


# Third-party readers


def test_a_reader_of_ones_own_needs_its_dotted_path_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "from eval.benchmarks.base import Benchmark, revision\n"
        "from instructedit.types import Sample\n"
        "def read(folder, masks):\n"
        "    samples = tuple(Sample(p.stem, p, 'Remove it') for p in sorted(folder.glob('*.png')))\n"
        "    return Benchmark('mine', revision(b'', (s.image for s in samples)), samples)\n"
        "def wrong(folder, masks):\n"
        "    return []\n"
        "number = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in "ab":
        picture(tmp_path / "photos" / f"{name}.png")
    benchmark = load_benchmark(tmp_path / "photos", limit=1, reader="mine.read")
    assert isinstance(benchmark, Benchmark)
    assert [s.id for s in benchmark.samples] == ["a"]
    for reader, line in {
        "mine.wrong": "it returned []; an eval.benchmarks.base.Benchmark is expected",
        "mine.number": "not a function",
        "mine.none": "a function's dotted path is expected",
        "no.such.reader": "No module named 'no'",
        "read": "a function's dotted path is expected",
    }.items():
        message = complaint(tmp_path, reader)
        assert f"benchmark.reader={reader}: " in message
        assert line in message


@pytest.mark.parametrize(
    ("name", "make", "first"),
    [
        ("pie_bench", lambda folder: pie_bench(folder, **{"7": CAT}), "7"),
        ("magicbrush", magicbrush, "242679-output1"),
        ("tedbench", tedbench, "dog2_standing.png-A_photo_of_a_sitting_dog"),
    ],
)
def test_a_benchmark_is_planned_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[[Path], Path], first: str
) -> None:
    folder = make(tmp_path / "release")
    overrides = (f"benchmark={name}", f"benchmark.folder={folder}", f"results={tmp_path}", "method=instruct_pix2pix")
    made = planned(monkeypatch, *overrides, "limit=1")
    assert [s.id for s in made.benchmark.samples] == [first]
    mask = made.benchmark.samples[0].truth.mask
    assert mask is None if name == "tedbench" else mask.parent == tmp_path / "cache" / "true_masks"
    with pytest.raises(ConfigError, match=f"benchmark.folder= names .*{'PIE-Bench' if name == 'pie_bench' else ''}"):
        planned(monkeypatch, f"benchmark={name}", f"benchmark.folder={tmp_path / 'none'}")
