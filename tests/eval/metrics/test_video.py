"""Metrics of clips: identity, worst case, known values, and the true flow of the drawn clips."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.benchmarks.base import load_benchmark
from eval.metrics.base import MetricUndefined
from eval.metrics.video import (
    Reconstruction,
    ReferencePsnr,
    WarpError,
    decoded_flow,
    dis_flow,
    encoded_flow,
    flow_file,
    warp_error,
)
from instructedit.applications.strips import rolled, unrolled
from instructedit.images import load_image
from instructedit.types import Decisions, EditResult, Sample
from tests.applications.clips import moved

FOLDER = Path(__file__).resolve().parents[3] / "data" / "picturebook" / "benchmark_video"
BENCHMARK = load_benchmark(FOLDER)
EVERYWHERE = np.ones((6, 48, 64), bool)


def test_a_flow_is_stored_to_a_64th_of_a_pixel() -> None:
    flow = np.random.default_rng(0).uniform(-30, 30, (2, 5, 7, 2))
    flow[0, 1, 2] = np.nan
    again = decoded_flow(encoded_flow(flow))
    assert np.isnan(again[0, 1, 2]).all()
    assert np.nanmax(np.abs(again - flow)) <= 1 / 128
    with pytest.raises(ValueError, match="31 pixels"):
        encoded_flow(np.full((1, 1, 1, 2), 40.0))


def test_the_warp_error_is_zero_for_what_moves_with_the_flow_and_known_for_a_flicker() -> None:
    still = np.repeat(moved()[:1], 6, axis=0)
    flow = np.zeros((5, 48, 64, 2))
    assert warp_error(still, flow, EVERYWHERE) == 0
    flicker = np.zeros((6, 48, 64, 3), np.uint8)
    flicker[1::2] = 255
    assert warp_error(flicker, flow, EVERYWHERE) == 1  # the worst case
    flicker[1::2] = 51
    assert warp_error(flicker, flow, EVERYWHERE) == pytest.approx(0.04)
    # Whole pixels, so that nothing is interpolated.
    clip, true = moved((2.0, 0.0)), np.zeros((5, 48, 64, 2))
    true[..., 0] = 2
    true[:, :, -2:] = np.nan
    assert warp_error(clip, true, EVERYWHERE) == pytest.approx(0, abs=1e-6)
    assert warp_error(clip, np.nan_to_num(true) * 0, EVERYWHERE) > 1e-3
    with pytest.raises(MetricUndefined, match="no pixel"):
        warp_error(clip, true * np.nan, EVERYWHERE)


def test_dis_flow_is_near_the_true_one_and_leaves_out_what_is_hidden() -> None:
    found = dis_flow(moved((2.0, 0.0)))
    assert np.nanmedian(found[..., 0]) == pytest.approx(2, abs=0.05)
    assert np.isnan(found[:, :, -1]).mean() > 0.5


@pytest.mark.parametrize("sample", BENCHMARK.samples, ids=lambda s: s.id)
def test_the_true_flow_maps_each_clip_to_itself(sample: Sample) -> None:
    clip = unrolled(load_image(sample.image), 24)
    flow = decoded_flow(unrolled(load_image(flow_file(sample)), 23))
    everywhere = np.ones(clip.shape[:3], bool)
    assert np.isfinite(flow[..., 0]).mean() > 0.97
    error = warp_error(clip, flow, everywhere)
    assert error < 1e-3  # antialiased borders and shadows remain
    assert error < 0.8 * warp_error(clip, flow * 0, everywhere)


def test_metrics_of_a_drawn_clip() -> None:
    sample = BENCHMARK.samples[0]
    source, truth = load_image(sample.image), load_image(sample.truth.edited or Path())
    perfect = EditResult(sample.id, truth)
    unchanged = EditResult(sample.id, source, decisions=Decisions(reconstruction=(30.0, 40.0)))
    noise = np.random.default_rng(0).integers(0, 256, (24, 128, 128, 3)).astype(np.uint8)
    noisy = EditResult(sample.id, rolled(noise))
    for region in ("inside", "outside"):
        for flow in ("true", "dis"):
            metric = WarpError(24, region, flow)
            values = [metric.score(sample, source, r, None).value for r in (perfect, noisy)]
            assert values[0] < 60 < 300 < values[1]
            assert metric.card()["name"] == metric.name
    assert len({WarpError(24, r, f).card_id for r in ("inside", "outside") for f in ("true", "dis")}) == 4
    with pytest.raises(MetricUndefined, match="infinite"):
        ReferencePsnr(24).score(sample, source, perfect, None)
    assert (
        ReferencePsnr(24).score(sample, source, unchanged, None).value
        > ReferencePsnr(24).score(sample, source, noisy, None).value
    )
    score = Reconstruction(24).score(sample, source, unchanged, None)
    assert (score.value, score.note) == (35.0, "the worst frame has 30.0 dB")
    with pytest.raises(MetricUndefined, match="without a field"):
        Reconstruction(24).score(sample, source, perfect, None)
    with pytest.raises(MetricUndefined, match="no 24 frames"):
        WarpError(24, "inside", "dis").unrolled(Image.new("RGB", (8, 25)))
