"""Emu Edit's test set (Sheynin et al., CVPR 2024): photographs with an instruction, a task and two captions.

Its folder is that of the hub's ``facebook/emu_edit_test_set``: ``data/test-*.parquet`` and
``data/validation-*.parquet`` with the columns ``idx``, ``instruction``, ``image``, ``task``, ``input_caption`` and
``output_caption``.
"""

from pathlib import Path

from eval.benchmarks.base import Benchmark
from eval.benchmarks.schema import Entry, as_id, distinct
from eval.benchmarks.tables import read_table
from instructedit.types import Captions, Sample

EXPECTED = (
    "benchmark.folder= names the folder of Emu Edit's test set, with data/*.parquet; "
    "the project gives it out: https://huggingface.co/datasets/facebook/emu_edit_test_set"
)
COLUMNS = ("idx", "task", "instruction", "input_caption", "output_caption")
EDITS = {"add": "add", "remove": "remove", "color": "change"}
"""The paper's edit type (§5) by task, of those that have one."""


def read(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read the test split, in the order of its files.

    A sample's id is its ``idx``, or ``<task>-<idx>`` if an ``idx`` occurs twice. Its category is the task. Samples with
    equal pictures share an ``image_id``, since one picture has several instructions.

    Raises:
        ConfigError: The files are not valid. The one-line message names the file, the row, the column and the accepted
            values.
    """
    return _read(folder, masks, "test")


def read_validation(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read the validation split, see :func:`read`."""
    return _read(folder, masks, "validation")


def _read(folder: Path, masks: Path | None, split: str) -> Benchmark:
    table = read_table(folder, f"{split}-*.parquet", COLUMNS, ("image",), EXPECTED)
    pictures = table.pictures("image", masks)
    numbers = [str(entry.fields["idx"]) for entry in table.entries]
    is_unique = len(set(numbers)) == len(numbers)
    samples = (
        (entry, _sample(entry, picture, is_unique)) for entry, picture in zip(table.entries, pictures, strict=True)
    )
    return Benchmark(f"emu_edit_{split}", table.revision, tuple(distinct(samples)))


def _sample(entry: Entry, picture: Path, is_unique: bool) -> Sample:
    task, number = entry.text("task"), str(entry.fields["idx"])
    before, after = entry.optional("input_caption"), entry.optional("output_caption")
    return Sample(
        id=as_id(number if is_unique else f"{task}-{number}"),
        image=picture,
        instruction=entry.text("instruction"),
        captions=Captions(before, after) if before and after else None,
        category=task,
        edit=EDITS.get(task, ""),
    )
