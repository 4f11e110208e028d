"""A study: the runs of one benchmark that are shown together, and notes about the runs that are left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from eval.analysis.components import Labels, labelled, verdicts
from eval.analysis.judge_audit import is_audited
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
    """The runs of one benchmark, in the order of all tables and figures."""

    name: str
    """Name of the benchmark in the configurations of the runs."""
    benchmark: Benchmark
    """The complete benchmark, even if the runs edited a part of it."""
    runs: tuple[Run, ...]
    """The runs of methods."""
    defaults: Mapping[str, Any]
    """Default hyperparameters from ``conf/config.yaml``; the run nearest to them represents its method."""
    reference: str
    """Label, run id or method of the run with which the others are compared."""
    notes: tuple[str, ...] = ()
    """One line for each run that is left out, with the reason."""
    labels: Labels | None = None
    """Human verdicts, which replace those of the runs."""
    answers: pd.DataFrame | None = None
    """Answers of a user study on this benchmark, see :mod:`eval.analysis.preference`."""
    interval: str = DEFAULT
    """Interval method for metrics and their differences: one of :data:`eval.analysis.stats.INTERVALS`."""
    audit_runs: tuple[Run, ...] = ()
    """Runs of edits whose truth is known, see :mod:`eval.analysis.judge_audit`. They are no methods, so only the audit
    and the provenance show them."""

    @property
    def interval_title(self) -> str:
        """Name of the interval method in texts."""
        return INTERVALS[self.interval]

    @cached_property
    def judged(self) -> pd.DataFrame:
        """The verdicts on the reference's method, from which component accuracy is computed.

        If the method was run on paraphrases of the instructions, only those runs are included, as in the paper's §5;
        sweeps over the original instructions are excluded. The additional columns are ``variation``, ``ratio`` and
        ``described``.
        """
        runs = {r.run_id: r for r in self.runs}
        name = self.reference_run.name if self.reference_run else self.reference
        judged = self.verdicts[self.verdicts["run_id"].isin([r.run_id for r in self.of(name)])]
        judged = judged.assign(
            variation=[runs[i].variation for i in judged["run_id"]],
            ratio=[runs[i].hyperparameter("ratio") for i in judged["run_id"]],
            described=[runs[i].is_described for i in judged["run_id"]],
        )
        return judged[judged["variation"] > 0] if (judged["variation"] > 0).any() else judged

    @cached_property
    def key(self) -> str:
        """The name as part of an anchor or a path."""
        return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in self.name)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Metric rows of the methods' runs, see :mod:`eval.analysis.summary`."""
        return self._one_card_a_metric[0]

    @cached_property
    def audit_frame(self) -> pd.DataFrame:
        """Metric rows of :attr:`audit_runs`."""
        return self._audits_one_card_a_metric[0]

    @property
    def mixed_cards(self) -> list[str]:
        """One line for each group of values that is left out, because its card differs from that of most values."""
        return [*self._one_card_a_metric[1], *self._audits_one_card_a_metric[1]]

    @cached_property
    def counts(self) -> pd.DataFrame:
        """Edits and failures of each run."""
        return counts_of(self.runs)

    @cached_property
    def numbers(self) -> pd.DataFrame:
        """The rows of :attr:`frame` for the metrics that are columns of tables."""
        return self.frame[self.frame["metric"].isin(self.metrics)]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Means and intervals, from :func:`eval.analysis.summary.summary`."""
        return summary(self.numbers, self.counts, interval=self.interval)

    @cached_property
    def cards(self) -> dict[str, Mapping[str, Any]]:
        """The cards of all values, by id; a card that was not stored is empty."""
        known = {k: v for run in self.all_runs for k, v in run.cards.items()}
        ids = dict.fromkeys([*self.frame["card_id"], *self.audit_frame["card_id"]])
        return {str(id_): known.get(id_, {}) for id_ in ids}

    @property
    def metrics(self) -> list[str]:
        """The metrics that are columns of tables, in their order; the paper's metrics come first.

        Component verdicts are excluded, because their mean over the edits would ignore the failures.
        """
        all_metrics = [str(m) for m in dict.fromkeys(self.frame["metric"])]
        numbers = [m for m in all_metrics if "judge" not in self.cards[self.card_id(m)]]
        return sorted(numbers, key=lambda m: (metric_place(m), all_metrics.index(m)))

    def card_id(self, metric: str) -> str:
        """Return the card id of a metric's values."""
        return str(self.frame[self.frame["metric"] == metric]["card_id"].iloc[0])

    def higher_is_better(self, metric: str) -> bool | None:
        """Return the direction on the metric's card; None if the card was not stored."""
        return direction_of(self.cards[self.card_id(metric)])

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """Component verdicts, see :mod:`eval.analysis.components`; human verdicts if there are labels."""
        if self.labels:
            return labelled(self.runs, [self.benchmark], self.labels)
        shown = set(self.frame["card_id"])
        runs = [replace(r, values=r.values[r.values["card_id"].isin(shown)]) for r in self.runs]
        return verdicts(runs, [self.benchmark])

    @property
    def all_runs(self) -> tuple[Run, ...]:
        """The methods' runs, and then those of audits."""
        return *self.runs, *self.audit_runs

    @property
    def methods(self) -> list[str]:
        """Names of the methods in the order of the runs."""
        return list(dict.fromkeys(r.name for r in self.runs))

    def of(self, name: str) -> list[Run]:
        """Return the runs of a method."""
        return [r for r in self.runs if r.name == name]

    def representative(self, name: str) -> Run | None:
        """Return the run that represents a method where only one is shown.

        Returns:
            The run that is first by these criteria, in this order: it has the benchmark's original instructions, it has
            no descriptions, it has the most samples, it has the most default hyperparameters, it finished last. None if
            the method has no run.
        """

        def rank(run: Run) -> tuple[bool, bool, int, int, str]:
            values = {k: run.hyperparameter(k) for k in self.defaults}
            shared = sum(values[k] == v for k, v in self.defaults.items() if values[k] is not None)
            return not run.variation, not run.is_described, len(run.records), shared, run.finished or ""

        return max(self.of(name), key=rank, default=None)

    @cached_property
    def reference_run(self) -> Run | None:
        """The run that :attr:`reference` names."""
        exact = [r for r in self.runs if self.reference in (r.run_id, r.label, r.plain_label)]
        return exact[-1] if exact else self.representative(self.reference)

    def family(self, run: Run, key: str) -> list[Run]:
        """Return this run and those that differ from it only in one hyperparameter, in the order of its values.

        The values are distinct, because runs with equal configurations have the same address.
        """
        rest = _rest(run, key)
        alike = [r for r in self.of(run.name) if _rest(r, key) == rest and is_number(r.hyperparameter(key))]
        return sorted(alike, key=lambda r: float(r.hyperparameter(key)))  # type: ignore[arg-type]

    @property
    def folders(self) -> set[Path]:
        """The benchmark's folders, as the runs' configurations name them."""
        named = (run.config.get("benchmark") for run in self.all_runs)
        return {Path(str(b["folder"])) for b in named if isinstance(b, Mapping) and b.get("folder")}

    @property
    def whole(self) -> int:
        """Number of samples of the benchmark."""
        return len(self.benchmark.samples)

    @cached_property
    def _one_card_a_metric(self) -> tuple[pd.DataFrame, list[str]]:
        return self._with_one_card_a_metric(self.runs)

    @cached_property
    def _audits_one_card_a_metric(self) -> tuple[pd.DataFrame, list[str]]:
        return self._with_one_card_a_metric(self.audit_runs)

    def _with_one_card_a_metric(self, runs: Sequence[Run]) -> tuple[pd.DataFrame, list[str]]:
        frame = on_images(frame_of(runs), self.benchmark.images)
        kept, lines = frame, []
        for metric, cards in frame.groupby("metric", sort=False)["card_id"]:
            most, *others = cards.value_counts().index
            for card in others:
                # Values with different cards are not comparable, so they must not be averaged.
                odd = (kept["metric"] == metric) & (kept["card_id"] == card)
                labels = ", ".join(dict.fromkeys(kept[odd]["label"]))
                kept = kept[~odd]
                lines.append(
                    f"{metric}: {odd.sum()} values of {labels} have card {card} instead of {most} and are left out; "
                    "repeat the run's command to recompute them"
                )
        return kept, lines


def studies(
    runs: Sequence[Run],
    defaults: Mapping[str, Any],
    reference: str,
    labels: Labels | None = None,
    interval: str = DEFAULT,
    answers: pd.DataFrame | None = None,
) -> list[Study]:
    """Group runs by benchmark, without those on an earlier revision of it.

    Answers of a user study are those of the benchmark that has all their samples.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(benchmark_name(run), []).append(run)
    grouped = (_study(name, group, defaults, reference) for name, group in sorted(groups.items()))
    return [
        replace(study, labels=labels, interval=interval, answers=_own(answers, study.benchmark)) for study in grouped
    ]


def _own(answers: pd.DataFrame | None, benchmark: Benchmark) -> pd.DataFrame | None:
    return answers if answers is not None and set(answers["sample_id"]) <= benchmark.images.keys() else None


def benchmark_name(run: Run) -> str:
    """Return the name of the benchmark in a run's configuration."""
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
    ordered = sorted(distinguished(kept), key=_order)
    methods, audits = (tuple(r for r in ordered if is_audited(r) is wanted) for wanted in (False, True))
    return Study(name, benchmark, methods, defaults, reference, tuple(notes), audit_runs=audits)


def _benchmark(name: str, runs: list[Run]) -> tuple[Benchmark, list[str]]:
    """Read the benchmark that the latest run names.

    Returns:
        The benchmark and no notes. If no folder can be read, a benchmark made from the runs' records, without pictures,
        and a note.
    """
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
        return f"its samples differ from those of the present {benchmark.name}"
    if run.was_made_on(benchmark) is False:
        return f"it was made on another revision of {benchmark.name}, or by another version of the code"
    return None


def _order(run: Run) -> tuple[Any, ...]:
    numbers = [float(v) for v in run.hyperparameters.values() if is_number(v)]
    return method_place(run.name), run.name, run.variation, numbers, run.label


def _rest(run: Run, key: str) -> tuple[Any, ...]:
    others = {path: v for path, v in run.hyperparameters.items() if path.rpartition(".")[2] != key}
    return others, run.checkpoints, run.config.get("seed"), run.variation
