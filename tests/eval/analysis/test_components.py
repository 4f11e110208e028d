"""Component accuracy: counts with the paper's rates give the paper's numbers."""

import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from eval.analysis.components import (
    COMPONENTS,
    METRICS,
    TRUTH,
    conditional,
    rates,
    read_labels,
    sensitivity,
    verdicts,
)
from eval.benchmarks.base import Benchmark
from eval.display.component_tables import render_components
from eval.metrics.components.verdicts import language_is_right
from eval.runs.records import record_of
from eval.runs.run import VALUES, Run
from instructedit.types import Captions, ConfigError, Decisions, Failure, Sample, Truth


def table(*groups: tuple[int, bool | None, bool | None, bool | None]) -> pd.DataFrame:
    """Verdicts from ``(count, language, segmenter, editor)``, each on its own image."""
    rows = [verdict for count, *verdict in groups for _ in range(count)]
    frame = pd.DataFrame(rows, columns=list(COMPONENTS)).astype("boolean")
    return frame.assign(sample_id=range(len(frame)), image_id=range(len(frame)), judge=TRUTH)


# 1,000 cases with the paper's rates (§5): where language fails all fail; where the segmenter alone fails, the editor is
# right in 35 % of what the segmenter gets wrong (101.5 of 290; 102 keeps both within the rounding that is printed).
PAPER = table(
    (592, True, True, True), (118, True, True, False), (102, True, False, True), (161, True, False, False),
    (27, False, False, False),
)  # fmt: skip


def test_the_papers_rates() -> None:
    found = {name: round(100 * interval.mean, 1) for name, interval in rates(PAPER).items()}
    assert found == {"language": 97.3, "segmenter": 71.0, "editor": 69.4}
    assert all(i.low is not None and i.high is not None and i.low < i.mean < i.high for i in rates(PAPER).values())


def test_the_papers_matrices() -> None:
    wrong = conditional(PAPER, given=False).set_index(["condition", "component"])
    assert round(100 * wrong.loc[("segmenter", "editor"), "rate"]) == 35
    assert wrong.loc[("language", "segmenter"), "rate"] == 0
    assert wrong.loc[("language", "editor"), "rate"] == 0
    assert wrong.loc[("language", "editor"), "n"] == 27
    right = conditional(PAPER, given=True).set_index(["condition", "component"])
    assert right.loc[("segmenter", "language"), "rate"] == 1
    assert right.loc[("segmenter", "editor"), "rate"] == pytest.approx(592 / 710)
    assert len(right) == len(wrong) == 6


def test_what_nobody_judged_counts_nowhere() -> None:
    verdicts = table((2, True, None, True), (1, True, True, False), (1, None, False, True))
    assert rates(verdicts)["segmenter"].n == 2
    assert rates(verdicts)["language"].mean == 1
    given = conditional(verdicts, given=False).set_index(["condition", "component"])
    assert given.loc[("language", "editor"), "n"] == 0
    assert pd.isna(given.loc[("language", "editor"), "rate"])
    assert given.loc[("segmenter", "language"), "n"] == 0
    assert given.loc[("segmenter", "editor"), "n"] == 1
    assert "segmenter" not in rates(table((3, True, None, True)))


def test_intervals_draw_whole_images() -> None:
    alone = table((30, True, True, True), (30, True, False, True))
    together = alone.assign(image_id=[i // 10 for i in range(60)])
    narrow, wide = rates(alone)["segmenter"], rates(together)["segmenter"]
    assert narrow.mean == wide.mean
    assert (wide.high or 0) - (wide.low or 0) > (narrow.high or 0) - (narrow.low or 0)


def test_labels_in_the_words_that_people_use(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,language,segmenter,editor\na,1,yes,Right\nb,0,no,wrong\nc,true,,FALSE\n")
    found = read_labels(path)
    assert found["language"].tolist() == [True, False, True]
    assert found["segmenter"].iloc[:2].tolist() == [True, False]
    assert found["segmenter"].isna().tolist() == [False, False, True]
    assert found["image_id"].isna().all()
    found.drop(columns="image_id").to_parquet(tmp_path / "labels.parquet")
    assert read_labels(tmp_path / "labels.parquet").equals(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,language,segmenter\na,1,1\n", "lacks the columns editor"),
        ("id,language,segmenter,editor\na,1,maybe,1\n", "row 2, column segmenter: 'maybe'"),
        (
            "id,language,segmenter,editor\na,1,1,1\na,0,1,1\n",
            "row 3, column id: sample 'a' is labelled more than once; accepted is one",
        ),
        ("id,language,segmenter,editor\na,1,1,1\n ,1,1,1\n", "row 3, column id: empty; accepted are the ids"),
        (
            "id,run_id,image_id,language,segmenter,editor\na,x,p,1,1,1\na,y,q,1,1,1\n",
            "column image_id: sample 'a' has 'p' and 'q'; one is accepted",
        ),
        ("id,image_id,case,language,segmenter,editor\na,p,p,1,1,1\n", "image_id and case, two names of one thing"),
        ("", "cannot be read"),
    ],
)
def test_wrong_labels_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_labels(path)
    with pytest.raises(ConfigError, match="no_such"):
        read_labels(tmp_path / "no_such.csv")


def sample(instruction: str = "Change the bigger cat to a lion", target: str | None = "lion") -> Sample:
    captions = Captions("photo of two cats on grass", "photo of a lion and a cat on grass")
    if target is None:
        captions = Captions("photo of two cats on grass", "photo of a cat on grass")
    truth = Truth(Path("m.png"), Path("e.png"), "bigger cat", target)
    return Sample("s", Path("i.png"), instruction, captions=captions, edit="change", truth=truth)


@pytest.mark.parametrize(
    ("prompt", "edited", "right"),
    [
        ("bigger cat", "photo of a lion", True),
        ("The bigger cat.", "A photo of a lion and a cat", True),
        ("cat", "photo of a lion", False),
        ("bigger cat", "photo of a tiger", False),
    ],
)
def test_language_is_right_when_prompt_and_caption_ask_for_the_edit(prompt: str, edited: str, right: bool) -> None:
    decisions = Decisions(segmentation_prompt=prompt, captions=Captions("photo of a cat", edited))
    assert language_is_right(sample(), decisions) is right


def test_language_must_not_name_what_is_removed() -> None:
    gone = sample("Remove the bigger cat", target=None)
    for edited, right in (("photo of an empty background", True), ("photo of a cat", False)):
        decisions = Decisions(segmentation_prompt="bigger cat", captions=Captions("photo of a cat", edited))
        assert language_is_right(gone, decisions) is right


@pytest.mark.parametrize(
    ("described", "edited", "right"),
    [
        ("photo of two cats on grass", "photo of a cat on grass", True),
        ("photo of two cats on grass", "photo of two cats on grass", False),
        ("photo of a cat", "photo of an empty background", True),
    ],
)
def test_language_may_name_the_one_that_stays(described: str, edited: str, right: bool) -> None:
    truth = Captions("photo of two cats on grass", "photo of a cat on grass")
    one_of_two = replace(sample("Remove the bigger cat", target=None), captions=truth)
    decisions = Decisions(segmentation_prompt="bigger cat", captions=Captions(described, edited))
    assert language_is_right(one_of_two, decisions) is right


def test_a_failure_is_wrong_from_its_stage_on() -> None:
    right = Decisions(segmentation_prompt="bigger cat", captions=Captions("photo of a cat", "photo of a lion"))
    failures = (
        Failure("a", "language", "StageError", "x"),
        Failure("b", "segmenter", "StageError", "x", right),
        Failure("c", "editor", "StageError", "x", right),
    )
    rows = [("d", "d", m, value, "card", "") for m, value in zip(METRICS, (1.0, 1.0, 0.0), strict=True)]
    frame, cards = pd.DataFrame(rows, columns=list(VALUES)), {"card": {"judge": "truth"}}
    samples = tuple(replace(sample(), id=name) for name in "abcd")
    records = {f.id: record_of(f, s) for f, s in zip(failures, samples, strict=False)}
    report = Run("r", "instructedit", "run", records, frame, cards)
    table = verdicts([report], [Benchmark("b", "0", samples)])
    assert set(table["judge"]) == {TRUTH}
    found = table.set_index("sample_id")[list(COMPONENTS)]
    assert found.loc["a"].tolist() == [False, False, False]
    assert found.loc["b"].tolist() == [True, False, False]
    assert found.loc["c"].isna().tolist() == [False, True, False]
    assert found.loc["d"].tolist() == [True, True, False]
    # Other judges judge edits only, so b has only the verdicts of its failure.
    seen = replace(report, cards={"card": {"judge": "vlm", "model": "m"}})
    table = verdicts([seen], [Benchmark("b", "0", samples)])
    assert set(table["judge"]) == {"the vision-language model m"}
    assert table.set_index("sample_id").loc["b", list(COMPONENTS)].isna().tolist() == [True, False, False]


def test_the_tables_hold_the_papers_numbers() -> None:
    out = io.StringIO()
    render_components(Console(file=out, width=100), PAPER)
    text = out.getvalue()
    for number in ("97.3", "71.0", "69.4", "83.4 / 35.2", "1000 edits of 1000 images, judged by the ground truth"):
        assert number in text
    empty = io.StringIO()
    render_components(Console(file=empty), PAPER.iloc[:0])
    assert empty.getvalue() == ""


def test_sensitivity_is_of_what_some_setting_gets_right() -> None:
    rows = [("a", True), ("a", True), ("b", True), ("b", False), ("c", False), ("c", False), ("d", True), ("e", None)]
    frame = pd.DataFrame(
        [(k, k, True, True, right) for k, right in rows], columns=["sample_id", "image_id", *COMPONENTS]
    )
    found = sensitivity(frame.astype(dict.fromkeys(COMPONENTS, "boolean")), ["sample_id"])
    # a is right at both settings, b at one; c is never right; d and e have one setting only.
    assert found is not None
    assert (found.mean, found.n) == (0.5, 2)
    assert sensitivity(frame[frame["sample_id"] == "c"].astype({"editor": "boolean"}), ["sample_id"]) is None
