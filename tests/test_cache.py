"""The cache returns the stored values to any process, and never damaged ones."""

import importlib
import json
import logging
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image

from instructedit.cache import StageCache, code_of, hash_image
from instructedit.types import Stage

KEY = StageCache.key("inversion", 1, image="abc", steps=50)


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    trajectory = torch.randn(5, 4, 16, 16, generator=generator)
    return {
        "trajectory": trajectory,
        "last": trajectory[-1],  # shares memory, which safetensors refuses
        "turned": trajectory[0].transpose(1, 2),
        "half": trajectory.bfloat16(),
        "mask": trajectory[0, 0] > 0,
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(3),
    }


def test_tensors_come_back_bit_for_bit(tmp_path):
    StageCache(tmp_path).put("inversion", KEY, tensors())
    cache = StageCache(tmp_path)
    back = cache.get("inversion", KEY)
    assert back is not None
    assert back.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)
    back["trajectory"][0] = 0  # the caller's own, to write to
    assert cache.hits["inversion"] == 1
    assert cache.misses["inversion"] == 0


def test_json_comes_back(tmp_path):
    value = {"caption": "photo of a café \u2028 cat", "score": 0.1 + 0.2, "boxes": [[1, 2.0]], "none": None}
    cache = StageCache(tmp_path)
    assert cache.get_json("language", KEY) is None
    cache.put_json("language", KEY, value)
    assert cache.get_json("language", KEY) == value
    assert (cache.hits["language"], cache.misses["language"]) == (1, 1)
    assert cache.get("language", KEY) is None  # tensors and JSON values have separate files
    with pytest.raises(ValueError, match="None"):
        cache.put_json("language", KEY, None)


def test_files_stand_where_the_design_says(tmp_path):
    cache = StageCache(tmp_path)
    cache.put("inversion", KEY, tensors())
    cache.put_json("inversion", KEY, [1])
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert names == [f"inversion/{KEY[:2]}/{KEY}.json", f"inversion/{KEY[:2]}/{KEY}.safetensors"]
    with pytest.raises(ValueError, match="file names"):
        cache.put("../elsewhere", KEY, tensors())


def test_without_a_root_nothing_is_stored():
    cache = StageCache(None)
    cache.put("inversion", KEY, tensors())
    cache.put_json("inversion", KEY, 1)
    assert cache.get("inversion", KEY) is None
    assert cache.get_json("inversion", KEY) is None
    assert cache.misses["inversion"] == 2


def test_key_depends_on_every_part_and_on_nothing_else():
    assert len(KEY) == 64
    assert StageCache.key("inversion", 1, steps=50, image="abc") == KEY
    assert StageCache.key(Stage.INVERSION, 1, steps=50, image="abc") == KEY
    assert StageCache.key("a", 1, x=(1, 2)) == StageCache.key("a", 1, x=[1, 2])
    others = [
        StageCache.key("inversion", 2, image="abc", steps=50),
        StageCache.key("map", 1, image="abc", steps=50),
        StageCache.key("inversion", 1, image="abd", steps=50),
        StageCache.key("inversion", 1, image="abc", steps=50.0),
        StageCache.key("inversion", 1, image="abc", steps="50"),
        StageCache.key("inversion", 1, image="abc", steps=50, scale=0.1),
        StageCache.key("inversion", 1, image="abc", steps=50, scale=0.1 + 1e-17 * 10),
    ]
    assert len({KEY, *others}) == len(others) + 1


@pytest.mark.parametrize("part", [object(), torch.float32, {1, 2}, {1: "a"}, [{"a": b""}]])
def test_key_refuses_what_has_no_canonical_form(part):
    with pytest.raises(TypeError, match="part"):
        StageCache.key("a", 1, part=part)


def test_key_is_stable_across_releases():
    # A change of this key invalidates all existing caches.
    assert KEY.startswith("0826be094ecdb56c")


def test_any_damage_is_found_reported_once_and_repaired(tmp_path, caplog):
    cache = StageCache(tmp_path)
    cache.put("map", KEY, {"x": torch.arange(4)})
    (path,) = tmp_path.rglob("*.safetensors")
    sound = path.read_bytes()
    spoilt = [sound[:n] for n in range(0, len(sound), 7)]
    spoilt += [bytes([*sound[:n], sound[n] ^ 1, *sound[n + 1 :]]) for n in range(len(sound))]
    for data in [*spoilt, sound + b"x", b"[]", (2).to_bytes(8, "little") + b"[]"]:
        path.write_bytes(data)
        caplog.clear()
        assert cache.get("map", KEY) is None
        assert cache.get("map", KEY) is None
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert str(path) in caplog.text
        assert not path.exists()
    assert cache.hits["map"] == 0
    cache.put("map", KEY, {"x": torch.arange(4)})
    assert path.read_bytes() == sound
    assert cache.get("map", KEY) is not None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"3", b"{}", b'{"sha256": 1, "value": 2}', b"\xff"])
def test_damaged_json_is_a_miss(tmp_path, damage):
    cache = StageCache(tmp_path)
    cache.put_json("parse", KEY, {"prompt": "cat"})
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(damage)
    assert cache.get_json("parse", KEY) is None
    assert not path.exists()


def test_changed_json_is_a_miss(tmp_path):
    cache = StageCache(tmp_path)
    cache.put_json("parse", KEY, {"prompt": "cat"})
    (path,) = tmp_path.rglob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"value": {"prompt": "dog"}}))
    assert cache.get_json("parse", KEY) is None


def test_a_place_that_cannot_be_written_costs_the_caching_only(tmp_path, caplog):
    (tmp_path / "map").write_text("a file where a folder should be")
    cache = StageCache(tmp_path)
    cache.put("map", KEY, {"x": torch.zeros(1)})
    assert "cannot store" in caplog.text
    assert cache.get("map", KEY) is None


def test_what_a_killed_writer_left_is_never_read_and_swept_when_old(tmp_path):
    cache = StageCache(tmp_path)
    cache.put("map", KEY, {"x": torch.zeros(1)})
    (path,) = tmp_path.rglob("*.safetensors")
    fresh, old = (path.with_name(f".{name}-{path.name}.tmp") for name in ("fresh", "old"))
    fresh.write_bytes(b"half")
    old.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    assert StageCache(tmp_path).get("map", KEY) is not None
    assert sorted(path.parent.iterdir()) == sorted([fresh, path])


def share(root: Path) -> str:
    """Read and write the same three results repeatedly; return the numbers of wrong reads and of reads."""
    cache, wrong = StageCache(root), 0
    for turn in range(40):
        key = StageCache.key("map", 1, number=turn % 3)
        found = cache.get("map", key)
        wrong += found is not None and not torch.equal(found["x"], torch.full((64, 64), turn % 3))
        cache.put("map", key, {"x": torch.full((64, 64), turn % 3)})
    return f"{wrong} wrong of {cache.hits['map'] + cache.misses['map']}"


def test_two_processes_share_a_cache(tmp_path):
    # Forked, because importing torch anew takes far longer than the test; on one thread (conftest) that is safe.
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        assert list(pool.map(share, [tmp_path, tmp_path])) == ["0 wrong of 40"] * 2
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 3


def compute_once(job: tuple[Path, int]) -> int:
    """Ask for two results that take long, and return how many this process computed."""
    root, first = job
    keys = [StageCache.key("map", 1, number=number) for number in ((0, 1) if first else (1, 0))]

    def slow(missing: list[int]) -> list[dict[str, torch.Tensor]]:
        time.sleep(0.5)
        return [{"x": torch.zeros(1)} for _ in missing]

    entries, is_computed = StageCache(root).once("map", keys, slow)
    assert len(entries) == 2
    return sum(is_computed)


def test_processes_that_need_the_same_results_at_once_compute_them_once(tmp_path):
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        assert sorted(pool.map(compute_once, [(tmp_path, 0), (tmp_path, 1)])) == [0, 2]


def hold(root: Path) -> None:
    """Hold the lock of a result until killed."""
    with StageCache(root).lock("map", [KEY]):
        (root / "held").touch()
        time.sleep(600)


def test_a_process_that_dies_with_a_lock_blocks_nobody(tmp_path):
    holder = multiprocessing.get_context("fork").Process(target=hold, args=(tmp_path,))
    holder.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    assert holder.pid is not None
    threading.Timer(0.3, os.kill, (holder.pid, signal.SIGKILL)).start()
    start = time.monotonic()
    _, is_computed = StageCache(tmp_path).once("map", [KEY], lambda _: [{"x": torch.zeros(1)}])
    assert is_computed == [True]
    assert 0.2 < time.monotonic() - start < 30  # it waited, and not for the sleeper
    holder.join()


def test_equal_keys_are_computed_once_and_counted_as_hits_later(tmp_path):
    cache, asked = StageCache(tmp_path), list[list[int]]()

    def compute(missing: list[int]) -> list[dict[str, torch.Tensor]]:
        asked.append(missing)
        return [{"x": torch.tensor(i)} for i in missing]

    other = StageCache.key("inversion", 1, image="other")
    entries, is_computed = cache.once("map", [KEY, other, KEY], compute)
    assert [int(e["x"]) for e in entries] == [0, 1, 0]
    assert (asked, is_computed) == ([[0, 1]], [True, True, False])
    _, is_computed = cache.once("map", [other, KEY], compute)
    assert (len(asked), is_computed) == (1, [False, False])
    assert (cache.hits["map"], cache.misses["map"]) == (2, 2)


def test_code_of_changes_with_the_source(tmp_path, monkeypatch):
    module = tmp_path / "some_stage.py"
    monkeypatch.syspath_prepend(tmp_path)
    module.write_text("def f(): return 1")
    before = code_of(importlib.import_module("some_stage").f)
    code_of.cache_clear()
    module.write_text("def f(): return 2")
    assert code_of(importlib.import_module("some_stage").f) != before


def test_hash_image_is_of_the_pixels():
    image = Image.new("RGB", (2, 3), "red")
    assert hash_image(image) == hash_image(image.copy())
    others = [Image.new("RGB", (3, 2), "red"), Image.new("RGB", (2, 3), "blue"), Image.new("RGBA", (2, 3), "red")]
    assert len({hash_image(other) for other in [image, *others]}) == 4
