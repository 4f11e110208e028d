"""Fair tuning: every method gets equally many tries over its own hyperparameters, and one rule chooses for each sample.

The paper tuned each method's hyperparameters by hand for each image (D.2). Here the rule sees no ground truth: of a
sample's tries it takes the one that gains most directional similarity for the LPIPS that it costs. Nothing is edited or
scored again.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from eval.metrics.base import MetricUndefined
from eval.metrics.entries import Entry, load_metrics
from eval.runs.records import FailureRecord, SampleRecord
from eval.runs.run import VALUES, Run, frame_of
from instructedit.checks import require
from instructedit.files import digest, write_aside
from instructedit.models import Context
from instructedit.types import ConfigError, EditRequest, EditResult, Sample

log = logging.getLogger(__name__)
FOLDER = "tuning"
"""Below the results."""
GAIN, COST = "clip_directional", "lpips"
VERDICT = "editor_right"


@dataclass(frozen=True)
class Rule:
    """``clip_directional - weight * lpips``, the largest of a sample's tries; of equals the first."""

    weight: float
    """Of LPIPS: what a unit of perceptual distance must bring in directional similarity."""

    def __post_init__(self) -> None:
        require(self.weight >= 0, "tuning.weight", self.weight, "numbers from 0 on")

    @property
    def text(self) -> str:
        """The rule in words, as reports print it."""
        return f"{GAIN} − {self.weight:g} · {COST}"

    def value(self, gain: float, cost: float) -> float:
        """How much an edit is liked: directional similarity less weighted LPIPS."""
        return gain - self.weight * cost

    def choose(self, tries: pd.DataFrame) -> "pd.Series[str]":
        """The run_id chosen for each sample.

        Args:
            tries: long rows of one method's runs, see :mod:`eval.analysis.summary`.

        Returns:
            Indexed by ``sample_id``; a sample for which no try has both metrics gets its first try.
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
        chosen: pd.Series[str] = scored.drop_duplicates("sample_id").set_index("sample_id")["run_id"].sort_index()
        return chosen


class EditScorer:
    """The rule as :class:`instructedit.wrappers.auto_ratio.AutoRatio` asks it, edit by edit.

    Args:
        context: Models and device.
        weight: Of the rule.
        metrics: Entries of the rule's two metrics, which load when there is an edit to score.
    """

    def __init__(self, context: Context, weight: float, metrics: Mapping[str, Entry]) -> None:
        self.rule = Rule(weight)
        self._metrics = partial(load_metrics, tuple(metrics.values()), context)

    def __call__(self, request: EditRequest, edit: EditResult) -> float:
        """Return the rule's value, minus infinity where one of its metrics is undefined."""
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
    """A sweep that had a rule: its runs by address, in their order, so that a report chooses among just those."""

    rule: Rule
    runs: tuple[str, ...]


def remember(results: Path, choice: Choice) -> None:
    """Write ``results/tuning/<hash of the runs>.json``."""
    value = {"weight": choice.rule.weight, "runs": list(choice.runs)}
    with write_aside(results / FOLDER / f"{digest(value)[:16]}.json") as file:
        file.write(json.dumps(value, indent=1).encode() + b"\n")


def remembered(results: Path) -> list[Choice]:
    """What sweeps remembered, by name of their files; a file that is none is left out and logged."""
    found = []
    for path in sorted((results / FOLDER).glob("*.json")):
        try:
            value = json.loads(path.read_bytes())
            found.append(Choice(Rule(float(value["weight"])), tuple(map(str, value["runs"]))))
        except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
            log.warning("%s: cannot be read and is left out (%s)", path, error)
    return found


def tuned(runs: Sequence[Run], rule: Rule) -> list[Run]:
    """A row a method: for each sample the try that the rule chooses.

    Returns:
        Runs that are not on disk, of the methods that have more than one run. Their ``run_id`` is ``tuned-<name>``;
        records and values are those of the chosen tries. A sample failed if all its tries did.
    """
    found = []
    for name in dict.fromkeys(r.name for r in runs):
        own = [r for r in runs if r.name == name]
        if len(own) > 1:
            found.append(_tuned(name, own, rule))
    return found


def _tuned(name: str, own: Sequence[Run], rule: Rule) -> Run:
    by_id = {r.run_id: r for r in own}
    tries = frame_of(own)
    chosen = rule.choose(tries).to_dict() if len(tries) else {}
    records: dict[str, SampleRecord] = {k: by_id[run_id].records[k] for k, run_id in chosen.items()}
    for run in own:
        for k, record in run.records.items():
            if isinstance(record, FailureRecord):
                records.setdefault(k, record)
    return Run(
        run_id=f"tuned-{name}",
        name=name,
        plain_label=f"{name} best of {len(own)}",
        records=records,
        values=tries[tries["run_id"] == tries["sample_id"].map(chosen)][list(VALUES)],
        cards={k: card for run in own for k, card in run.cards.items()},
    )


@dataclass(frozen=True)
class Regret:
    """How well a rule that knows no truth chooses, against one that does; shares of samples, in [0, 1]."""

    name: str
    fixed: float
    """Right with the best single setting."""
    chosen: float
    """Right with the try that the rule chooses."""
    oracle: float
    """Right in at least one try."""
    n: int

    @property
    def regret(self) -> float:
        """What knowing the truth would add."""
        return self.oracle - self.chosen


def regrets(runs: Sequence[Run], rule: Rule) -> list[Regret]:
    """The rule's regret by method, on the samples that the verdicts of :mod:`eval.metrics.components.truth` judge."""
    found = []
    for choice in tuned(runs, rule):
        tries = frame_of([r for r in runs if r.name == choice.name])
        verdicts = tries[tries["metric"] == VERDICT].dropna(subset=["value"])
        own = choice.metrics[choice.metrics["metric"] == VERDICT].dropna(subset=["value"])
        if len(own):
            # Of all samples with an edit: a try that failed was not right.
            right = verdicts.pivot(index="sample_id", columns="run_id", values="value").astype(float).fillna(0.0)
            fixed, oracle = right.mean().max(), right.max(axis=1).mean()
            found.append(Regret(choice.name, float(fixed), float(own["value"].mean()), float(oracle), len(right)))
    return found
