"""Benchmarks of 2024 and 2025, in small files of the form in which their authors give them out."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw

from eval.benchmarks import emu_edit, gedit_bench, gie_bench, imgedit, refedit_bench
from eval.benchmarks.base import Benchmark, load_benchmark
from eval.benchmarks.check import check
from eval.metrics.region import true_region
from instructedit.images import load_image
from instructedit.types import Captions, ConfigError, Question, Truth
from tests.eval.pictures import textured

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
POLYGON = [8.0, 8.0, 40.0, 8.0, 40.0, 30.0, 8.0, 30.0]
EMU = [
    {"idx": 7, "instruction": "Make it snow", "task": "background", "split": "test", "hash": "ab",
     "input_caption": "a street", "output_caption": "a street in snow"},
    {"idx": 8, "instruction": "Add a dog", "task": "add", "split": "test", "hash": "ab", "input_caption": "",
     "output_caption": "a street with a dog"},
]  # fmt: skip
GEDIT = [
    {"task_type": "subject-add", "key": "k1", "instruction": "Add a hat", "instruction_language": "en",
     "Intersection_exist": True},
    {"task_type": "subject-add", "key": "k2", "instruction": "加一顶帽子", "instruction_language": "cn",
     "Intersection_exist": True},
    {"task_type": "ps_human", "key": "k3", "instruction": "Smooth the skin", "instruction_language": "en",
     "Intersection_exist": False},
]  # fmt: skip
REFEDIT = [
    {"editing_instruction": "Make the left cat red", "edit_instruction_single": "Make the cat red",
     "mask": json.dumps([POLYGON, [1, 1, 2, 1, 2, 2]])},
]  # fmt: skip
GIE = {
    "image": "/animals/pexels-1.jpg", "edit_instruction": "Make the dog white", "edited_image_path": "",
    "object_mask": np.tri(224, dtype=int).__mul__(255).tolist(), "evaluation_question": "What colour is the dog?",
    "multiple_choice_options": ["White", "Brown"], "expected_answer": "White", "url": "https://example.org/1.jpg",
}  # fmt: skip


def encoded(number: int, kind: str = "PNG", size: tuple[int, int] = (64, 48)) -> bytes:
    data = io.BytesIO()
    textured(number, max(size)).crop((0, 0, *size)).save(data, format=kind)
    return data.getvalue()


def table(rows: Sequence[Mapping[str, Any]], pictures: Sequence[str], kind: str = "PNG") -> pa.Table:
    """Return rows with pictures as the datasets library stores them."""
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    for name in pictures:
        columns[name] = pa.array([{"bytes": encoded(i, kind), "path": None} for i in range(len(rows))], type=PICTURE)
    return pa.table(columns)


def parquet(file: Path, *args: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(*args), file)
    return file


def arrow(file: Path, *args: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    made = table(*args)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made)
    return file


def write_gie(folder: Path, *entries: Mapping[str, Any]) -> Path:
    (folder / "images2000" / "animals").mkdir(parents=True)
    (folder / "images2000" / "animals" / "pexels-1.jpg").write_bytes(encoded(1, "JPEG"))
    (folder / "gie_bench.json").write_text(json.dumps(entries or [GIE]))
    return folder


def complaint(read: Callable[[Path, Path | None], Benchmark], folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, folder / "masks")
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(folder), "HERE")


def test_emu_edit(tmp_path: Path) -> None:
    parquet(tmp_path / "data" / "test-00000-of-00002-0a14114eb2f63780.parquet", EMU[:1], ["image"], "JPEG")
    parquet(tmp_path / "data" / "test-00001-of-00002-0a14114eb2f63781.parquet", EMU[1:], ["image"])
    parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", [EMU[0] | {"idx": 3}], ["image"])
    reader = "eval.benchmarks.emu_edit.read"
    benchmark = load_benchmark(tmp_path, reader=reader, masks=tmp_path / "masks")
    first, second = benchmark.samples
    assert (benchmark.name, first.id, first.category, first.edit, first.instruction) == (
        "emu_edit_test", "7", "background", "", "Make it snow",
    )  # fmt: skip
    assert (first.captions, second.captions) == (Captions("a street", "a street in snow"), None)
    assert (second.id, second.edit) == ("8", "add")
    assert first.image.read_bytes() == encoded(0, "JPEG")
    assert [s.image.suffix for s in benchmark.samples] == [".jpg", ".png"]
    validation = load_benchmark(tmp_path, reader=f"{reader}_validation", masks=tmp_path / "masks")
    assert [s.id for s in validation.samples] == ["3"]
    assert check(tmp_path, reader, tmp_path / "masks").problems == ()


def test_emu_edits_idx_that_is_repeated_gets_its_task(tmp_path: Path) -> None:
    parquet(tmp_path / "test-0.parquet", [EMU[0], EMU[1] | {"idx": 7}], ["image"])
    assert [s.id for s in emu_edit.read(tmp_path, tmp_path).samples] == ["background-7", "add-7"]


@pytest.mark.parametrize("write", [arrow, parquet])
def test_gedit_bench_is_two_benchmarks(tmp_path: Path, write: Callable[..., Path]) -> None:
    ending = "arrow" if write is arrow else "parquet"
    write(tmp_path / f"data-00000-of-00001.{ending}", GEDIT, ["input_image", "input_image_raw"])
    english, chinese = gedit_bench.read(tmp_path, tmp_path), gedit_bench.read_chinese(tmp_path, tmp_path)
    assert [(s.id, s.category, s.edit) for s in english.samples] == [
        ("k1", "subject-add", "add"), ("k3", "ps_human", ""),
    ]  # fmt: skip
    assert [(s.id, s.instruction) for s in chinese.samples] == [("k2", "加一顶帽子")]
    assert english.revision == chinese.revision
    assert english.name != chinese.name
    assert np.array_equal(
        np.asarray(load_image(english.samples[1].image)), np.asarray(textured(2, 64).crop((0, 0, 64, 48)))
    )


def test_refedit_bench(tmp_path: Path) -> None:
    rows = [REFEDIT[0] | {"editing_instruction": f"edit {i}"} for i in range(101)]
    parquet(tmp_path / "data" / "test-00000-of-00001.parquet", rows, ["input_image"])
    benchmark = refedit_bench.read(tmp_path, tmp_path / "masks")
    first, last = benchmark.samples[0], benchmark.samples[-1]
    assert [(s.id, s.category, s.instruction) for s in (first, last)] == [
        ("0", "easy", "edit 0"), ("100", "hard", "edit 100"),
    ]  # fmt: skip
    # Independently: the authors fill the first polygon with Pillow and dilate it by a 15 x 15 square.
    canvas = Image.new("L", (64, 48), 0)
    ImageDraw.Draw(canvas).polygon(POLYGON, outline=1, fill=1)
    expected = cv2.dilate(np.array(canvas), np.ones((15, 15), np.uint8), iterations=1) > 0
    assert np.array_equal(true_region(first, (64, 48)), expected)
    assert expected[8 - 7, 8 - 7]
    assert not expected[0, 0]


@pytest.mark.parametrize(("name", "under"), [("basic_edit.json", "original_images"), ("singleturn.json", ".")])
def test_imgedit(tmp_path: Path, name: str, under: str) -> None:
    (tmp_path / under / "animal").mkdir(parents=True)
    (tmp_path / under / "animal" / "000342021.jpg").write_bytes(encoded(1, "JPEG"))
    entry = {"id": "animal/000342021.jpg", "prompt": "Change the shell", "edit_type": "adjust"}
    (tmp_path / name).write_text(json.dumps({"1082": entry, "449": entry | {"edit_type": "style"}}))
    benchmark = load_benchmark(tmp_path, reader="eval.benchmarks.imgedit.read")
    assert [(s.id, s.category, s.edit, s.instruction) for s in benchmark.samples] == [
        ("1082", "adjust", "change", "Change the shell"), ("449", "style", "", "Change the shell"),
    ]  # fmt: skip
    assert len(set(benchmark.images.values())) == 1
    assert check(tmp_path, "eval.benchmarks.imgedit.read").problems == ()


def test_gie_bench_has_masks_and_questions(tmp_path: Path) -> None:
    write_gie(tmp_path)
    benchmark = load_benchmark(tmp_path, masks=tmp_path / "masks")
    (sample,) = benchmark.samples
    assert (benchmark.name, sample.id, sample.category, sample.instruction) == (
        "gie_bench", "0", "animals", "Make the dog white",
    )  # fmt: skip
    assert sample.truth.question == Question("What colour is the dog?", ("White", "Brown"), "White")
    region = true_region(sample, (64, 48))
    expected = cv2.resize(np.array(GIE["object_mask"], np.uint8), (64, 48), interpolation=cv2.INTER_NEAREST) >= 128
    assert np.array_equal(region, expected)
    assert check(tmp_path, masks=tmp_path / "masks").problems == ()


def test_a_photograph_on_its_side_has_an_upright_mask(tmp_path: Path) -> None:
    write_gie(tmp_path)
    path = tmp_path / "images2000" / "animals" / "pexels-1.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(encoded(1))).save(path, exif=exif)
    (sample,) = gie_bench.read(tmp_path, tmp_path / "masks").samples
    assert load_image(path).size == (48, 64)
    assert true_region(sample, (48, 64)).any()
    path.unlink()
    assert gie_bench.read(tmp_path, tmp_path / "masks").samples[0].truth.mask is None


def test_a_damaged_picture_of_refedit_bench_costs_its_mask_only(tmp_path: Path) -> None:
    parquet(tmp_path / "test-0.parquet", REFEDIT, ["input_image"])
    first, *others = refedit_bench.read(tmp_path, tmp_path / "masks").samples
    assert first.truth.mask is not None
    first.image.write_bytes(b"cut off")
    again = refedit_bench.read(tmp_path, tmp_path / "masks").samples
    assert again == (replace(first, truth=Truth()), *others)


def test_pictures_are_extracted_once_for_each_revision(tmp_path: Path) -> None:
    file = parquet(tmp_path / "test-0.parquet", EMU, ["image"])
    first = emu_edit.read(tmp_path, tmp_path / "masks")
    picture = first.samples[0].image
    picture.write_bytes(b"untouched")
    assert emu_edit.read(tmp_path, tmp_path / "masks").samples[0].image == picture
    assert picture.read_bytes() == b"untouched"
    (picture.parent / "pictures.json").unlink()  # a killed process leaves no list
    emu_edit.read(tmp_path, tmp_path / "masks")
    assert picture.read_bytes() == encoded(0)
    file.unlink()
    parquet(tmp_path / "test-0.parquet", EMU[:1], ["image"])
    second = emu_edit.read(tmp_path, tmp_path / "masks")
    assert second.revision != first.revision
    assert second.samples[0].image != picture


@pytest.mark.parametrize(
    ("read", "rows", "pictures", "line"),
    [
        (emu_edit.read, [EMU[0] | {"instruction": " "}], ["image"], "HERE: row 0: instruction: empty; a text is"),
        (emu_edit.read, EMU, ["picture"], "HERE/test-0.parquet: no column image; there are 'idx', 'instruction'"),
        (gedit_bench.read, [GEDIT[0] | {"instruction_language": "fr"}], ["input_image_raw"],
         "HERE: row 0: instruction_language: 'fr'; accepted are en, cn"),
        (gedit_bench.read, [GEDIT[1]], ["input_image_raw"], "HERE: no instruction_language is en"),
        (gedit_bench.read, [GEDIT[0], GEDIT[0]], ["input_image_raw"], "HERE: row 1: id: 'k1' is taken by row 0"),
        (refedit_bench.read, [REFEDIT[0] | {"mask": "[[1, 2]]"}], ["input_image"],
         "HERE: row 0: mask: a JSON list of polygons is expected"),
    ],
)  # fmt: skip
def test_wrong_tables_are_named(
    tmp_path: Path, read: Callable[..., Benchmark], rows: list[dict[str, Any]], pictures: list[str], line: str
) -> None:
    parquet(tmp_path / "test-0.parquet", rows, pictures)
    assert complaint(read, tmp_path).startswith(line)


def test_missing_and_damaged_tables_are_named(tmp_path: Path) -> None:
    line = complaint(emu_edit.read, tmp_path)
    assert line.startswith("HERE: no test-*.parquet there; benchmark.folder= names the folder of Emu Edit's test set")
    file = parquet(tmp_path / "test-0.parquet", EMU, ["image"])
    with pytest.raises(ConfigError, match="no folder is given to extract them"):
        emu_edit.read(tmp_path, None)
    file.write_bytes(file.read_bytes()[:200])
    assert complaint(emu_edit.read, tmp_path).startswith("HERE/test-0.parquet: cannot be read (")
    columns = {k: [v] for k, v in EMU[0].items()}
    file.unlink()
    empty = pa.array([{"bytes": None, "path": "there.jpg"}], type=PICTURE)
    pq.write_table(pa.table(columns | {"image": empty}), tmp_path / "test-1.parquet")
    assert complaint(emu_edit.read, tmp_path) == "HERE: row 0: image: no picture; one stored in the table is expected"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"image": ""}, "HERE/gie_bench.json: item 0: image: empty; a text is expected"),
        (
            {"image": "/../../etc/passwd"},
            "HERE/gie_bench.json: item 0: image: '../../etc/passwd' leaves the benchmark's",
        ),
        ({"object_mask": [[1, 2], [3]]}, "HERE/gie_bench.json: item 0: object_mask: rows of equal length"),
        ({"expected_answer": "Red"}, "HERE/gie_bench.json: item 0: expected_answer: 'Red'; the options are 'White'"),
        ({"multiple_choice_options": "White"}, "HERE/gie_bench.json: item 0: multiple_choice_options: a list of texts"),
    ],
)
def test_wrong_gie_bench_is_named(tmp_path: Path, change: dict[str, Any], line: str) -> None:
    write_gie(tmp_path, GIE | change)
    assert complaint(gie_bench.read, tmp_path).startswith(line)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{}", "HERE/basic_edit.json: an object of samples by key is expected, not an empty one"),
        ("[1]", "HERE/basic_edit.json: an object of samples by key is expected, not a list"),
        ('{"1": {"id": "a.jpg", "prompt": "x"}}', "HERE/basic_edit.json: entry 1: edit_type: missing"),
        ('{"a/b": {"id": "a.jpg", "prompt": "x", "edit_type": "add"}}', "HERE/basic_edit.json: entry a/b: key: 'a/b'"),
    ],
)
def test_wrong_imgedit_is_named(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "basic_edit.json").write_text(text)
    assert complaint(imgedit.read, tmp_path).startswith(line)
