"""Component accuracy (paper §5, Fig. 10), and how it depends on the other components.

Verdicts are a data frame with a row for each sample of each run. Its columns include ``sample_id``; ``image_id``, which
is equal for samples of one image and defines the clusters of the intervals; ``language``, ``segmenter`` and ``editor``,
which are True, False, or null without a verdict; and ``judge``, worded to follow "judged by".
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from eval.analysis.agreement import Agreement, agreement, majority
from eval.analysis.stats import Interval, mean_interval
from eval.analysis.tables import read_table, truth_value
from eval.benchmarks.base import Benchmark
from eval.metrics.base import MetricUndefined
from eval.metrics.components.verdicts import EDITOR, LANGUAGE, SEGMENTER, language_is_right
from eval.runs.run import Run
from instructedit.types import ConfigError, Failure, Sample, Stage

METRICS = (LANGUAGE, SEGMENTER, EDITOR)
COMPONENTS: tuple[str, ...] = (Stage.LANGUAGE, Stage.SEGMENTER, Stage.EDITOR)
VERDICTS = ("run_id", "label", "sample_id", "image_id", "edit", *COMPONENTS, "judge")
ANNOTATOR = "annotator"
"""Column of labels: the person."""
TRUTH = "the ground truth"
"""The judge for verdicts by the benchmark's ground truth."""
VLM = "the vision-language model"
"""The judge for verdicts by a model; its name is appended."""


def rates(verdicts: pd.DataFrame) -> dict[str, Interval]:
    """Return the accuracy of each component with a 95 % interval that resamples whole images."""
    intervals = {}
    for component in COMPONENTS:
        judged = verdicts.dropna(subset=[component])
        if len(judged):
            intervals[component] = mean_interval(judged[component].astype(float).tolist(), judged["image_id"].tolist())
    return intervals


def conditional(verdicts: pd.DataFrame, given: bool) -> pd.DataFrame:
    """Return the accuracy of each component, given that another one is right or wrong (Fig. 10).

    Args:
        verdicts: See the module.
        given: True for the left matrix (the other one is right), False for the right one (it is wrong).

    Returns:
        A row for each ordered pair of different components: ``condition, component, rate, right, n``; the rate is null
        if the condition never holds.
    """
    rows = []
    for condition in COMPONENTS:
        cases = verdicts[verdicts[condition].astype("boolean").fillna(not given) == given]
        for component in COMPONENTS:
            if component != condition:
                judged = cases[component].dropna().astype(bool)
                rate = float(judged.mean()) if len(judged) else None
                rows.append((condition, component, rate, int(judged.sum()), len(judged)))
    return pd.DataFrame(rows, columns=["condition", "component", "rate", "right", "n"])


def verdicts(runs: Sequence[Run], benchmarks: Sequence[Benchmark]) -> pd.DataFrame:
    """Return the verdicts of runs that have the metrics of :mod:`eval.metrics.components.truth`, by any judge.

    In a failed sample, the component that failed and all later ones are wrong. Earlier ones are judged by ground truth
    if that is the run's judge; other judges have no verdicts on failed samples.

    Returns:
        Columns ``VERDICTS``; ``edit`` is one of the paper's four edit types. Runs without these metrics have no rows.
    """
    samples = {s.id: s for benchmark in benchmarks for s in benchmark.samples}
    images = {k: image for benchmark in benchmarks for k, image in benchmark.images.items()}
    rows = []
    for run in runs:
        metrics = run.metrics[run.metrics["metric"].isin(METRICS)]
        if not len(metrics):
            continue
        judge = " and ".join(dict.fromkeys(_judge(run.cards.get(str(card), {})) for card in metrics["card_id"]))
        wide = metrics.pivot(index="sample_id", columns="metric", values="value")
        by_sample = {str(k): [_bool(v.get(m)) for m in METRICS] for k, v in wide.to_dict("index").items()}
        for failure in run.failures:
            if failure.id in samples:
                language = _by_truth(samples[failure.id], failure) if judge == TRUTH else None
                by_sample[failure.id] = _failed(failure, language)
        rows += [(run.run_id, run.label, k, images[k], samples[k].edit, *v, judge) for k, v in by_sample.items()]
    return _table(rows)


def _judge(card: Mapping[str, Any]) -> str:
    if card.get("judge") == "vlm":
        return f"{VLM} {card['model']}"
    return TRUTH if card.get("judge") == "truth" else str(card.get("judge", "someone whose card was not stored"))


def _table(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(VERDICTS)).astype(dict.fromkeys(COMPONENTS, "boolean"))


def _bool(value: object) -> bool | None:
    return None if pd.isna(value) else bool(value)


def _by_truth(sample: Sample, failure: Failure) -> bool | None:
    try:
        return language_is_right(sample, failure.decisions)
    except MetricUndefined:
        return None


def _failed(failure: Failure, language: bool | None) -> list[bool | None]:
    """Return the verdicts on a failed sample, given the verdict on its language processor."""
    if failure.stage not in (Stage.SEGMENTER, Stage.EDITOR):
        return [False, False, False]
    # If the editor failed there was a mask, but failures do not store it.
    return [language, False if failure.stage == Stage.SEGMENTER else None, False]


@dataclass(frozen=True)
class Labels:
    """Human verdicts."""

    name: str
    """Name of the file."""
    judgements: pd.DataFrame
    """From :func:`read_labels`."""

    @property
    def annotators(self) -> int:
        """Number of annotators; 1 if the table does not name them."""
        return self.judgements["annotator"].nunique() if ANNOTATOR in self.judgements else 1

    @property
    def judge(self) -> str:
        """The judge, worded to follow "judged by"."""
        by = f", the majority of {self.annotators} annotators" if self.annotators > 1 else ""
        return f"people: {self.name}{by}"

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each sample and run: where annotators differ, the majority's verdict, and none in a tie."""
        return majority(self.judgements, _item(self.judgements), COMPONENTS) if self.annotators > 1 else self.judgements

    def agreements(self, samples: Collection[str]) -> dict[str, Agreement]:
        """Return the agreement of the annotators on each component, on the given samples; none of one annotator."""
        if self.annotators < 2:
            return {}
        own = self.judgements[self.judgements["id"].isin(samples)]
        item = _item(own)
        own = own.assign(**{column: own[column].fillna("") for column in item})
        found = {component: agreement(own, item, ANNOTATOR, component) for component in COMPONENTS}
        return {component: value for component, value in found.items() if value is not None}


def labelled(runs: Sequence[Run], benchmarks: Sequence[Benchmark], labels: Labels) -> pd.DataFrame:
    """Return human verdicts on the labelled samples of runs, in place of :func:`verdicts`.

    A label with a run_id applies to that run and takes precedence over one without, which applies to every run. In a
    failed sample, the component that failed and all later ones are wrong, independent of the label.

    Returns:
        See :func:`verdicts`.
    """
    kinds = {s.id: s.edit for benchmark in benchmarks for s in benchmark.samples}
    images = {k: image for benchmark in benchmarks for k, image in benchmark.images.items()}
    by_run: dict[tuple[str, str], list[bool | None]] = {}
    for line in labels.table.to_dict("records"):
        run_id = "" if pd.isna(line.get("run_id")) else str(line["run_id"])
        by_run[run_id, line["id"]] = [_bool(line[c]) for c in COMPONENTS]
        if not pd.isna(line["image_id"]):
            images[line["id"]] = line["image_id"]
    rows = []
    for run in runs:
        failures = {f.id: f for f in run.failures}
        for k in run.records:
            if (values := by_run.get((run.run_id, k)) or by_run.get(("", k))) and k in kinds:
                values = _failed(failures[k], values[0]) if k in failures else values
                rows.append((run.run_id, run.label, k, images[k], kinds[k], *values, labels.judge))
    return _table(rows)


def sensitivity(verdicts: pd.DataFrame, group: Sequence[str]) -> Interval | None:
    """Return the share of edits that are right under one setting but wrong under another (the paper's 74.6 %, §5).

    Args:
        verdicts: Verdicts on runs that differ only in the setting.
        group: Columns that identify one edit, such as sample_id and variation.

    Returns:
        None if no edit with at least two settings is right under any of them.
    """
    judged = verdicts.dropna(subset=[Stage.EDITOR])
    groups = judged.assign(editor=judged["editor"].astype(bool)).groupby(list(group), sort=False)
    edits = groups[Stage.EDITOR].agg(["size", "any", "all"]).assign(image_id=groups["image_id"].first())
    edits = edits[(edits["size"] > 1) & edits["any"]]
    if edits.empty:
        return None
    return mean_interval((~edits["all"]).astype(float).tolist(), edits["image_id"].tolist())


def read_labels(path: Path) -> pd.DataFrame:
    """Read human verdicts from a CSV or Parquet table.

    Args:
        path: A table with the columns ``id`` (of the sample), ``language``, ``segmenter`` and ``editor``, and
            optionally ``run_id`` (without it, a verdict applies to every run), ``image_id`` (replaces the benchmark's;
            formerly called ``case``) and ``annotator``, with a row for each one. Verdicts are true/false, 1/0, yes/no
            or right/wrong; an empty cell is no verdict.

    Returns:
        The table; ``image_id`` is null if the benchmark's applies.

    Raises:
        ConfigError: The table is not valid. The message names the file, the column, the row, the value and the accepted
            values.
    """
    table = read_table(path, "labels")
    if missing := [name for name in ("id", *COMPONENTS) if name not in table.columns]:
        raise ConfigError(f"{path}: lacks the columns {', '.join(missing)}; needed are id, {', '.join(COMPONENTS)}")
    if "case" in table.columns:
        if "image_id" in table.columns:
            raise ConfigError(f"{path}: has the columns image_id and case, two names of one thing; one is accepted")
        table = table.rename(columns={"case": "image_id"})
    if "image_id" not in table.columns:
        table["image_id"] = None
    for column in {"id", "run_id", "image_id", ANNOTATOR} & set(table.columns):
        table[column] = [_text(value) for value in table[column]]
    if (empty := table["id"].isna()).any():
        raise ConfigError(f"{path}: row {empty.argmax() + 2}, column id: empty; accepted are the ids of samples")
    for component in COMPONENTS:
        table[component] = [
            truth_value(value, f"{path}: row {row}, column {component}")
            for row, value in enumerate(table[component], start=2)
        ]
        table[component] = table[component].astype("boolean")
    keys = [*_item(table), ANNOTATOR] if ANNOTATOR in table else _item(table)
    if ANNOTATOR in table:
        table[ANNOTATOR] = table[ANNOTATOR].fillna("unnamed")
    if (repeated := table.duplicated(keys)).any():
        row = int(repeated.argmax())
        raise ConfigError(
            f"{path}: row {row + 2}, column id: sample {table['id'].iloc[row]!r} is labelled more than once; accepted "
            "is one label for each sample, run and annotator"
        )
    for sample, images in table.dropna(subset=["image_id"]).groupby("id")["image_id"]:
        if len(several := list(dict.fromkeys(images))) > 1:
            raise ConfigError(
                f"{path}: column image_id: sample {sample!r} has {' and '.join(map(repr, several))}; one is accepted"
            )
    return table


def _item(table: pd.DataFrame) -> list[str]:
    """Return the columns that say what a label is about."""
    return ["id", "run_id"] if "run_id" in table else ["id"]


def _text(value: object) -> str | None:
    """Return a cell as text (Parquet tables may contain numbers); None if it is empty."""
    return None if pd.isna(value) else str(value).strip() or None
