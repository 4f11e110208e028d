"""The rule selects without ground truth, and its regret is measured by ground truth."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from eval.analysis.selection import Rule, regrets, tuned
from eval.runs.records import record_of
from eval.runs.run import VALUES, Run
from instructedit.types import ConfigError, EditResult, Failure, Sample

Values = dict[str, tuple[float | None, float | None, float | None]]


def report(run_id: str, values: Values, name: str = "instructedit", failed: tuple[str, ...] = ()) -> Run:
    """A run with ``(clip_directional, lpips, editor_right)`` of each sample."""
    metrics = ("clip_directional", "lpips", "editor_right")
    rows = [
        (sample, sample, metric, value, f"card {metric}", "")
        for sample, own in values.items()
        for metric, value in zip(metrics, own, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=list(VALUES)).astype({"value": "Float64"})
    outcomes: list[EditResult | Failure] = [
        *(EditResult(k, Image.new("RGB", (1, 1))) for k in values),
        *(Failure(k, "segmenter", "StageError", "no box") for k in failed),
    ]
    records = {o.id: record_of(o, Sample(o.id, Path(), "Change it")) for o in outcomes}
    return Run(run_id, name, run_id, records, frame)


WEAK = report("r5", {"a": (0.2, 0.1, 0.0), "b": (0.1, 0.1, 1.0), "c": (0.3, 0.2, 0.0)}, failed=("d", "e"))
STRONG = report(
    "r9", {"a": (0.5, 0.3, 1.0), "b": (0.2, 0.6, 1.0), "c": (0.3, 0.2, 1.0), "d": (0.1, 0.1, 0.0)}, failed=("e",)
)


def test_each_sample_gets_its_best_try_and_equals_the_first() -> None:
    (chosen,) = tuned([WEAK, STRONG], Rule(0.5))
    values = chosen.metrics.pivot(index="sample_id", columns="metric", values="value")["lpips"]
    assert values.to_dict() == {"a": 0.3, "b": 0.1, "c": 0.2, "d": 0.1}
    right = chosen.metrics[chosen.metrics["metric"] == "editor_right"].set_index("sample_id")["value"]
    assert right.to_dict() == {"a": 1.0, "b": 1.0, "c": 0.0, "d": 0.0}
    assert (chosen.label, chosen.edited) == ("instructedit best of 2", 4)
    assert [f.id for f in chosen.failures] == ["e"]


def test_what_is_chosen_has_the_records_of_its_tries_and_no_folder() -> None:
    (chosen,) = tuned([WEAK, STRONG], Rule(0.5))
    tries = {"a": STRONG, "b": WEAK, "c": WEAK, "d": STRONG, "e": WEAK}
    assert chosen.records.keys() == tries.keys()
    assert all(chosen.records[k] is run.records[k] for k, run in tries.items())
    with pytest.raises(ValueError, match="tuned-instructedit is not on disk"):
        _ = chosen.store


def test_the_weight_decides_between_gain_and_cost() -> None:
    for weight, lpips in ((0.0, 0.3), (10.0, 0.1)):
        (chosen,) = tuned([WEAK, STRONG], Rule(weight))
        own = chosen.metrics[(chosen.metrics["sample_id"] == "a") & (chosen.metrics["metric"] == "lpips")]
        assert own["value"].tolist() == [lpips]


def test_methods_are_tuned_apart_and_single_runs_not_at_all() -> None:
    other = report("m1", {"a": (0.9, 0.1, 1.0)}, name="mdp")
    assert [r.name for r in tuned([WEAK, STRONG, other], Rule(0.5))] == ["instructedit"]
    both = tuned([WEAK, other, report("m2", {"a": (0.1, 0.5, 0.0)}, name="mdp")], Rule(0.5))
    assert [(r.name, r.edited) for r in both] == [("mdp", 1)]


def test_an_undefined_try_is_chosen_last() -> None:
    first = report("r5", {"a": (None, 0.1, 0.0)})
    (chosen,) = tuned([first, report("r9", {"a": (-0.5, 0.9, 1.0)})], Rule(0.5))
    assert chosen.metrics["value"].dropna().tolist() == [-0.5, 0.9, 1.0]


def test_regret_is_what_the_truth_would_add() -> None:
    (found,) = regrets([WEAK, STRONG], Rule(0.5))
    assert found.n == 4
    assert found.fixed == 0.75  # r9: a, b, c of a to d
    assert found.oracle == 0.75
    assert found.chosen == 0.5
    assert found.regret == 0.25


def test_the_weight_is_validated_on_other_images() -> None:
    # By gain alone r9 is selected, by the rule's weight of 0.5 r5. Gain is right, but for the sample "a".
    careful = report("r5", {k: (0.1, 0.1, float(k == "a")) for k in "abcde"})
    bold = report("r9", {k: (0.3, 0.9, float(k != "a")) for k in "abcde"})
    (found,) = regrets([careful, bold], Rule(0.5))
    assert (found.chosen, found.validated, found.fixed, found.oracle) == (0.2, 0.8, 0.8, 1.0)
    # Without "b" to "e", the best weight for "a" is not known.
    (alone,) = regrets([report("r5", {"a": (0.1, 0.1, 1.0)}), report("r9", {"a": (0.3, 0.9, 0.0)})], Rule(0.5))
    assert math.isnan(alone.validated)


def test_what_it_needs_is_said() -> None:
    without = [replace(r, values=r.values[r.values["metric"] != "lpips"]) for r in (WEAK, STRONG)]
    with pytest.raises(ConfigError, match="lpips is not computed"):
        tuned(without, Rule(0.5))
    with pytest.raises(ConfigError, match="weight=-1"):
        Rule(-1)
