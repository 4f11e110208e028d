"""The exact bytes of a run's files, and files of earlier versions."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from PIL import Image

from eval.runs.provenance import Git, Manifest, Session
from eval.runs.records import EditRecord, FailureRecord, from_line, record_of, to_line
from instructedit.types import Box, Captions, Decisions, EditResult, Failure, Stage, Tokens
from tests.eval.runs.test_store import sample

EDIT = EditResult(
    "a", Image.new("RGB", (2, 1)), None,
    Decisions("a “cat” \ud800", "reply", "cat", Captions("cat", "lion"), (Box(1, 2.5, 3, 4, 0.1 + 0.2, "cat"),), 0.5),
    {Stage.EDITOR: 0.123456}, {Stage.INVERSION: 50},
)  # fmt: skip
EDIT_LINE = (
    '{"id": "a", "status": "edited", "instruction": "Change the cat to a lion", "category": "single", '
    '"edit": "change", "image_id": "", "decisions": {"description": "a \\u201ccat\\u201d \\ud800", "reply": "reply", '
    '"segmentation_prompt": "cat", "captions": {"input": "cat", "edited": "lion"}, "boxes": [{"x1": 1, "y1": 2.5, '
    '"x2": 3, "y2": 4, "score": 0.30000000000000004, "phrase": "cat"}], "ratio": 0.5}, "seconds": {"editor": 0.1235}, '
    '"evaluations": {"inversion": 50}, '
    '"image_sha256": "0cbeef50dca02eaf2521744b9d5130031c9860e8510b3a5da48a257e955f6add", "mask_sha256": null}'
)
FAILURE = Failure("b", Stage.SEGMENTER, "StageError", "no box found", Decisions(reply="cat"), Tokens(300, 40))
FAILURE_LINE = (
    '{"id": "b", "status": "failed", "instruction": "Change the cat to a lion", "category": "single", '
    '"edit": "change", "image_id": "", "decisions": {"description": null, "reply": "cat", '
    '"segmentation_prompt": null, "captions": null, "boxes": [], "ratio": null}, '
    '"tokens": {"prompt": 300, "completion": 40}, "stage": "segmenter", "error": "StageError", '
    '"message": "no box found"}'
)


@pytest.mark.parametrize(("outcome", "line"), [(EDIT, EDIT_LINE), (FAILURE, FAILURE_LINE)])
def test_a_line_is_written_byte_by_byte_as_ever(outcome: EditResult | Failure, line: str) -> None:
    record = record_of(outcome, sample(outcome.id))
    assert to_line(record) == line
    assert from_line(line) == record
    assert to_line(from_line(line)) == line


def test_what_an_earlier_version_did_not_write_is_empty() -> None:
    old: dict[str, Any] = json.loads(EDIT_LINE)
    del old["image_id"], old["mask_sha256"], old["evaluations"], old["decisions"]["ratio"]
    read = from_line(json.dumps(old))
    assert isinstance(read, EditRecord)
    assert (read.image_id, read.mask_sha256, read.evaluations, read.decisions.ratio) == ("", None, {}, None)
    assert read.decisions.captions == Captions("cat", "lion")
    failed = from_line('{"id": "b", "status": "failed"}')
    assert isinstance(failed, FailureRecord)
    assert failed.failure == Failure("b", "", "", "")


def test_what_a_later_version_writes_beside_is_passed_over() -> None:
    later: dict[str, Any] = json.loads(EDIT_LINE)
    later["new"] = later["decisions"]["new"] = later["decisions"]["boxes"][0]["new"] = 1
    assert to_line(from_line(json.dumps(later))) == EDIT_LINE


@pytest.mark.parametrize(
    "line",
    ["", "1", "[]", "{}", '{"id": "a"}', '{"id": "a", "status": "edited"}', '{"id": "a", "status": "odd"}',
     '{"id": "a", "status": "failed", "decisions": 5}', '{"id": "a", "status": "failed", "tokens": [1]}'],
)  # fmt: skip
def test_a_damaged_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        from_line(line)


MANIFEST = {
    "run_id": "v2-0", "started": "2026-01-01T00:00:00+00:00", "finished": None,
    "sessions": [
        {
            "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T01:00:00+00:00", "device": "cpu",
            "checkpoints": {"m/x": "abc"}, "python": "3.11.9", "platform": "Linux", "packages": {"torch": "2.8.0"},
            "git": {"commit": None, "dirty": None},
        },
        {
            "started": "2026-01-02T00:00:00+00:00", "finished": None, "device": "cuda", "checkpoints": {},
            "python": "3.11.9", "platform": "Linux", "packages": {}, "git": {"commit": "0f", "dirty": True},
        },
    ],
}  # fmt: skip


def test_a_manifest_is_written_byte_by_byte_as_ever() -> None:
    read = Manifest.from_json(json.dumps(MANIFEST).encode())
    assert json.dumps(read.to_json(), indent=2) == json.dumps(MANIFEST, indent=2)
    assert (read.started, read.finished, read.sessions[1].git) == (MANIFEST["started"], None, Git("0f", dirty=True))


def test_a_manifest_of_an_earlier_version_is_read_and_a_damaged_one_refused() -> None:
    read = Manifest.from_json(b'{"run_id": "v1-0", "sessions": [{"started": "2025", "host": "a"}]}')
    assert read.sessions == (Session(started="2025"),)
    assert asdict(read.sessions[0])["device"] == "unknown"
    for damaged in (b"", b"[]", b'{"sessions": 5}', b'{"sessions": [{"checkpoints": "all"}]}'):
        with pytest.raises(ValueError):
            Manifest.from_json(damaged)
