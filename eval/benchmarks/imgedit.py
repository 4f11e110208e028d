"""ImgEdit-Bench's basic suite (Ye et al., NeurIPS 2025): pictures with an instruction of one of nine edit types.

Its folder has ``basic_edit.json`` (``singleturn.json`` in the project's archive) and the pictures in folders such as
``animal/``, beside it or under ``original_images/``.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eval.benchmarks.base import Benchmark, revision
from eval.benchmarks.schema import Entry, distinct, entry_of, kind, read_json
from instructedit.types import ConfigError, Sample

EXPECTED = (
    "benchmark.folder= names ImgEdit-Bench's folder, with basic_edit.json or singleturn.json and the pictures; "
    "the project gives it out: https://huggingface.co/datasets/sysuyy/ImgEdit"
)
NAMES = ("basic_edit.json", "singleturn.json")
EDITS = {
    "add": "add", "remove": "remove", "replace": "change", "adjust": "change", "alter": "change",
}  # fmt: skip
"""The paper's edit type (§5) by ImgEdit's, of those that have one."""


def read(folder: Path, masks: Path | None = None) -> Benchmark:
    """Read the whole suite, in the order of its file.

    A sample's id is its key, after which the authors' code names edits; its category is the edit type. There are no
    captions and no masks.

    Raises:
        ConfigError: The file is not valid. The one-line message names the file, the entry, the key and the accepted
            values.
    """
    file = next((folder / name for name in NAMES if (folder / name).is_file()), folder / NAMES[0])
    data, entries = read_json(file, EXPECTED)
    if not isinstance(entries, dict) or not entries:
        found = "an empty one" if entries == {} else kind(entries)
        raise ConfigError(f"{file}: an object of samples by key is expected, not {found}")
    under = "original_images" if (folder / "original_images").is_dir() else ""
    samples = tuple(distinct(_samples(file, entries, under)))
    return Benchmark("imgedit", revision(data, (s.image for s in samples)), samples)


def _samples(file: Path, entries: Mapping[str, Any], under: str) -> Iterator[tuple[Entry, Sample]]:
    for key, value in entries.items():
        entry = entry_of(file, f"entry {key}", value)
        if entry is not None:
            edit_type = entry.text("edit_type")
            yield (
                entry,
                Sample(
                    id=Entry(file, entry.place, {"key": key}).identity("key"),
                    image=entry.path("id", under),
                    instruction=entry.text("prompt"),
                    category=edit_type,
                    edit=EDITS.get(edit_type, ""),
                ),
            )
