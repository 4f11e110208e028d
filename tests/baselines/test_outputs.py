"""Edits made elsewhere are scored, paired and stored like those of any method."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from baselines.outputs import Outputs
from eval.runs.plan import plan
from eval.runs.run import counts_of, frame_of, read_run
from eval.runs.runner import Outcome, RunPlan, run
from eval.runs.store import RunStore
from instructedit.cache import StageCache
from instructedit.checkpoints import Folder
from instructedit.models import Context, ModelPool
from instructedit.types import ConfigError, EditRequest, EditResult, Failure
from tests.eval.pictures import textured
from tests.eval.runs.test_runner import make_benchmark
from tests.test_conf import CONF


def write(folder: Path, sizes: dict[str, tuple[int, int]]) -> Path:
    for number, (name, size) in enumerate(sizes.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        textured(number, max(size)).crop((0, 0, *size)).save(folder / name)
    return folder


def outputs(folder: Path, size: str = "resample") -> Outputs:
    return Outputs(Context(ModelPool(), StageCache(None), torch.device("cpu")), Folder(str(folder)), size)


def edited(method: Outputs, *ids: str) -> list[EditResult | Failure]:
    return method.edit([EditRequest(i, Image.new("RGB", (64, 48)), "edit it") for i in ids])


def failures(method: Outputs, *ids: str) -> list[str]:
    return [f"{o.error}: {o.message}" for o in edited(method, *ids) if isinstance(o, Failure)]


def test_pictures_are_found_by_their_samples_names(tmp_path: Path) -> None:
    sizes = {"a.png": (64, 48), "fullset/background_change/en/b.webp": (64, 48), ".hidden.png": (64, 48)}
    method = outputs(write(tmp_path, sizes))
    assert [o.id for o in edited(method, "b", "a") if isinstance(o, EditResult)] == ["b", "a"]
    (first,) = edited(method, "a")
    assert isinstance(first, EditResult)
    assert np.array_equal(np.asarray(first.image), np.asarray(Image.open(tmp_path / "a.png")))
    assert (dict(first.seconds), dict(first.evaluations), first.mask) == ({}, {}, None)
    assert failures(method, ".hidden") == [
        f"FileNotFoundError: {tmp_path}/.hidden.png: no such file, nor with another ending or deeper"
    ]


def test_a_missing_damaged_or_ambiguous_picture_is_a_failure_that_names_the_file(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": (64, 48), "x/twice.png": (64, 48), "y/twice.jpg": (64, 48)})
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    missing, broken, twice = failures(outputs(tmp_path), "c", "broken", "a", "twice")
    assert missing.startswith(f"FileNotFoundError: {tmp_path}/c.png: no such file")
    assert broken.startswith(f"StageError: {tmp_path}/broken.png: damaged")
    assert twice.endswith("several pictures of this sample, one is expected: x/twice.png, y/twice.jpg")


def test_an_edit_of_another_size_is_resampled_if_it_shows_the_whole_picture(tmp_path: Path) -> None:
    write(tmp_path, {"large.png": (1024, 768), "rounded.png": (672, 480), "square.png": (512, 512)})
    results = edited(outputs(tmp_path), "large", "rounded", "square")
    assert [o.image.size if isinstance(o, EditResult) else o.message for o in results] == [
        (64, 48), (64, 48), f"{tmp_path}/square.png: 512x512 pixels; the input is 64x48",
    ]  # fmt: skip
    assert failures(outputs(tmp_path, "same"), "large") == [
        f"ValueError: {tmp_path}/large.png: 1024x768 pixels; the input is 64x48"
    ]


def test_wrong_values_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^.*/none: no such file; a folder is expected \(outputs.folder\)$"):
        Folder(str(tmp_path / "none"), "outputs.folder")
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ConfigError, match="no pictures in it; accepted are pictures named after the samples"):
        outputs(tmp_path)
    with pytest.raises(ConfigError, match="method.size=stretch: accepted are resample, same"):
        outputs(write(tmp_path, {"a.png": (64, 48)}), "stretch")


def planned(tmp_path: Path, model: str, *overrides: str) -> RunPlan:
    words = [
        "method=outputs", f"outputs.folder={tmp_path / 'outputs'}", f"outputs.model={model}", "benchmark=folder",
        f"benchmark.folder={tmp_path / 'benchmark'}", "metric=none",
        "+metrics.mse._target_=eval.metrics.region.MseOutside",
        f"results={tmp_path}", "max_side=64", *overrides,
    ]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return plan(compose("config", words))


def both(tmp_path: Path) -> tuple[Outcome, Outcome]:
    return run(planned(tmp_path, "flux")), run(planned(tmp_path, "qwen"))


def test_models_are_runs_with_failures_as_rows_and_one_more_redoes_none(tmp_path: Path) -> None:
    make_benchmark(tmp_path / "benchmark", 4)
    for i in range(4):
        Image.new("RGB", (96, 96), "red").save(tmp_path / f"benchmark/images/{i}.png")
        Image.fromarray(np.tri(96, dtype=np.uint8) * 255).save(tmp_path / f"benchmark/images/m{i}.png")
    write(tmp_path / "outputs" / "flux", {f"s{i}.png": (96, 96) for i in range(4)})
    write(tmp_path / "outputs" / "qwen", {f"s{i}.jpg": (96, 96) for i in range(3)})
    flux, qwen = both(tmp_path)
    assert [(o.run.name, o.run.label, o.new, o.run.edited, o.run.failed) for o in (flux, qwen)] == [
        ("flux", "flux", 4, 4, 0), ("qwen", "qwen", 4, 3, 1),
    ]  # fmt: skip
    (failure,) = qwen.run.failures
    assert (failure.id, failure.stage) == ("s3", "input")
    assert "outputs/qwen/s3.png: no such file" in failure.message
    frame = frame_of([flux.run, qwen.run])
    assert len(frame.dropna(subset=["value"])) == 7
    assert list(counts_of([flux.run, qwen.run])["failed"]) == [0, 1]
    # Pictures larger than max_side are not resampled.
    store = RunStore(tmp_path, flux.run.run_id)
    assert np.array_equal(np.asarray(store.read_result("s0").image), np.asarray(textured(0, 96)))
    assert [o.new for o in both(tmp_path)] == [0, 0]


def test_the_address_contains_the_pictures_and_not_their_place(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark", 2)
    folder = write(tmp_path / "outputs" / "flux", {"s0.png": (16, 16)})
    first = run(planned(tmp_path, "flux"))
    assert read_run(RunStore(tmp_path, first.run.run_id)).was_made_on(benchmark)
    elsewhere = tmp_path / "elsewhere"
    folder.parent.rename(elsewhere)
    assert planned(tmp_path, "flux", f"outputs.folder={elsewhere}").run_id == first.run.run_id
    write(elsewhere / "flux", {"s1.png": (16, 16)})
    elsewhere.rename(tmp_path / "complete")  # a process hashes a folder once
    completed = run(planned(tmp_path, "flux", f"outputs.folder={tmp_path / 'complete'}"))
    assert completed.run.run_id != first.run.run_id
    assert (completed.run.edited, completed.run.failed) == (2, 0)
