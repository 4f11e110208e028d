"""GEdit-Bench (Liu et al., Step1X-Edit, 2025): 606 user edits of 11 tasks, each in English and in Chinese.

Its folder is that of the hub's ``stepfun-ai/GEdit-Bench``: Arrow files with the columns ``task_type``, ``key``,
``instruction``, ``instruction_language``, ``input_image``, ``input_image_raw`` and ``Intersection_exist``. A copy as
Parquet is read too.
"""

from pathlib import Path

from eval.benchmarks.base import Benchmark
from eval.benchmarks.schema import Entry, distinct, noted, quoted
from eval.benchmarks.tables import read_table
from instructedit.types import ConfigError, Sample

EXPECTED = (
    "benchmark.folder= names GEdit-Bench's folder, with its .arrow or .parquet files; "
    "the project gives it out: https://huggingface.co/datasets/stepfun-ai/GEdit-Bench"
)
COLUMNS = ("task_type", "key", "instruction", "instruction_language")
PICTURE = "input_image_raw"
LANGUAGES = ("en", "cn")
EDITS = {
    "subject-add": "add", "subject-remove": "remove", "subject-replace": "change", "color_alter": "change",
    "material_alter": "change",
}  # fmt: skip
"""The paper's edit type (§5) by task, of those that have one."""


def read(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read the samples with English instructions (GEdit-Bench-EN), in the order of the files.

    A sample's id is its ``key``, after which the authors' code names edits, and its category is the task. The input is
    ``input_image_raw``, the picture at its own size. There are no captions, so caption-conditioned methods are refused.

    Raises:
        ConfigError: The files are not valid. The one-line message names the file, the row, the column and the accepted
            values.
    """
    return _read(folder, masks, "en")


def read_chinese(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read the samples with Chinese instructions (GEdit-Bench-CN), see :func:`read`."""
    return _read(folder, masks, "cn")


def _read(folder: Path, masks: Path | None, language: str) -> Benchmark:
    pattern = "*.arrow" if any(folder.rglob("*.arrow")) else "*.parquet"
    table = read_table(folder, pattern, COLUMNS, (PICTURE,), EXPECTED)
    rows = zip(table.entries, table.pictures(PICTURE, masks), strict=True)
    samples = ((entry, _sample(entry, picture)) for entry, picture in rows if _language(entry) == language)
    benchmark = Benchmark(f"gedit_bench_{language}", table.revision, tuple(distinct(samples)))
    if not benchmark.samples:
        raise ConfigError(f"{folder}: no instruction_language is {language}; {EXPECTED}")
    return benchmark


def _language(entry: Entry) -> str:
    language = entry.text("instruction_language")
    if language and language not in LANGUAGES:
        noted(entry.error("instruction_language", f"{quoted(language)}; accepted are {', '.join(LANGUAGES)}"))
    return language


def _sample(entry: Entry, picture: Path) -> Sample:
    task = entry.text("task_type")
    return Sample(
        id=entry.identity("key"),
        image=picture,
        instruction=entry.text("instruction"),
        category=task,
        edit=EDITS.get(task, ""),
    )
