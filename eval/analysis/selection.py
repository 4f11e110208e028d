"""Fair tuning: every method has equally many runs with different hyperparameters, and one rule selects per sample.

The paper tuned each method's hyperparameters by hand for each image (D.2). The rule here uses no ground truth: it
selects the run with the largest directional similarity minus weighted LPIPS. Nothing is edited or scored again.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from eval.metrics.base import MetricUndefined
from eval.metrics.components.verdicts import EDITOR
from eval.metrics.entries import Entry, load_metrics
from eval.runs.records import FailureRecord, SampleRecord
from eval.runs.run import VALUES, Run, frame_of
from instructedit.checks import require
from instructedit.files import digest, write_aside
from instructedit.models import Context
from instructedit.types import ConfigError, EditRequest, EditResult, Sample

log = logging.getLogger(__name__)
FOLDER = "tuning"
"""Subfolder of the results folder."""
GAIN, COST = "clip_directional", "lpips"
WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
"""Weights among which cross-validation selects."""
FOLDS = 5
"""Number of folds; all samples of an image are in one."""


@dataclass(frozen=True)
class Rule:
    """Selects the run with the largest ``clip_directional - weight * lpips`` for each sample; of equal ones the first.

    Raises:
        ConfigError: The weight is negative.
    """

    weight: float
    """Weight of LPIPS."""

    def __post_init__(self) -> None:
        require(self.weight >= 0, "tuning.weight", self.weight, "numbers from 0 on")

    @property
    def text(self) -> str:
        """The rule as text for reports."""
        return f"{GAIN} − {self.weight:g} · {COST}"

    def value(self, gain: float, cost: float) -> float:
        """Return the score of an edit: directional similarity minus weighted LPIPS."""
        return gain - self.weight * cost

    def choose(self, tries: pd.DataFrame) -> "pd.Series[str]":
        """Return the run_id selected for each sample.

        Args:
            tries: Long rows of one method's runs, see :mod:`eval.analysis.summary`.

        Returns:
            A series indexed by ``sample_id``; if no run has both metrics for a sample, its first run is selected.

        Raises:
            ConfigError: One of the two metrics was not computed.
        """
        wide = tries.assign(value=pd.to_numeric(tries["value"]).astype(float)).pivot(
            index=["sample_id", "run_id"], columns="metric", values="value"
        )
        if missing := [m for m in (GAIN, COST) if m not in wide]:
            raise ConfigError(f"tuning needs the metrics {GAIN} and {COST}; {', '.join(missing)} is not computed")
        order = {run_id: place for place, run_id in enumerate(dict.fromkeys(tries["run_id"]))}
        scored = (wide[GAIN] - self.weight * wide[COST]).fillna(-float("inf")).reset_index(name="score")
        scored = scored.assign(place=scored["run_id"].map(order)).sort_values(
            ["score", "place"], ascending=[False, True]
        )
        selected: pd.Series[str] = scored.drop_duplicates("sample_id").set_index("sample_id")["run_id"].sort_index()
        return selected


class EditScorer:
    """The rule as a scorer of single edits for :class:`instructedit.wrappers.auto_ratio.AutoRatio`.

    Args:
        context: Models and device.
        weight: Weight of the rule.
        metrics: Entries of the rule's two metrics, which are built when the first edit is scored.
    """

    def __init__(self, context: Context, weight: float, metrics: Mapping[str, Entry]) -> None:
        self.rule = Rule(weight)
        self._metrics = partial(load_metrics, tuple(metrics.values()), context)

    def __call__(self, request: EditRequest, edit: EditResult) -> float:
        """Return the rule's score; minus infinity if one of its metrics is undefined."""
        sample = Sample(request.id, Path(), request.instruction, captions=request.captions)
        captions = edit.decisions.captions or request.captions
        try:
            metrics = {m.name: m for m in self._metrics()}
            gain, cost = (metrics[k].score(sample, request.image, edit, captions).value for k in (GAIN, COST))
        except MetricUndefined:
            return -float("inf")
        return self.rule.value(gain, cost)


@dataclass(frozen=True)
class Choice:
    """A sweep with a rule: the ordered run ids among which the report selects."""

    rule: Rule
    runs: tuple[str, ...]


def remember(results: Path, choice: Choice) -> None:
    """Write ``results/tuning/<hash of the runs>.json``."""
    value = {"weight": choice.rule.weight, "runs": list(choice.runs)}
    with write_aside(results / FOLDER / f"{digest(value)[:16]}.json") as file:
        file.write(json.dumps(value, indent=1).encode() + b"\n")


def remembered(results: Path) -> list[Choice]:
    """Return the stored choices in the order of their file names; files that cannot be read are logged and skipped."""
    choices = []
    for path in sorted((results / FOLDER).glob("*.json")):
        try:
            value = json.loads(path.read_bytes())
            choices.append(Choice(Rule(float(value["weight"])), tuple(map(str, value["runs"]))))
        except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
            log.warning("%s: cannot be read and is left out (%s)", path, error)
    return choices


def tuned(runs: Sequence[Run], rule: Rule) -> list[Run]:
    """Return one combined run per method, with the selected edit of each sample.

    Returns:
        Runs that are not on disk, for the methods with more than one run. Their ``run_id`` is ``tuned-<name>``; records
        and values are those of the selected runs. A sample failed if it failed in all runs.
    """
    tuned_runs = []
    for name in dict.fromkeys(r.name for r in runs):
        candidates = [r for r in runs if r.name == name]
        if len(candidates) > 1:
            tuned_runs.append(_tuned(name, candidates, rule))
    return tuned_runs


def _tuned(name: str, candidates: Sequence[Run], rule: Rule) -> Run:
    by_id = {r.run_id: r for r in candidates}
    tries = frame_of(candidates)
    selected = rule.choose(tries).to_dict() if len(tries) else {}
    records: dict[str, SampleRecord] = {k: by_id[run_id].records[k] for k, run_id in selected.items()}
    for run in candidates:
        for k, record in run.records.items():
            if isinstance(record, FailureRecord):
                records.setdefault(k, record)
    return Run(
        run_id=f"tuned-{name}",
        name=name,
        plain_label=f"{name} best of {len(candidates)}",
        records=records,
        values=tries[tries["run_id"] == tries["sample_id"].map(selected)][list(VALUES)],
        cards={k: card for run in candidates for k, card in run.cards.items()},
    )


@dataclass(frozen=True)
class Regret:
    """Accuracy of a rule without ground truth, compared with an oracle; shares of samples, in [0, 1]."""

    name: str
    fixed: float
    """Share that is right with the best single setting."""
    chosen: float
    """Share that is right with the run that the rule selects."""
    validated: float
    """Share that is right if the rule's weight, of :data:`WEIGHTS`, is the best one on the other folds' images."""
    oracle: float
    """Share that is right in at least one run."""
    n: int
    """Number of samples."""

    @property
    def regret(self) -> float:
        """Difference between the oracle and the rule."""
        return self.oracle - self.chosen


def regrets(runs: Sequence[Run], rule: Rule) -> list[Regret]:
    """Return the rule's regret by method, on samples with verdicts of :mod:`eval.metrics.components.truth`."""
    results = []
    for choice in tuned(runs, rule):
        tries = frame_of([r for r in runs if r.name == choice.name])
        verdicts = tries[tries["metric"] == EDITOR].dropna(subset=["value"])
        selected = choice.metrics[choice.metrics["metric"] == EDITOR].dropna(subset=["value"])
        if len(selected):
            # A failed edit is not right.
            right = verdicts.pivot(index="sample_id", columns="run_id", values="value").astype(float).fillna(0.0)
            fixed, oracle, chosen = right.mean().max(), right.max(axis=1).mean(), selected["value"].mean()
            validated = _validated(tries, right)
            results.append(Regret(choice.name, float(fixed), float(chosen), validated, float(oracle), len(right)))
    return results


def _validated(tries: pd.DataFrame, right: pd.DataFrame) -> float:
    """Return the share that is right with weights chosen by cross-validation; of equal weights the first is taken.

    Args:
        tries: Long rows of one method's runs.
        right: 1 or 0 of each sample (rows) and run (columns).
    """
    by_weight = {}
    for weight in WEIGHTS:
        selected = Rule(weight).choose(tries).reindex(right.index)
        by_weight[weight] = [right.at[k, run_id] if run_id in right else 0.0 for k, run_id in selected.items()]
    verdicts = pd.DataFrame(by_weight, index=right.index)
    images = tries.drop_duplicates("sample_id").set_index("sample_id")["image_id"].reindex(right.index)
    folds = pd.factorize(images)[0] % FOLDS
    if len(set(folds)) == 1:
        return float("nan")
    values = [verdicts.loc[folds == f, verdicts[folds != f].mean().idxmax()] for f in sorted(set(folds))]
    return float(pd.concat(values).mean())
