"""Stored results survive kills, incomplete lines, full disks and second writers."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eval.runs.identity import run_id
from eval.runs.provenance import CHECKOUT, Git, environment
from eval.runs.store import RunStore, records_equal_ignoring_timing
from instructedit.types import Box, Captions, Decisions, EditResult, Failure, Sample, Tokens

PARTS = {"method": {"name": "instructedit", "ratio": 0.5}, "seed": 0}


def sample(name: str) -> Sample:
    return Sample(name, Path(f"{name}.png"), "Change the cat to a lion", category="single", edit="change")


def edit(name: str, seed: int = 0, seconds: float = 0.123456) -> EditResult:
    generator = np.random.default_rng(seed)
    return EditResult(
        name,
        Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)),
        generator.random((12, 16)) > 0.5,
        Decisions(
            "Photo of a “cat”",
            "line one\nline two \u2028 🐱 \ud800",
            "cat",
            Captions("Photo of a cat", "Photo of a lion"),
            (Box(0.1, 2, 3.3333333333333335, 4, 0.1 + 0.2, "cat"), Box(1, 2, 3, 4, 0.5, "")),
        ),
        {"language": seconds, "editor": 12.0},
        {"invert": 50, "edit": 50},
    )


def failed(name: str) -> Failure:
    return Failure(name, "segmenter", "StageError", "no box found", Decisions(reply="cat"))


def filled(root: Path) -> RunStore:
    store = RunStore(root, run_id(PARTS))
    store.write(edit("a"), sample("a"))
    store.write(failed("b"), sample("b"))
    return store


def test_outcomes_come_back_without_loss(tmp_path):
    filled(tmp_path)
    store = RunStore(tmp_path, run_id(PARTS))
    back, sent = store.read_result("a"), edit("a")
    assert back.image == sent.image
    assert back.mask is not None
    assert sent.mask is not None
    assert back.mask.dtype == bool
    assert back.mask.tolist() == sent.mask.tolist()
    assert back.decisions == sent.decisions
    assert back.seconds == {"language": 0.1235, "editor": 12.0}
    assert back.evaluations == sent.evaluations
    assert store.read_failure("b") == failed("b")
    assert store.finished()["a"].category == "single"
    for missing in ("b", "c"):
        with pytest.raises(KeyError, match=missing):
            store.read_result(missing)
    with pytest.raises(KeyError, match="a"):
        store.read_failure("a")


def test_results_without_mask_and_with_numpy_scores(tmp_path):
    store = RunStore(tmp_path, "v1-0")
    right, score = np.array([4.5, 0.25], dtype=np.float32)  # as detectors hand them over
    box = Box(1, 2, 3, right, score, "cat")
    store.write(EditResult("a", edit("a").image, decisions=Decisions(boxes=(box,))), sample("a"))
    back = store.read_result("a")
    assert back.mask is None
    assert back.decisions.boxes == (Box(1, 2, 3, 4.5, 0.25, "cat"),)
    assert not store.mask_path("a").exists()


def test_finished_leaves_out_what_must_be_done_again(tmp_path):
    store = filled(tmp_path)
    assert store.finished().keys() == {"a", "b"}
    assert store.finished(retry_failed=True).keys() == {"a"}
    store.mask_path("a").unlink()
    assert store.finished().keys() == {"b"}


def test_last_outcome_of_a_sample_wins(tmp_path):
    store = filled(tmp_path)
    store.write(edit("b", seed=1), sample("b"))
    assert store.finished(retry_failed=True).keys() == {"a", "b"}
    again = RunStore(tmp_path, store.run_id)
    assert again.read_result("b").image == edit("b", seed=1).image
    assert len((store.folder / "samples.jsonl").read_text().splitlines()) == 3


def test_reader_sees_what_a_writer_adds(tmp_path):
    store, reader = filled(tmp_path), RunStore(tmp_path, run_id(PARTS))
    assert len(reader.finished()) == 2
    store.write(edit("c"), sample("c"))
    assert len(reader.finished()) == 3
    assert reader.read_result("c").decisions == edit("c").decisions


def test_torn_last_line_is_dropped_by_readers_and_cut_by_writers(tmp_path):
    store = filled(tmp_path)
    lines = store.folder / "samples.jsonl"
    sound = lines.read_bytes()
    for torn in range(1, len(sound.splitlines()[1]) + 1, 40):
        lines.write_bytes(sound + sound.splitlines()[1][:torn].replace(b'"b"', b'"c"'))
        reader = RunStore(tmp_path, store.run_id)
        assert reader.finished().keys() == {"a", "b"}
        assert lines.stat().st_size > len(sound)  # another process may just be writing it
        reader.repair()
        assert lines.read_bytes() == sound
    lines.write_bytes(sound[:20])
    store.write(edit("a"), sample("a"))  # without a repair before: its writer was killed beside this one
    assert store.finished().keys() == {"a"}
    assert lines.read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("damage", [b"\0" * 40, b"{", b"[1]", b"{}", b"\xff"])
def test_damaged_line_costs_its_sample_only(tmp_path, caplog, damage):
    store = filled(tmp_path)
    lines = store.folder / "samples.jsonl"
    lines.write_bytes(damage + b"\n" + lines.read_bytes())
    assert store.finished().keys() == {"a", "b"}
    assert "line 1 is damaged" in caplog.text


def test_a_writer_moves_damaged_lines_aside_and_reports_them_once(tmp_path, caplog):
    store = filled(tmp_path)
    lines = store.folder / "samples.jsonl"
    sound = lines.read_bytes()
    lines.write_bytes(b"\0\xff\n" + sound + b"[1]\n" + sound[:30])
    for _ in range(2):
        writer = RunStore(tmp_path, store.run_id)
        writer.repair()
        assert writer.finished().keys() == {"a", "b"}
    assert lines.read_bytes() == sound
    assert (store.folder / "samples.damaged").read_bytes() == b"\0\xff\n[1]\n"
    (record,) = caplog.records
    assert "damaged lines (1, 4) are moved to samples.damaged" in record.getMessage()


@pytest.mark.parametrize("name", ["images/a.png", "masks/a.png"])
def test_a_truncated_picture_is_done_again(tmp_path, name):
    store = filled(tmp_path)
    path = store.folder / name
    path.write_bytes(path.read_bytes()[:-20])
    assert store.finished().keys() == {"b"}
    path.write_bytes(b"")
    assert store.finished().keys() == {"b"}


def test_failed_append_leaves_no_half_line(tmp_path):
    script = """
import resource, sys
from pathlib import Path
from eval.runs.store import RunStore
from tests.eval.runs.test_store import failed, sample
store = RunStore(Path(sys.argv[1]), "v1-0")
store.write(failed("a"), sample("a"))
size = (store.folder / "samples.jsonl").stat().st_size
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, size + 30))
try:
    store.write(failed("b"), sample("b"))
except OSError:
    print(size, (store.folder / "samples.jsonl").stat().st_size, *store.finished())
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    size, after, *names = done.stdout.split()
    assert size == after, done.stderr
    assert names == ["a"]


WRITER = """
import sys
from pathlib import Path
from eval.runs.store import RunStore
from tests.eval.runs.test_store import edit, failed, sample
store = RunStore(Path(sys.argv[1]), "v1-0")
with store.claim(["s0", "in_flight"], 2):
    print("claimed", flush=True)
    for number in range(100_000):
        name = sys.argv[2] + str(number)
        store.write(failed(name) if number % 5 == 4 else edit(name, number), sample(name))
"""


def test_kill_loses_at_most_the_sample_in_flight(tmp_path):
    lines = tmp_path / "runs" / "v1-0" / "samples.jsonl"
    store = RunStore(tmp_path, "v1-0")
    command = [sys.executable, "-c", WRITER, str(tmp_path), "s"]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "claimed\n"
        assert store.claimed() == ["in_flight", "s0"]
        with store.claim(["s0", "free", "in_flight", "other"], 1) as claimed:
            assert claimed == ["free"]
        wait_for_lines(lines, 20)
        writer.send_signal(signal.SIGKILL)
    assert store.claimed() == []
    with store.claim(["s0", "in_flight"], 2) as claimed:  # free, since their process is dead
        assert claimed == ["s0", "in_flight"]
    assert list((store.folder / ".claims").iterdir()) == []
    whole = lines.read_bytes().count(b"\n")
    done = store.finished()
    assert list(done) == [f"s{number}" for number in range(whole)]
    for number in range(whole):
        if number % 5 != 4:
            assert store.read_result(f"s{number}").image == edit("x", number).image
    store.write(edit("next"), sample("next"))
    assert len(store.finished()) == whole + 1
    assert len(list((store.folder / "images").glob("*.png"))) <= whole + 2  # and whole: a torn one has no such name


def wait_for_lines(path: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline
        time.sleep(0.003)


def test_two_processes_write_one_file_and_a_killed_one_harms_no_line_of_the_other(tmp_path, caplog):
    lines = tmp_path / "runs" / "v1-0" / "samples.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], cwd=CHECKOUT, stdout=subprocess.DEVNULL)
        for name in "ab"
    ]
    try:
        for writer in writers:
            wait_for_lines(lines, 40)
            writer.kill()
            writer.wait()
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    store = RunStore(tmp_path, "v1-0")
    done = list(store.finished())
    assert caplog.text == ""
    assert all(store.lines().get(name, 0) == 1 for name in done)
    for name in "ab":
        own = [key for key in done if key.startswith(name)]
        assert own == [f"{name}{number}" for number in range(len(own))]


def test_a_line_of_another_process_counts(tmp_path):
    store, other = RunStore(tmp_path, "v1-0"), RunStore(tmp_path, "v1-0")
    store.write(failed("a"), sample("a"))
    assert (other.lines().get("a", 0), other.lines().get("b", 0)) == (1, 0)
    other.write(failed("a"), sample("a"))
    store.write(failed("b"), sample("b"))  # what it knows of a is stale here
    assert (store.lines().get("a", 0), store.lines().get("b", 0), other.lines().get("b", 0)) == (2, 1, 1)


def test_a_lock_is_waited_for_with_a_line(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("eval.runs.store.PATIENCE", 0.2)
    code = WRITER.split("with")[0] + "with store.lock():\n    print('locked', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "locked\n"
        threading.Timer(1, holder.stdin.close).start()
        store = RunStore(tmp_path, "v1-0")
        store.write(failed("a"), sample("a"))
    (record,) = caplog.records
    assert f"{store.folder}: waiting for its lock" in record.getMessage()
    assert store.finished().keys() == {"a"}


def test_reading_makes_nothing(tmp_path):
    store = RunStore(tmp_path, "v1-0")
    assert store.finished() == {}
    assert store.read_manifest().sessions == ()
    assert store.read_metrics() is None
    assert list(tmp_path.iterdir()) == []


def test_wrong_outcomes_are_refused(tmp_path):
    store = RunStore(tmp_path, "v1-0")
    with pytest.raises(ValueError, match="'a' for sample 'b'"):
        store.write(edit("a"), sample("b"))
    with pytest.raises(ValueError, match="RGB"):
        store.write(EditResult("a", Image.new("L", (4, 4))), sample("a"))
    assert store.finished() == {}


def test_manifest_tells_each_session(tmp_path):
    store = RunStore(tmp_path, "v1-0")
    store.begin("method: diffedit\n", "cpu", {"picturebook/unet": "abc"}, 7)
    assert store.read_manifest().finished is None
    other = RunStore(tmp_path, "v1-0")
    other.begin("method: diffedit\n", "cuda:0", {"picturebook/unet": "abc"}, 7)
    other.finish()
    manifest = store.read_manifest()
    first, second = manifest.sessions
    assert (manifest.run_id, manifest.started) == ("v1-0", first.started)
    assert manifest.finished == second.finished is not None
    assert (first.device, first.finished, second.device) == ("cpu", None, "cuda:0")
    assert first.checkpoints == {"picturebook/unet": "abc"}
    assert first.packages["numpy"] == np.__version__
    assert first.samples == 7
    assert first.process.startswith(f"process {os.getpid()} on ")
    store.finish()
    assert [s.finished is None for s in store.read_manifest().sessions] == [False, False]
    assert (store.folder / "config.yaml").read_text() == "method: diffedit\n"


def test_environment_tells_commit_and_changes(tmp_path):
    assert environment(tmp_path).git == Git()

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert environment(tmp_path).git == Git()
    git("commit", "-q", "--allow-empty", "--no-verify", "-m", "first")
    assert environment(tmp_path).git == Git(git("rev-parse", "HEAD"), dirty=False)
    (tmp_path / "new.py").touch()
    assert environment(tmp_path).git.dirty is True


def test_metrics_come_back(tmp_path):
    store = filled(tmp_path)
    texts = {"sample_id": "a", "metric": ["lpips", "clip"], "card_id": "0", "note": "", "image_sha256": "1"}
    frame = pd.DataFrame(texts | {"value": [0.1 + 0.2, float("nan")]})
    store.write_metrics(frame)
    store.write_metrics(frame)
    back = store.read_metrics()
    assert back is not None
    pd.testing.assert_frame_equal(back, frame)


def test_records_are_compared_without_order_and_timing(tmp_path):
    one, two, other = (RunStore(tmp_path / name, "v1-0") for name in ("one", "two", "other"))
    one.write(edit("a"), sample("a"))
    one.write(failed("b"), sample("b"))
    two.write(failed("b"), sample("b"))
    two.write(edit("a", seconds=9), sample("a"))
    other.write(failed("b"), sample("b"))
    other.write(edit("a", seed=1), sample("a"))
    assert records_equal_ignoring_timing(one.finished(), two.finished())
    assert not records_equal_ignoring_timing(one.finished(), other.finished())  # by its pixels alone
    assert not records_equal_ignoring_timing(one.finished(), {})


def test_tokens_come_back_and_are_no_difference_between_runs(tmp_path):
    asked, kept, uncounted = (RunStore(tmp_path / name, "v1-0") for name in ("asked", "kept", "uncounted"))
    for store, tokens in ((asked, Tokens(300, 40)), (kept, Tokens()), (uncounted, None)):
        store.write(replace(edit("a"), tokens=tokens), sample("a"))
        store.write(replace(failed("b"), tokens=tokens), sample("b"))
        assert store.read_result("a").tokens == tokens
        assert store.read_failure("b").tokens == tokens
        assert records_equal_ignoring_timing(store.finished(), asked.finished())
    assert asked.finished()["b"].tokens == Tokens(300, 40)
    assert b"tokens" not in (uncounted.folder / "samples.jsonl").read_bytes()


def test_run_id_is_of_the_parts():
    assert run_id(PARTS) == run_id(dict(reversed(PARTS.items())))
    assert run_id(PARTS) != run_id(PARTS | {"seed": 1})
    assert run_id(PARTS) == "v2-d702a199fe0e0961"  # a change here orphans every stored run: only ever on purpose
    with pytest.raises(TypeError, match="method"):
        run_id({"method": Path("x")})


def test_lines_are_json_that_others_can_read(tmp_path):
    first, second = (filled(tmp_path).folder / "samples.jsonl").read_text(encoding="ascii").splitlines()
    assert json.loads(first)["status"] == "edited"
    assert json.loads(second) | {"decisions": None} == {
        "id": "b",
        "status": "failed",
        "instruction": "Change the cat to a lion",
        "category": "single",
        "edit": "change",
        "image_id": "",
        "decisions": None,
        "stage": "segmenter",
        "error": "StageError",
        "message": "no box found",
    }
