"""Hostile pictures, instructions, manifests and values: each is a result, a failure or a line, never a crash."""

import os
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from PIL import Image

from eval.benchmarks.base import Benchmark, load_benchmark
from eval.benchmarks.check import check
from eval.runs.runner import run
from instructedit.language import RulesLanguage
from instructedit.types import ConfigError, Sample
from scripts.app import CONF
from scripts.values import check_values
from tests.eval.runs.test_runner import Invert, make_plan
from tests.faults import corpus
from tests.faults.conftest import Tally


def is_clear(line: str) -> bool:
    """Whether a message is one printable line of bearable length."""
    return bool(line.strip()) and line.isprintable() and len(line) < 2_000


def read(folder: Path) -> Benchmark | ConfigError:
    try:
        return load_benchmark(folder)
    except ConfigError as error:
        return error


def test_every_hostile_picture_is_a_result_or_a_failure(tmp_path: Path, tally: Tally) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    samples = []
    for number, (name, data) in enumerate(corpus.pictures()):
        (folder / name).write_bytes(data)
        samples.append(Sample(f"s{number}", folder / name, "invert it"))
    os.mkfifo(folder / "pipe.png")
    (folder / "dead.png").symlink_to("nowhere.png")
    samples += [Sample(name, folder / f"{name}.png", "invert it") for name in ("pipe", "dead", "absent")]
    assert len(samples) >= 500
    before = {path for path in tmp_path.rglob("*")}
    plan = make_plan(Benchmark("hostile", "1", tuple(samples)), Invert(), tmp_path / "results")
    done = run(plan).run
    assert list(done.records) == [sample.id for sample in samples]
    unclear = [
        f for f in done.failures if f.stage != "input" or not is_clear(f.message) or str(folder) not in f.message
    ]
    assert unclear == []
    assert 20 < done.edited < len(samples) - 100
    outside = {p for p in set(tmp_path.rglob("*")) - before if not p.is_relative_to(tmp_path / "results")}
    assert outside == set()
    tally("hostile pictures in one run", len(samples), len(samples) - len(done.records))


def test_every_hostile_instruction_has_an_answer(tmp_path: Path, tally: Tally) -> None:
    answers = RulesLanguage().parse(list(corpus.INSTRUCTIONS), [None] * len(corpus.INSTRUCTIONS))
    assert len(answers) == len(corpus.INSTRUCTIONS)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    samples = tuple(Sample(f"s{n}", tmp_path / "a.png", text) for n, text in enumerate(corpus.INSTRUCTIONS))
    plan = make_plan(Benchmark("hostile", "1", samples), Invert(raises=("s3",)), tmp_path / "results")
    done = run(plan).run
    assert [record.instruction for record in done.records.values()] == list(corpus.INSTRUCTIONS)
    tally("hostile instructions", len(samples), len(samples) - len(done.records))


def test_every_hostile_manifest_is_read_or_refused_in_a_line(tmp_path: Path, tally: Tally) -> None:
    folder, wrong, tries = tmp_path / "benchmark", 0, 0
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "cat.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    (folder / "out.png").symlink_to(tmp_path / "outside.png")
    (folder / "loop.png").symlink_to("loop.png")
    for text in corpus.manifests(folder):
        tries += 1
        (folder / "manifest.jsonl").write_bytes(text)
        benchmark = read(folder)
        if isinstance(benchmark, ConfigError):
            assert is_clear(str(benchmark)), text[:200]
            assert str(folder) in str(benchmark)
        else:
            for sample in benchmark.samples:
                paths = (sample.image, sample.truth.mask, sample.truth.edited)
                wrong += sum(p is not None and not p.resolve().is_relative_to(folder.resolve()) for p in paths)
                assert sample.id
                assert "/" not in sample.id
        assert all(is_clear(line) for line in check(folder).problems), text[:200]
    tally("hostile manifests", tries, wrong)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["id", "image", "instruction", "variations", "captions", "category", "edit", "truth", "image_id"]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(KEYS, JSON, max_size=6), max_size=3))
def test_any_manifest_is_read_or_refused_in_a_line(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    (tmp_path / "manifest.jsonl").write_bytes(b"".join(corpus._line(line) for line in lines))
    benchmark = read(tmp_path)
    assert not isinstance(benchmark, ConfigError) or is_clear(str(benchmark))


CHECKED = tuple(
    "ratio theta start end guidance_scale dilate image_guidance_scale seed variation max_side paste_back limit "
    "batch_size device fail_on_error retry_failed tuning".split()
)
VALUES = st.none() | st.booleans() | st.floats() | st.integers() | st.text(alphabet="ab .", max_size=9)


@pytest.fixture(scope="module")
def config() -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config")


def refusal(config: DictConfig) -> str | None:
    try:
        check_values(config)
    except ConfigError as error:
        return str(error)
    return None


@settings(max_examples=200, deadline=None)
@given(key=st.sampled_from(CHECKED), value=VALUES)
def test_any_value_of_a_key_is_accepted_or_refused_in_a_line(config: DictConfig, key: str, value: Any) -> None:
    before = config[key]
    try:
        config[key] = value
        line = refusal(config)
    finally:
        config[key] = before
    assert line is None or (key in line and is_clear(line))
