"""A study: the runs of one benchmark that go on the page together, and what was left out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from eval.analysis.components import Labels, labelled, verdicts
from eval.analysis.stats import DEFAULT, INTERVALS
from eval.analysis.summary import on_images, summary
from eval.benchmarks.base import Benchmark, configured
from eval.display.style import method_place, metric_place
from eval.runs.identity import ID_VERSION
from eval.runs.labels import distinguished
from eval.runs.run import Run, counts_of, direction_of, frame_of
from instructedit.checks import is_number
from instructedit.types import ConfigError, Sample


@dataclass(frozen=True)
class Study:
    """The runs of one benchmark, in the order that every table and figure has."""

    name: str
    """Of the benchmark, as the runs' configurations call it."""
    benchmark: Benchmark
    """Whole, whatever part of it the runs did."""
    runs: tuple[Run, ...]
    defaults: Mapping[str, Any]
    """Hyperparameters as ``conf/config.yaml`` sets them: the run nearest to them stands for its method."""
    reference: str
    """Label, run id or method that the others are compared with."""
    notes: tuple[str, ...] = ()
    """What was left out and why, a line each."""
    labels: Labels | None = None
    """People's verdicts, in place of those that the runs have."""
    interval: str = DEFAULT
    """Of metrics and their differences: one of :data:`eval.analysis.stats.INTERVALS`."""

    @property
    def interval_title(self) -> str:
        """As texts call the interval."""
        return INTERVALS[self.interval]

    @cached_property
    def judged(self) -> pd.DataFrame:
        """The verdicts of which component accuracy is reported: those on the reference's method.

        Where it was run on paraphrases of the instructions, these alone, as in the paper's §5, so that a sweep over
        the instructions as they stand does not weigh in. With the columns ``variation``, ``ratio`` and ``described``.
        """
        runs = {r.run_id: r for r in self.runs}
        name = self.reference_run.name if self.reference_run else self.reference
        own = self.verdicts[self.verdicts["run_id"].isin([r.run_id for r in self.of(name)])]
        own = own.assign(
            variation=[runs[i].variation for i in own["run_id"]],
            ratio=[runs[i].hyperparameter("ratio") for i in own["run_id"]],
            described=[runs[i].is_described for i in own["run_id"]],
        )
        return own[own["variation"] > 0] if (own["variation"] > 0).any() else own

    @cached_property
    def key(self) -> str:
        """The name as part of an anchor or a path."""
        return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in self.name)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Metric rows of all runs, see :mod:`eval.analysis.summary`."""
        return self._one_card_a_metric[0]

    @property
    def mixed_cards(self) -> list[str]:
        """What was left out because a metric was computed in several ways, a line each."""
        return self._one_card_a_metric[1]

    @cached_property
    def counts(self) -> pd.DataFrame:
        """Edits and failures of each run."""
        return counts_of(self.runs)

    @cached_property
    def numbers(self) -> pd.DataFrame:
        """The rows of :attr:`frame` that tables have columns of."""
        return self.frame[self.frame["metric"].isin(self.metrics)]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Means and intervals, from :func:`eval.analysis.summary.summary`."""
        return summary(self.numbers, self.counts, interval=self.interval)

    @cached_property
    def cards(self) -> dict[str, Mapping[str, Any]]:
        """The cards of the numbers in :attr:`frame`, by id; empty for one that was not stored."""
        known = {k: v for run in self.runs for k, v in run.cards.items()}
        return {str(id_): known.get(id_, {}) for id_ in dict.fromkeys(self.frame["card_id"])}

    @property
    def metrics(self) -> list[str]:
        """What tables have columns of, in their order: the paper's metrics first.

        Verdicts on components are none: a mean over the edits, without the failures, would be a rate of nothing.
        """
        found = [str(m) for m in dict.fromkeys(self.frame["metric"])]
        numbers = [m for m in found if "judge" not in self.cards[self.card_id(m)]]
        return sorted(numbers, key=lambda m: (metric_place(m), found.index(m)))

    def card_id(self, metric: str) -> str:
        """Of all of a metric's values."""
        return str(self.frame[self.frame["metric"] == metric]["card_id"].iloc[0])

    def higher_is_better(self, metric: str) -> bool | None:
        """By the metric's card; None where that was not stored."""
        return direction_of(self.cards[self.card_id(metric)])

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """Which component was right (:mod:`eval.analysis.components`): people's verdicts where there are any."""
        if self.labels:
            return labelled(self.runs, [self.benchmark], self.labels)
        runs = [replace(r, values=r.values[r.values["card_id"].isin(self.cards)]) for r in self.runs]
        return verdicts(runs, [self.benchmark])

    @property
    def methods(self) -> list[str]:
        """Names of the methods, in the order of the runs."""
        return list(dict.fromkeys(r.name for r in self.runs))

    def of(self, name: str) -> list[Run]:
        """A method's runs."""
        return [r for r in self.runs if r.name == name]

    def representative(self, name: str) -> Run | None:
        """The run that stands for a method, where one alone is shown.

        Returns:
            With the benchmark's own instructions, then without descriptions, then of most samples, then with
            hyperparameters nearest to the defaults, then the latest; None where the method has no run.
        """

        def rank(run: Run) -> tuple[bool, bool, int, int, str]:
            own = {k: run.hyperparameter(k) for k in self.defaults}
            shared = sum(own[k] == v for k, v in self.defaults.items() if own[k] is not None)
            return not run.variation, not run.is_described, len(run.records), shared, run.finished or ""

        return max(self.of(name), key=rank, default=None)

    @cached_property
    def reference_run(self) -> Run | None:
        """The run that :attr:`reference` names."""
        exact = [r for r in self.runs if self.reference in (r.run_id, r.label, r.plain_label)]
        return exact[-1] if exact else self.representative(self.reference)

    def family(self, run: Run, key: str) -> list[Run]:
        """Runs that differ from this one in one hyperparameter alone, this one among them, by its value."""
        own = _rest(run, key)
        alike = [r for r in self.of(run.name) if _rest(r, key) == own and is_number(r.hyperparameter(key))]
        # A hyperparameter twice the same would be two runs of one thing, which have one address.
        return sorted(alike, key=lambda r: float(r.hyperparameter(key)))  # type: ignore[arg-type]

    @property
    def folders(self) -> set[Path]:
        """The benchmark's folders, as the runs' configurations name them."""
        named = (run.config.get("benchmark") for run in self.runs)
        return {Path(str(b["folder"])) for b in named if isinstance(b, Mapping) and b.get("folder")}

    @property
    def whole(self) -> int:
        """Samples of the benchmark."""
        return len(self.benchmark.samples)

    @cached_property
    def _one_card_a_metric(self) -> tuple[pd.DataFrame, list[str]]:
        frame = on_images(frame_of(self.runs), self.benchmark.images)
        kept, lines = frame, []
        for metric, cards in frame.groupby("metric", sort=False)["card_id"]:
            most, *others = cards.value_counts().index
            for card in others:
                # Another card is another scale: a mean over both would mean nothing.
                odd = (kept["metric"] == metric) & (kept["card_id"] == card)
                labels = ", ".join(dict.fromkeys(kept[odd]["label"]))
                kept = kept[~odd]
                lines.append(
                    f"{metric}: {odd.sum()} values of {labels} were computed by card {card}, not {most} as the others, "
                    "and are left out; the same run command again computes them anew"
                )
        return kept, lines


def studies(
    runs: Sequence[Run],
    defaults: Mapping[str, Any],
    reference: str,
    labels: Labels | None = None,
    interval: str = DEFAULT,
) -> list[Study]:
    """Sort runs by benchmark, and leave out those of an older content of it."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(benchmark_name(run), []).append(run)
    found = (_study(name, own, defaults, reference) for name, own in sorted(groups.items()))
    return [replace(study, labels=labels, interval=interval) for study in found]


def benchmark_name(run: Run) -> str:
    """The benchmark that a run's configuration names."""
    benchmark = run.config.get("benchmark")
    return str(benchmark.get("name", "unknown")) if isinstance(benchmark, Mapping) else "unknown"


def _study(name: str, runs: list[Run], defaults: Mapping[str, Any], reference: str) -> Study:
    benchmark, notes = _benchmark(name, runs)
    kept: list[Run] = []
    for run in runs:
        reason = _other_benchmark(run, benchmark)
        if reason:
            notes.append(f"{run.label} ({run.run_id}) is left out: {reason}")
        else:
            kept.append(run.in_order_of(benchmark))
    return Study(name, benchmark, tuple(sorted(distinguished(kept), key=_order)), defaults, reference, tuple(notes))


def _benchmark(name: str, runs: list[Run]) -> tuple[Benchmark, list[str]]:
    """The benchmark as the latest run names it; if it is gone, what the runs remember of it, without its pictures."""
    reason = "no run's configuration names its folder"
    tried = []
    for run in reversed(runs):
        named = run.config.get("benchmark")
        if isinstance(named, Mapping) and named.get("folder") and named not in tried:
            tried.append(named)
            try:
                return configured(named, run.store.root), []
            except ConfigError as error:
                reason = str(error)
    records = {k: record for run in runs for k, record in run.records.items()}
    samples = tuple(
        Sample(k, Path(), r.instruction, category=r.category, edit=r.edit, image_id=r.image_id)
        for k, r in sorted(records.items())
    )
    note = f"the pictures of benchmark {name} are not shown: {reason}"
    return Benchmark(name, "", samples), [note]


def _other_benchmark(run: Run, benchmark: Benchmark) -> str | None:
    if not run.records:
        return "it has no samples"
    version = run.run_id.partition("-")[0]
    if version != ID_VERSION:
        return f"its address is of version {version} and this code writes {ID_VERSION}; run its command again"
    if not benchmark.revision:
        return None
    try:
        known = {s.id: s.instruction for s in benchmark.worded(run.variation).samples}
    except ConfigError as error:
        return str(error)
    if any(known.get(k) != record.instruction for k, record in run.records.items()):
        return f"its samples are not those of {benchmark.name} as it is now"
    if run.was_made_on(benchmark) is False:
        return f"it was made on another revision of {benchmark.name}, or by another version of the code"
    return None


def _order(run: Run) -> tuple[Any, ...]:
    numbers = [float(v) for v in run.hyperparameters.values() if is_number(v)]
    return method_place(run.name), run.name, run.variation, numbers, run.label


def _rest(run: Run, key: str) -> tuple[Any, ...]:
    others = {path: v for path, v in run.hyperparameters.items() if path.rpartition(".")[2] != key}
    return others, run.checkpoints, run.config.get("seed"), run.variation
