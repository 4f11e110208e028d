"""The runner with a method of another package: results are kept, cached results are reused, failures are rows."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from eval.benchmarks.base import Benchmark, load_benchmark
from eval.metrics.base import Metric
from eval.metrics.mask_iou import MaskIoU
from eval.runs.records import records_equal_ignoring_timing
from eval.runs.run import read_run, read_runs
from eval.runs.runner import RunPlan, run
from eval.runs.store import RunStore
from instructedit.types import Decisions, EditRequest, EditResult, Failure, Method

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Invert(Method):
    """A method of another package: inverts the colours and fails on the given samples."""

    fails: tuple[str, ...] = ()
    raises: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        self.asked += [r.id for r in requests]
        if any(r.id in self.raises for r in requests):
            raise RuntimeError("out of memory\nand a second line")
        return [
            Failure(r.id, "segmenter", "StageError", "no box found", Decisions(segmentation_prompt="cat"))
            if r.id in self.fails
            else EditResult(r.id, ImageOps.invert(r.image), np.ones((16, 16), bool))
            for r in requests
        ]


def make_benchmark(folder: Path, count: int = 7) -> Benchmark:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(count):
        Image.new("RGB", (16, 16), (i * 20, 0, 0)).save(folder / "images" / f"{i}.png")
        Image.new("L", (16, 16), 255).save(folder / "images" / f"m{i}.png")
        truth = {"mask": f"images/m{i}.png"}
        lines.append({"id": f"s{i}", "image": f"images/{i}.png", "instruction": "invert it", "truth": truth})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return load_benchmark(folder)


@pytest.fixture
def benchmark_(tmp_path: Path) -> Benchmark:
    return make_benchmark(tmp_path / "benchmark")


def metrics() -> list[Metric]:
    return [MaskIoU()]


def make_plan(benchmark: Benchmark, method: Method, results: Path) -> RunPlan:
    return RunPlan("invert", "invert", lambda: method, {"name": "invert"}, benchmark, metrics, results, batch_size=3)


def test_a_run_is_done_once(benchmark_: Benchmark, tmp_path: Path) -> None:
    method = Invert()
    plan = make_plan(benchmark_, method, tmp_path)
    first, second = run(plan), run(plan)
    assert (first.run.edited, first.new, second.new) == (7, 7, 0)
    assert method.asked == [f"s{i}" for i in range(7)]
    assert first.run.metrics.equals(second.run.metrics)
    assert first.run.metrics["value"].tolist() == [1.0] * 7


def test_a_failure_is_a_row_and_the_rest_goes_on(benchmark_: Benchmark, tmp_path: Path) -> None:
    report = run(make_plan(benchmark_, Invert(fails=("s1",), raises=("s4",)), tmp_path)).run
    assert report.edited == 5
    assert {(f.id, f.stage, f.message) for f in report.failures} == {
        ("s1", "segmenter", "no box found"),
        ("s4", "method", "out of memory"),
    }
    record = RunStore(tmp_path, report.run_id).finished()["s1"]
    assert record.decisions.segmentation_prompt == "cat"


def test_failed_samples_are_done_again_only_when_asked(benchmark_: Benchmark, tmp_path: Path) -> None:
    plan = make_plan(benchmark_, Invert(fails=("s1",)), tmp_path)
    run(plan)
    better = replace(plan, method=Invert)
    assert run(better).new == 0
    again = run(replace(better, retry_failed=True))
    assert (again.new, again.run.edited, len(again.run.failures)) == (1, 7, 0)


@pytest.mark.parametrize(("limit", "done"), [(True, 3), (1, 6), (0.2, 6), (0.9, 7), (False, 7)])
def test_fail_on_error_stops_where_it_says(
    benchmark_: Benchmark, tmp_path: Path, limit: bool | int | float, done: int
) -> None:
    plan = make_plan(benchmark_, Invert(fails=("s1", "s3")), tmp_path)
    outcome = run(replace(plan, fail_on_error=limit))
    assert outcome.run.edited + outcome.run.failed == done
    assert outcome.stopped == (done < 7)


def test_a_request_sees_its_own_samples_and_metrics_in_its_own_order(benchmark_: Benchmark, tmp_path: Path) -> None:
    class Other(MaskIoU):
        name = "other"
        higher_is_better = False

    plan = make_plan(benchmark_, Invert(fails=("s1",)), tmp_path)
    run(plan)
    both = replace(plan, metrics=lambda: [Other(), MaskIoU()], label="called otherwise")
    whole = run(both).run
    assert whole.metrics["metric"].tolist() == ["other", "mask_iou"] * 6
    assert set(whole.metrics["label"]) == {"called otherwise"}
    assert whole.higher_is_better == {"other": False, "mask_iou": True}
    part = run(replace(plan, benchmark=replace(benchmark_, samples=benchmark_.samples[:2]))).run
    assert (part.run_id, list(part.records), part.edited, part.failed) == (plan.run_id, ["s0", "s1"], 1, 1)
    assert part.metrics[["sample_id", "metric"]].to_numpy().tolist() == [["s0", "mask_iou"]]
    stored = read_run(part.store)
    assert (len(stored.records), len(stored.metrics)) == (7, 12)


@pytest.mark.parametrize("damage", ["missing", "truncated", "text"])
def test_a_bad_picture_costs_its_own_sample_alone(benchmark_: Benchmark, tmp_path: Path, damage: str) -> None:
    path = benchmark_.samples[2].image
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:40] if damage == "truncated" else b"not a picture")
    report = run(make_plan(benchmark_, Invert(), tmp_path)).run
    assert report.edited == 6
    (failure,) = report.failures
    assert (failure.id, failure.stage) == ("s2", "input")
    assert str(path) in failure.message


def test_the_run_id_follows_what_decides_the_numbers_and_nothing_else(benchmark_: Benchmark, tmp_path: Path) -> None:
    plan = make_plan(benchmark_, Invert(), tmp_path)
    same = replace(plan, label="other", results=tmp_path / "x", batch_size=1, retry_failed=True, config="a: b")
    assert same.run_id == plan.run_id
    assert replace(plan, seed=1).run_id != plan.run_id
    assert replace(plan, decides={"name": "other"}).run_id != plan.run_id
    assert replace(plan, benchmark=make_benchmark(tmp_path / "other", 6)).run_id != plan.run_id


def test_a_metric_is_computed_again_when_its_card_or_the_picture_changes(benchmark_: Benchmark, tmp_path: Path) -> None:
    class Stricter(MaskIoU):
        def details(self) -> dict[str, object]:
            return {**super().details(), "threshold": "stricter"}

    plan = make_plan(benchmark_, Invert(), tmp_path)
    old = run(plan).run.metrics["card_id"].unique().tolist()
    new = run(replace(plan, metrics=lambda: [Stricter()])).run.metrics["card_id"].unique().tolist()
    assert len(old) == len(new) == 1
    assert old != new
    cards = json.loads((tmp_path / "runs" / plan.run_id / "cards.json").read_text())
    assert {*old, *new} == set(cards)


@pytest.mark.parametrize("damage", [b"", b"PAR1 and no more", b"[1]", b"{"])
@pytest.mark.parametrize("name", ["metrics.parquet", "cards.json", "config.yaml", "manifest.json"])
def test_a_damaged_file_is_written_again_with_one_warning(
    benchmark_: Benchmark, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: bytes
) -> None:
    method = Invert()
    plan = replace(make_plan(benchmark_, method, tmp_path), config="name: invert\n")
    before = run(plan).run
    path = before.store.folder / name
    sound = path.read_bytes()
    path.write_bytes(damage)
    for _ in range(2):
        after = run(plan).run
        assert after.metrics.equals(before.metrics)
        assert (after.cards, after.config, after.higher_is_better) == (before.cards, before.config, {"mask_iou": True})
        assert after.finished is not None
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    assert name == "manifest.json" or path.read_bytes() == sound
    assert len(method.asked) == 7


def test_a_damaged_line_is_done_again_and_reported_once(
    benchmark_: Benchmark, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    method = Invert()
    plan = make_plan(benchmark_, method, tmp_path)
    lines = run(plan).run.store.folder / "samples.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b'{"id": "s3"', b'{"id": "s3'))
    outcomes = [run(plan), run(plan)]
    assert [(o.new, list(o.run.records)) for o in outcomes] == [(n, [f"s{i}" for i in range(7)]) for n in (1, 0)]
    assert method.asked[7:] == ["s3"]
    (record,) = caplog.records
    assert "damaged lines (4) are moved to samples.damaged" in record.getMessage()


def test_damaged_metrics_are_left_out_of_what_is_only_read(
    benchmark_: Benchmark, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = run(make_plan(benchmark_, Invert(), tmp_path)).run
    path = done.store.folder / "metrics.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    (read,) = read_runs(tmp_path)
    assert (read.edited, len(read.values)) == (7, 0)
    assert f"{path}: damaged and left out; the run's command writes it again" in caplog.text


SLOW = """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, {root!r})
    from eval.benchmarks.base import load_benchmark
    from tests.eval.runs.test_runner import Invert, make_plan
    from eval.runs.runner import run
    from dataclasses import replace

    class Slow(Invert):
        def edit(self, requests):
            time.sleep(0.15)
            return super().edit(requests)

    method = Slow()
    plan = make_plan(load_benchmark(Path({folder!r})), method, Path({results!r}))
    print("ready", flush=True)
    sys.stdin.readline()
    outcome = run(replace(plan, batch_size=1, waits={waits}))
    print(outcome.new, len(method.asked), outcome.run.edited, len(outcome.run.metrics), flush=True)
"""


def slow(tmp_path: Path, waits: Sequence[bool] = (True,)) -> list[subprocess.Popen[str]]:
    """Start processes that edit the benchmark at the same time, one sample after the other."""
    parts = {"root": str(ROOT), "folder": str(tmp_path / "benchmark"), "results": str(tmp_path / "a")}
    codes = [textwrap.dedent(SLOW.format(**parts, waits=w)) for w in waits]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([sys.executable, "-c", c], stdin=pipe, stdout=pipe, cwd=ROOT, text=True) for c in codes
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


def test_a_killed_run_finishes_what_is_missing_and_equals_an_undisturbed_one(
    benchmark_: Benchmark, tmp_path: Path
) -> None:
    (process,) = slow(tmp_path)
    method = Invert()
    killed = make_plan(benchmark_, method, tmp_path / "a")
    store = RunStore(tmp_path / "a", killed.run_id)
    deadline = time.monotonic() + 30
    while len(store.finished()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = set(store.finished())
    assert 2 <= len(before) < 7
    run(killed)
    assert not before & set(method.asked)
    undisturbed = make_plan(benchmark_, Invert(), tmp_path / "b")
    run(undisturbed)
    other = RunStore(tmp_path / "b", undisturbed.run_id)
    assert records_equal_ignoring_timing(store.finished(), other.finished())


def test_processes_of_one_run_share_its_samples(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark", 24)
    processes = slow(tmp_path, (True, True, False))
    reports = [list(map(int, process.communicate(timeout=60)[0].split())) for process in processes]
    store = RunStore(tmp_path / "a", make_plan(benchmark, Invert(), tmp_path / "a").run_id)
    assert [store.lines().get(s.id, 0) for s in benchmark.samples] == [1] * 24
    assert sum(new for new, *_ in reports) == 24
    assert all(new == asked > 2 for new, asked, *_ in reports)
    # Those that wait have the whole run at their end, whoever edited and scored it.
    assert [(edited, values) for _, _, edited, values in reports[:2]] == [(24, 24)] * 2
    alone = run(make_plan(benchmark, Invert(), tmp_path / "b")).run
    assert records_equal_ignoring_timing(store.finished(), alone.store.finished())
    together = read_run(store).narrowed(benchmark, ["mask_iou"])
    assert together.values.equals(alone.values)
    assert {s.finished is None for s in together.sessions} == {False}


def test_a_second_process_does_what_a_killed_one_leaves(benchmark_: Benchmark, tmp_path: Path) -> None:
    first, second = slow(tmp_path, waits=(True, True))
    store = RunStore(tmp_path / "a", make_plan(benchmark_, Invert(), tmp_path / "a").run_id)
    deadline = time.monotonic() + 30
    while len(store.finished()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    first.kill()
    first.communicate()
    new, asked, edited, values = map(int, second.communicate(timeout=60)[0].split())
    assert new == asked
    assert (edited, values) == (7, 7)
    assert [store.lines().get(s.id, 0) for s in benchmark_.samples] == [1] * 7


def test_a_claimed_sample_is_left_to_its_process_or_waited_for(
    benchmark_: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("eval.runs.sharing.POLL", 0.1)
    method = Invert(fails=("s1",))
    plan = make_plan(benchmark_, method, tmp_path)
    other = RunStore(tmp_path, plan.run_id)
    with other.claim(["s1", "s3"], 2):
        part = run(replace(plan, waits=False))
        assert (part.new, list(part.run.records)) == (5, ["s0", "s2", "s4", "s5", "s6"])
        assert caplog.text == ""
        waiting = threading.Thread(target=run, args=(plan,))
        waiting.start()
        said, until = "waiting for another process that edits 2 samples, such as s1", time.monotonic() + 60
        while said not in caplog.text and time.monotonic() < until:
            time.sleep(0.1)
        assert said in caplog.text
        assert len(method.asked) == 5
    waiting.join(30)
    assert sorted(method.asked) == [f"s{i}" for i in range(7)]
    # A failure is repeated by one process, even if it fails in the same way.
    with other.claim(["s1"], 1):
        again = threading.Thread(target=run, args=(replace(plan, retry_failed=True),))
        again.start()
        time.sleep(0.5)
        other.write(Failure("s1", "segmenter", "StageError", "no box found"), benchmark_.samples[1])
    again.join(30)
    assert len(method.asked) == 7


def test_a_finished_run_builds_neither_method_nor_metrics(benchmark_: Benchmark, tmp_path: Path) -> None:
    def unwanted() -> Any:
        raise AssertionError("built")

    scored = replace(make_plan(benchmark_, Invert(), tmp_path), scoring="these metrics")
    first = run(scored)
    finished = replace(scored, method=unwanted, metrics=unwanted)
    again = run(finished)
    assert again.new == 0
    assert again.run.metrics.equals(first.run.metrics)
    with pytest.raises(AssertionError, match="built"):
        run(replace(finished, scoring="other metrics"))
    # Whatever happens to a derived file, values are looked at again.
    folder = tmp_path / "runs" / scored.run_id
    (folder / "cards.json").write_text("{}")
    with pytest.raises(AssertionError, match="built"):
        run(finished)
    run(scored)
    assert run(finished).run.metrics.equals(first.run.metrics)
    (folder / "metrics.parquet").unlink()
    with pytest.raises(AssertionError, match="built"):
        run(finished)
    with pytest.raises(AssertionError, match="built"):
        run(replace(finished, seed=1))
    assert not (tmp_path / "runs" / replace(finished, seed=1).run_id).exists()
