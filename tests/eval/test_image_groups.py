"""Samples of one image are not independent, so intervals resample, and tests permute, whole images."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from eval.analysis.differences import differences
from eval.analysis.stats import mean_interval, paired_difference
from eval.analysis.summary import summary
from eval.benchmarks.base import load_benchmark
from eval.report.build import report
from eval.runs.records import COUNTS, ROWS
from tests.eval.report.test_report import Fade, make_benchmark, make_run, request


def test_samples_of_one_picture_share_an_image_id(tmp_path: Path) -> None:
    lines = [
        {"id": "a", "image": "one.png"}, {"id": "b", "image": "one.png"}, {"id": "c", "image": "copy.png"},
        {"id": "d", "image": "two.png"}, {"id": "e", "image": "two.png", "image_id": "film"},
        {"id": "f", "image": "gone.png"}, {"id": "g", "image": "lost.png"},
    ]  # fmt: skip
    for name, colour in (("one", "red"), ("copy", "red"), ("two", "blue")):
        Image.new("RGB", (4, 4), colour).save(tmp_path / f"{name}.png")
    text = "\n".join(json.dumps(line | {"instruction": "Change it"}) for line in lines)
    (tmp_path / "manifest.jsonl").write_text(text)
    images = load_benchmark(tmp_path).images
    assert images["a"] == images["b"] == images["c"] != images["d"]
    assert (images["e"], images["f"], images["g"]) == ("film", "f", "g")


def rows(values: dict[str, np.ndarray], images: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    found = [
        (run, run, f"s{i:02}", f"i{image}", "lpips", float(value), "card", "")
        for run, own in values.items()
        for i, (value, image) in enumerate(zip(own, images, strict=True))
    ]
    counts = pd.DataFrame([(run, run, len(images), 0) for run in values], columns=list(COUNTS))
    return pd.DataFrame(found, columns=list(ROWS)), counts


def test_two_equal_methods_differ_significantly_in_five_of_a_hundred_experiments() -> None:
    """Twelve images with five instructions each, whose differences between two methods share half of their variance."""
    random = np.random.default_rng(0)
    images, experiments = np.repeat(np.arange(12), 5), 150
    rejected = {"by image": 0, "by sample": 0}
    for _ in range(experiments):
        noise = random.normal(size=(2, 60)) + random.normal(size=(2, 12))[:, images]
        for name, groups in (("by image", images), ("by sample", np.arange(60))):
            found = differences(*rows({"base": noise[0], "other": noise[1]}, groups), "base")
            rejected[name] += found["p_value"].iloc[0] < 0.05
    # Two standard errors of a rate of 0.05 over 150 experiments are 0.036.
    assert rejected["by image"] / experiments < 0.086
    assert rejected["by sample"] / experiments > 0.15


def test_the_interval_of_a_mean_draws_whole_images() -> None:
    values, images = np.random.default_rng(1).normal(size=24), np.repeat(np.arange(8), 3)
    row = summary(*rows({"run": values}, images)).iloc[0]
    expected = mean_interval(values.tolist(), images.tolist())
    assert (row["mean"], row["low"], row["high"], row["n"]) == (expected.mean, expected.low, expected.high, 24)
    assert expected != mean_interval(values.tolist())


def test_images_of_a_single_sample_change_no_digit() -> None:
    values = np.random.default_rng(2).lognormal(size=30)
    other = np.random.default_rng(3).lognormal(size=30)
    frame, counts = rows({"base": values, "other": other}, np.arange(30))
    alone, row = mean_interval(values.tolist()), summary(frame, counts).iloc[0]
    assert (row["low"], row["high"]) == (alone.low, alone.high)
    paired, difference = paired_difference(other.tolist(), values.tolist()), differences(frame, counts, "base").iloc[0]
    assert (difference["low"], difference["high"]) == (paired.interval.low, paired.interval.high)
    assert difference["p_value"] == paired.p_value


@pytest.mark.parametrize("is_old", [False, True])
def test_the_report_knows_the_images_of_its_runs(tmp_path: Path, is_old: bool) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark")
    for i in (1, 2):
        benchmark.samples[i].image.write_bytes(benchmark.samples[0].image.read_bytes())
    benchmark = load_benchmark(tmp_path / "benchmark")
    run_id = make_run(benchmark, tmp_path / "results", Fade(0.5), "instructedit", ratio=0.5)
    if is_old:  # runs of earlier versions noted no image_id
        path = tmp_path / "results" / "runs" / run_id / "samples.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps({k: v for k, v in x.items() if k != "image_id"}) + "\n" for x in lines))
    (study,) = report(request(tmp_path / "results")).studies
    own = study.frame[study.frame["metric"] == "lpips"]
    assert own["image_id"].nunique() == 4
    expected = mean_interval(own["value"].tolist(), own["image_id"].tolist())
    row = study.summary.set_index("metric").loc["lpips"]
    assert (row["low"], row["high"]) == (expected.low, expected.high)
