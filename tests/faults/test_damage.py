"""Files that are deleted, truncated or have a flipped bit are reported and made again; nothing else is done again."""

import contextlib
import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eval.runs.repair import parse_metrics
from eval.runs.runner import run
from eval.runs.store import RunStore
from instructedit.cache import StageCache
from instructedit.files import write_aside
from instructedit.images import is_whole_png
from tests.eval.runs.test_runner import Invert, make_benchmark, make_plan
from tests.faults.conftest import Tally
from tests.faults.forks import Forks
from tests.faults.work import contents

DERIVED = ("metrics.parquet", "cards.json", "scored.json")
PICTURES = ("images/s2.png", "masks/s2.png")


def deleted(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path, place: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 16
    path.write_bytes(data)


DAMAGES = (deleted, truncated, emptied, flipped)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*DERIVED, *PICTURES])
def test_a_damaged_file_of_a_run_is_made_again(
    tmp_path: Path, tally: Tally, caplog: pytest.LogCaptureFixture, name: str, damage: Callable[[Path], None]
) -> None:
    method = Invert(fails=("s1",))
    plan = make_plan(make_benchmark(tmp_path / "benchmark", 5), method, tmp_path / "results")
    plan = replace(plan, scoring="these metrics", config="name: invert\n")
    before = run(plan).run
    expected = contents(tmp_path / "results")
    damage(before.store.folder / name)
    caplog.clear()
    after = run(plan)
    assert after.run.metrics["value"].tolist() == before.metrics["value"].tolist()
    found = contents(tmp_path / "results")
    changed = [key for key in expected if found.get(key) != expected[key] and not key.endswith("samples.jsonl")]
    assert changed == []
    assert method.asked[5:] == (["s2"] if name in PICTURES else [])
    if name in PICTURES:
        assert [str(before.store.folder / name) in r.getMessage() for r in caplog.records] == [True]
    tally(f"{name.split('/')[0]} {damage.__name__}", 1, len(before.records) - len(after.run.records))


def test_every_flipped_bit_of_a_picture_is_seen(tmp_path: Path, tally: Tally) -> None:
    plan = make_plan(make_benchmark(tmp_path / "benchmark", 1), Invert(), tmp_path / "results")
    path = run(plan).run.store.image_path("s0")
    sound, unseen = path.read_bytes(), 0
    for place in range(8 * len(sound)):
        data = bytearray(sound)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        unseen += is_whole_png(path)
    path.write_bytes(sound)
    assert is_whole_png(path)
    tally("each bit of a stored picture flipped, one by one", 8 * len(sound), unseen)


def test_a_flipped_bit_changes_no_metric_value(tmp_path: Path, tally: Tally) -> None:
    plan = make_plan(make_benchmark(tmp_path / "benchmark", 3), Invert(), tmp_path / "results")
    path = run(plan).run.store.folder / "metrics.parquet"
    sound, wrong = path.read_bytes(), 0
    expected = parse_metrics(path)
    for place in range(0, len(sound), 3):
        data = bytearray(sound)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        with contextlib.suppress(ValueError):
            wrong += not parse_metrics(path).equals(expected)
    tally("each third byte of metrics.parquet flipped, one by one", len(range(0, len(sound), 3)), wrong)


def test_a_damaged_picture_is_left_out_where_runs_are_only_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = make_plan(make_benchmark(tmp_path / "benchmark", 3), Invert(), tmp_path / "results")
    flipped(run(plan).run.store.image_path("s1"))
    caplog.clear()
    store = RunStore(tmp_path / "results", plan.run_id)
    assert [list(store.finished()) for _ in range(2)] == [["s0", "s2"]] * 2
    (record,) = caplog.records
    assert "s1.png: damaged" in record.getMessage()


@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_a_damaged_cache_entry_is_reported_and_computed_again(
    tmp_path: Path, tally: Tally, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    key = StageCache.key("inversion", 1, image="x")
    cache = StageCache(tmp_path)
    tensors, value = {"latents": torch.randn(2, 3, generator=torch.Generator().manual_seed(0))}, {"reply": "a cat"}

    def put() -> Path:
        if suffix == "json":
            cache.put_json("inversion", key, value)
        else:
            cache.put("inversion", key, tensors)
        (path,) = tmp_path.glob(f"*/*/*.{suffix}")
        return path

    def get() -> bool:
        """Whether something is there; what is there is right."""
        if suffix == "json":
            found = cache.get_json("inversion", key)
            assert found in (None, value)
        else:
            found = cache.get("inversion", key)
            assert found is None or torch.equal(found["latents"], tensors["latents"])
        return found is not None

    sound, tries, wrong = put().read_bytes(), 0, 0
    generator = random.Random(0)
    damaged = [sound[:n] for n in range(0, len(sound), 7)]
    for _ in range(300):
        data = bytearray(sound)
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        damaged.append(bytes(data))
    damaged += [b"\0" * len(sound), sound + b"\0", b"[]", b"null", b"1"]
    for content in damaged:
        path = put()
        path.write_bytes(content)
        tries, wrong = tries + 1, wrong + get()
        assert not path.exists()
    assert put().read_bytes() == sound
    assert get()
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == tries
    # Of another version of the stage's code: another address.
    assert cache.get_json("inversion", StageCache.key("inversion", 2, image="x")) is None
    tally(f"cache entry ({suffix}) truncated or with a flipped bit", tries, wrong)


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_one_cache(tmp_path: Path, tally: Tally, count: int) -> None:
    logs = [tmp_path / f"log{number}" for number in range(count)]
    rounds, wrong = 40, 0
    servers = [Forks(log) for log in logs]
    started = [server.__enter__() for server in servers]
    try:
        children = [server.start("share_cache", str(tmp_path / "cache"), rounds) for server in started]
        codes = [child.wait() for child in children]
    finally:
        for server in servers:
            server.__exit__(None, None, None)
    wrong = sum(code != 0 for code in codes)
    assert not list((tmp_path / "cache").rglob("*.tmp"))
    tally(f"{count} processes on one cache, which damage its entries", count * rounds, wrong)
    assert wrong == 0, "".join(log.read_text() for log in logs)


def test_temporary_names_differ_where_host_and_process_are_equal(tmp_path: Path, tally: Tally) -> None:
    names = set()
    for _ in range(200):
        with write_aside(tmp_path / "a.json") as first, write_aside(tmp_path / "a.json") as second:
            first.write(b"first")
            second.write(b"second")
            names |= {first.name, second.name}
        assert (tmp_path / "a.json").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    tally("two hosts with one process id write one file", 200, 400 - len(names))


def test_temporary_files_of_killed_processes_go_after_a_day(tmp_path: Path) -> None:
    plan = make_plan(make_benchmark(tmp_path / "benchmark", 2), Invert(), tmp_path / "results")
    folder = run(plan).run.store.folder
    old, young = folder / "images" / ".0-host-s0.png.tmp", folder / ".1-host-metrics.parquet.tmp"
    for path, age in ((old, 25 * 3600), (young, 60)):
        path.touch()
        os.utime(path, (time.time() - age, time.time() - age))
    run(plan)
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize("jump", [-10 * 365 * 86400, 10 * 365 * 86400])
def test_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    method = Invert()
    plan = make_plan(make_benchmark(tmp_path / "benchmark", 4), method, tmp_path / "results")
    part = replace(plan, benchmark=replace(plan.benchmark, samples=plan.benchmark.samples[:2]))
    run(part)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    cache = StageCache(tmp_path / "cache")
    with write_aside(tmp_path / "cache" / "stage" / "ab" / "key.json") as file:
        file.write(b"{}")
        # Another process begins, and sweeps what it takes for old; this one goes on without a cached result at worst.
        StageCache(tmp_path / "cache")
        cache.put_json("stage", "abcd", [1])
        assert cache.get_json("stage", "abcd") == [1]
        Path(file.name).touch()
    done = run(plan)
    assert (done.new, method.asked) == (2, ["s0", "s1", "s2", "s3"])
    assert done.run.metrics["value"].tolist() == [1.0] * 4
    tally("a clock that jumps by ten years", 1, 4 - len(done.run.records))
