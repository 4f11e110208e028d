"""Component accuracy (paper §5, Fig. 10): how often each component is right, and how one's failure reaches the others.

The verdicts are a frame with a row for each sample of each run. Its columns are ``sample_id``, what was edited;
``image_id``, equal for samples of one image, for the intervals; ``language``, ``segmenter`` and ``editor``: True,
False, or null where nobody judged; and ``judge``, who did, as a sentence goes on after "judged by".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eval.analysis.stats import Interval, mean_interval
from eval.benchmarks.base import Benchmark
from eval.metrics.base import MetricUndefined
from eval.metrics.components.truth import EditorRight, LanguageRight, SegmenterRight, language_is_right
from eval.runs.run import Run
from instructedit.types import ConfigError, Failure, Sample, Stage

METRICS = (LanguageRight.name, SegmenterRight.name, EditorRight.name)
COMPONENTS: tuple[str, ...] = (Stage.LANGUAGE, Stage.SEGMENTER, Stage.EDITOR)
VERDICTS = ("run_id", "label", "sample_id", "image_id", "edit", *COMPONENTS, "judge")
TRUTH = "the truth"
"""A judge: what the benchmark knows."""
VLM = "the vision-language model"
"""A judge, followed by its name."""
_WORDS = {
    "true": True, "1": True, "1.0": True, "yes": True, "right": True, "correct": True,
    "false": False, "0": False, "0.0": False, "no": False, "wrong": False, "incorrect": False,
}  # fmt: skip


def rates(verdicts: pd.DataFrame) -> dict[str, Interval]:
    """Share of edits in which each component is right, with a 95 % interval that draws whole images."""
    found = {}
    for component in COMPONENTS:
        judged = verdicts.dropna(subset=[component])
        if len(judged):
            found[component] = mean_interval(judged[component].astype(float).tolist(), judged["image_id"].tolist())
    return found


def conditional(verdicts: pd.DataFrame, given: bool) -> pd.DataFrame:
    """Fig. 10: of the cases in which one component is right (``given``) or wrong, the share in which another is right.

    Args:
        verdicts: see the module.
        given: True for the left matrix, False for the right one.

    Returns:
        A row for each ordered pair of different components: ``condition, component, rate, right, n``; the rate is null
        where the condition never holds.
    """
    rows = []
    for condition in COMPONENTS:
        held = verdicts[verdicts[condition].astype("boolean").fillna(not given) == given]
        for component in COMPONENTS:
            if component != condition:
                judged = held[component].dropna().astype(bool)
                rate = float(judged.mean()) if len(judged) else None
                rows.append((condition, component, rate, int(judged.sum()), len(judged)))
    return pd.DataFrame(rows, columns=["condition", "component", "rate", "right", "n"])


def verdicts(runs: Sequence[Run], benchmarks: Sequence[Benchmark]) -> pd.DataFrame:
    """Verdicts of runs whose metrics are those of :mod:`eval.metrics.components.truth`, whoever judged.

    A sample that failed was not edited, so its editor is wrong; so is the component at which it failed, and those after
    it. What came before is judged by the truth, where that is the judge: the others see edits only.

    Returns:
        Columns ``VERDICTS``, ``edit`` being one of the paper's four kinds; no rows where the runs have no such metrics.
    """
    samples = {s.id: s for benchmark in benchmarks for s in benchmark.samples}
    images = {k: image for benchmark in benchmarks for k, image in benchmark.images.items()}
    rows = []
    for run in runs:
        own = run.metrics[run.metrics["metric"].isin(METRICS)]
        if not len(own):
            continue
        judge = " and ".join(dict.fromkeys(_judge(run.cards.get(str(card), {})) for card in own["card_id"]))
        wide = own.pivot(index="sample_id", columns="metric", values="value")
        found = {str(k): [_bool(v.get(m)) for m in METRICS] for k, v in wide.to_dict("index").items()}
        for failure in run.failures:
            if failure.id in samples:
                language = _by_truth(samples[failure.id], failure) if judge == TRUTH else None
                found[failure.id] = _failed(failure, language)
        rows += [(run.run_id, run.label, k, images[k], samples[k].edit, *values, judge) for k, values in found.items()]
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
    """Verdicts on a failure, given one on its language processor."""
    if failure.stage not in (Stage.SEGMENTER, Stage.EDITOR):
        return [False, False, False]
    # Where the editor gave up there was a mask, which the failure does not keep.
    return [language, False if failure.stage == Stage.SEGMENTER else None, False]


@dataclass(frozen=True)
class Labels:
    """People's verdicts."""

    name: str
    """Of the file."""
    table: pd.DataFrame
    """From :func:`read_labels`."""

    @property
    def judge(self) -> str:
        """As a sentence goes on after "judged by"."""
        return f"people: {self.name}"


def labelled(runs: Sequence[Run], benchmarks: Sequence[Benchmark], labels: Labels) -> pd.DataFrame:
    """People's verdicts on runs, in place of :func:`verdicts`: of what they labelled and of nothing else.

    A label with a run_id counts for that run, before one without, which counts for every run. On a sample that failed
    people may judge what came before the failure; from there on all is wrong, whatever the label says.

    Returns:
        As :func:`verdicts`.
    """
    kinds = {s.id: s.edit for benchmark in benchmarks for s in benchmark.samples}
    images = {k: image for benchmark in benchmarks for k, image in benchmark.images.items()}
    said: dict[tuple[str, str], list[bool | None]] = {}
    for line in labels.table.to_dict("records"):
        own = "" if pd.isna(line.get("run_id")) else str(line["run_id"])
        said[own, line["id"]] = [_bool(line[c]) for c in COMPONENTS]
        if not pd.isna(line["image_id"]):
            images[line["id"]] = line["image_id"]
    rows = []
    for run in runs:
        failures = {f.id: f for f in run.failures}
        for k in run.records:
            if (values := said.get((run.run_id, k)) or said.get(("", k))) and k in kinds:
                values = _failed(failures[k], values[0]) if k in failures else values
                rows.append((run.run_id, run.label, k, images[k], kinds[k], *values, labels.judge))
    return _table(rows)


def sensitivity(verdicts: pd.DataFrame, group: Sequence[str]) -> Interval | None:
    """Of what is edited right under some setting, the share that fails under another (the paper's 74.6 %, §5).

    Args:
        verdicts: of runs that differ in the setting alone.
        group: columns that name one thing to edit, such as sample_id and variation.

    Returns:
        None where nothing was edited right under any of at least two settings.
    """
    judged = verdicts.dropna(subset=[Stage.EDITOR])
    groups = judged.assign(editor=judged["editor"].astype(bool)).groupby(list(group), sort=False)
    found = groups[Stage.EDITOR].agg(["size", "any", "all"]).assign(image_id=groups["image_id"].first())
    found = found[(found["size"] > 1) & found["any"]]
    if found.empty:
        return None
    return mean_interval((~found["all"]).astype(float).tolist(), found["image_id"].tolist())


def read_labels(path: Path) -> pd.DataFrame:
    """People's verdicts from a CSV or Parquet table.

    Args:
        path: With the columns ``id`` (of the sample), ``language``, ``segmenter`` and ``editor``, and perhaps
            ``run_id`` (else a verdict counts for every run) and ``image_id`` (equal for samples that are not
            independent, in place of the benchmark's; formerly called ``case``). Verdicts are true/false, 1/0, yes/no,
            right/wrong; an empty cell is none.

    Returns:
        The table, ``image_id`` being null where the benchmark's counts.

    Raises:
        ConfigError: names the file, the column, the row and the value, and what is accepted.
    """
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a table of labels ({str(error).splitlines()[0]})") from None
    if missing := [name for name in ("id", *COMPONENTS) if name not in table.columns]:
        raise ConfigError(f"{path}: lacks the columns {', '.join(missing)}; needed are id, {', '.join(COMPONENTS)}")
    if "case" in table.columns:
        if "image_id" in table.columns:
            raise ConfigError(f"{path}: has the columns image_id and case, two names of one thing; one is accepted")
        table = table.rename(columns={"case": "image_id"})
    if "image_id" not in table.columns:
        table["image_id"] = None
    for column in {"id", "run_id", "image_id"} & set(table.columns):
        table[column] = [_text(value) for value in table[column]]
    if (empty := table["id"].isna()).any():
        raise ConfigError(f"{path}: row {empty.argmax() + 2}, column id: empty; accepted are the ids of samples")
    for component in COMPONENTS:
        table[component] = [_verdict(value, path, row, component) for row, value in enumerate(table[component], 2)]
        table[component] = table[component].astype("boolean")
    keys = ["id", "run_id"] if "run_id" in table else ["id"]
    if (twice := table.duplicated(keys)).any():
        row = int(twice.argmax())
        raise ConfigError(
            f"{path}: row {row + 2}, column id: sample {table['id'].iloc[row]!r} is labelled more than once; accepted "
            "is one label for each sample and run"
        )
    for sample, images in table.dropna(subset=["image_id"]).groupby("id")["image_id"]:
        if len(several := list(dict.fromkeys(images))) > 1:
            raise ConfigError(
                f"{path}: column image_id: sample {sample!r} has {' and '.join(map(repr, several))}; one is accepted"
            )
    return table


def _text(value: object) -> str | None:
    """A cell as text, for a Parquet table may hold numbers; None where it is empty."""
    return None if pd.isna(value) else str(value).strip() or None


def _verdict(value: object, path: Path, row: int, column: str) -> bool | None:
    if pd.isna(value):
        return None
    word = str(value).strip().lower()
    if not word:
        return None
    if word not in _WORDS:
        raise ConfigError(
            f"{path}: row {row}, column {column}: {value!r}; accepted are {', '.join(_WORDS)} and nothing"
        )
    return _WORDS[word]
