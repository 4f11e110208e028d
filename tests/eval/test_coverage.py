"""Simulated coverage of the intervals; docs/results.md has the full size."""

import pytest

from eval.analysis.coverage import coverage
from scripts import interval_coverage as script


def test_the_studentised_interval_covers_the_mean_of_skewed_values_more_often() -> None:
    found = {method: coverage("lognormal", method, 30, 150) for method in ("bca", "studentised")}
    assert found["bca"].covered < found["studentised"].covered
    assert found["bca"].width < found["studentised"].width
    for shares in found.values():
        assert shares.covered + shares.below + shares.above == pytest.approx(1)
        assert shares.below > shares.above  # few values come from the long tail


def test_intervals_of_normal_values_cover_their_mean_about_as_often_as_they_say() -> None:
    assert 0.85 <= coverage("normal", "bca", 30, 100).covered <= 1


def test_the_script_prints_a_row_for_each_distribution_and_interval(capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(experiments=2) == 0
    printed = capsys.readouterr().out
    for word in ("normal", "lognormal", "BCa", "studentised", "2 experiments of 30 values each"):
        assert word in printed
