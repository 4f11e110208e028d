"""Labels: the file, what an old form may overwrite, and the way into the report's matrices."""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra

from eval.analysis.components import COMPONENTS, Labels, read_labels
from eval.annotation.cases import EDITED, MARKED, SOURCE
from eval.annotation.cases import cases as cases_of
from eval.annotation.label import LabelStore, Verdict
from eval.report.build import report, selected
from eval.report.study import studies
from scripts import label as script
from tests.eval.annotation.labelled import cases, store
from tests.eval.report.test_report import VERDICTS, Fade, make_benchmark, make_run, request, section

RIGHT = Verdict(dict.fromkeys(COMPONENTS, True))
WRONG = Verdict(dict.fromkeys(COMPONENTS, False), "because")


@pytest.fixture
def made(tmp_path: Path) -> LabelStore:
    return store(tmp_path / "labels.sqlite", 6)


def label_all(made: LabelStore, annotator: str, verdict: Verdict = RIGHT) -> list[int]:
    order = []
    while (number := made.next(annotator)) is not None:
        assert made.save(annotator, number, verdict, 0) is True
        order.append(number)
    return order


def test_each_annotator_sees_all_cases_in_an_order_of_their_own(made: LabelStore) -> None:
    orders = [label_all(made, name) for name in ("ann", "bob", "cleo")]
    assert len({tuple(order) for order in orders}) == 3
    assert {frozenset(order) for order in orders} == {frozenset(range(1, 7))}
    assert made.progress("ann").labelled == made.progress("ann").total == 6
    assert made.annotators() == ["ann", "bob", "cleo"]
    assert len(made.table()) == 18


def test_a_form_that_is_sent_twice_counts_once_and_an_old_one_overwrites_nothing(made: LabelStore) -> None:
    number = made.next("ann")
    assert number is not None
    assert [made.save("ann", number, RIGHT, 0) for _ in range(3)] == [True] * 3
    assert made.save("ann", number, WRONG, 0) is False  # from a tab that did not see the first
    shown = made.case("ann", number)
    assert shown is not None
    assert shown.verdict == RIGHT
    assert made.save("ann", number, WRONG, shown.seen) is True
    assert made.table()["comment"].tolist() == ["because"]
    with made.database.read() as db:
        assert db.execute("SELECT count(*) FROM verdicts").fetchone()[0] == 2  # both are kept
    assert made.save("ann", 99, RIGHT, 0) is None
    assert made.case("ann", 99) is None


def test_undo_goes_back_through_the_annotators_own_cases(made: LabelStore) -> None:
    order = label_all(made, "ann")
    made.save("bob", order[0], WRONG, 0)
    back: list[int] = []
    number: int | None = order[-1]
    while number is not None:
        back.append(number)
        shown = made.case("ann", number)
        assert shown is not None
        number = shown.before
    assert back == order[::-1]
    # A case that was labelled anew keeps its place.
    shown = made.case("ann", order[2])
    assert shown is not None
    made.save("ann", order[2], WRONG, shown.seen)
    after = made.case("ann", order[3])
    assert after is not None
    assert after.before == order[2]


def test_a_skipped_case_is_no_label_and_comes_again_in_the_end(made: LabelStore) -> None:
    number = made.next("ann")
    assert number is not None
    made.save("ann", number, Verdict(dict.fromkeys(COMPONENTS), "unclear", is_skipped=True), 0)
    assert made.next("ann") != number
    assert made.progress("ann").skipped == (number,)
    assert made.table().empty
    shown = made.case("ann", number)
    assert shown is not None
    made.save("ann", number, RIGHT, shown.seen)
    assert made.progress("ann").skipped == ()
    assert len(made.table()) == 1


def test_a_replaced_edit_is_a_new_case_and_its_old_label_is_not_exported(made: LabelStore) -> None:
    label_all(made, "ann")
    again = [replace(case, fingerprint="new") if case.sample_id == "s1" else case for case in cases(6)]
    assert made.add(again) == 1
    assert sorted(made.table()["id"]) == ["s0", "s2", "s3", "s4", "s5"]
    assert made.progress("ann").total == 6
    assert made.next("ann") == 7
    assert made.add(cases(6)) == 0  # the first edit again
    assert len(made.table()) == 6


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A run judged by ground truth, with a sample that failed at the segmenter, and one without."""
    benchmark = make_benchmark(tmp_path / "benchmark")
    make_run(benchmark, tmp_path / "results", Fade(0.7, fails=("sx1",)), "instructedit", more=VERDICTS)
    make_run(benchmark, tmp_path / "results", Fade(0.5, has_mask=False), "mdp")
    return tmp_path / "results"


def test_the_cases_of_runs(results: Path) -> None:
    (study,) = studies(selected(results, "all", None), {}, "")
    found = {(case.run_id, case.sample_id): case for case in cases_of(study)}
    assert len(found) == 12
    ours, theirs = study.runs
    failed = found[ours.run_id, "sx1"]
    assert failed.asked == ("language",)
    assert failed.pictures.keys() == {SOURCE}
    assert "no box" in failed.texts["Failed"]
    assert found[ours.run_id, "s0"].asked == COMPONENTS
    assert found[ours.run_id, "s0"].pictures.keys() == {SOURCE, MARKED, EDITED}
    assert "segmenter" not in found[theirs.run_id, "s0"].asked
    assert len({case.fingerprint for case in found.values()}) == 12


def test_labels_reach_the_matrices_with_the_annotators_agreement(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (study,) = studies(selected(results, "all", None), {}, "")
    made = LabelStore(results / "labels" / "labels.sqlite")
    made.add(cases_of(study))
    for name, wrong in (("ann", {"s0"}), ("bob", {"s0", "sxx2"}), ("cleo", {"s0", "sxxx3"})):
        while (number := made.next(name)) is not None:
            shown = made.case(name, number)
            assert shown is not None
            sample = next(c.sample_id for c in cases_of(study) if c.instruction == shown.instruction)
            right = {c: c != "editor" or sample not in wrong for c in shown.asked}
            made.save(name, number, Verdict({c: right.get(c) for c in COMPONENTS}), 0)
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["label", "export", f"results={results}"])
    assert script.main() == 0
    assert "labels.csv: 36 labels of 3 annotators" in capsys.readouterr().out
    labels = Labels("labels.csv", read_labels(results / "labels" / "labels.csv"))
    assert len(labels.table) == 12
    assert labels.table.set_index(["id", "run_id"])["editor"].astype(object).eq(False).sum() == 2  # s0, in two runs
    page = report(request(results, tmp_path / "out", labels=results / "labels" / "labels.csv"))
    html = section(page.path, "accuracy-tiny")
    assert "judged by people: labels.csv, the majority of 3 annotators" in html
    assert "Fleiss&#39; κ" in html
    (made_of,) = page.studies
    agreements = made_of.labels.agreements(made_of.benchmark.images)  # type: ignore[union-attr]
    assert agreements["language"].alpha is None  # all are equal
    assert agreements["editor"].items == 11
    assert agreements["editor"].observed == pytest.approx(1 - 2 * 2 * 2 / 3 / 11)


def test_a_tie_is_no_verdict(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,annotator,language,segmenter,editor\na,x,1,1,1\na,y,1,0,\nb,x,0,0,0\n")
    labels = Labels("labels.csv", read_labels(path))
    rows = [[None if pd.isna(v) else bool(v) for v in row] for row in labels.table[list(COMPONENTS)].to_numpy(object)]
    assert rows == [[True, None, True], [False, False, False]]
    agreement = labels.agreements({"a"})
    assert agreement.keys() == {"language", "segmenter"}
    assert agreement["segmenter"].kappa_title == "Cohen's κ"
