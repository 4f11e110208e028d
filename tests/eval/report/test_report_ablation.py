"""The report's sections on paraphrases, descriptions, failures and tuning, with runs of the real runner."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from eval.analysis.described import OUTCOMES, compared, share
from eval.analysis.selection import Choice, Rule, remember, remembered
from eval.report.build import Report, report
from eval.report.sections.instructions import matched_pairs
from tests.eval.report.test_report import VERDICTS, Fade, check_links, make_benchmark, make_run, request

RATIOS = (0.5, 0.7)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """InstructEdit on two paraphrases at two ratios, with and without a description, which makes the edits brighter."""
    root = tmp_path_factory.mktemp("ablation")
    benchmark = make_benchmark(root / "benchmark")
    for variation in (0, 1):
        for ratio in RATIOS:
            alone, told = Fade(1 - ratio, fails=("sx1",)), Fade(1.2 - ratio)
            make_run(benchmark, root / "results", alone, "instructedit", None, variation, VERDICTS, ratio=ratio)
            make_run(benchmark, root / "results", told, "instructedit", None, variation, VERDICTS, "what", ratio=ratio)
    tries = [make_run(benchmark, root / "results", Fade(k), "mdp", more=VERDICTS, start=k) for k in (0.3, 0.9)]
    own = make_run(benchmark, root / "results", Fade(0.5, fails=("sx1",)), "instructedit", more=VERDICTS, ratio=0.5)
    other = make_run(benchmark, root / "results", Fade(0.3, fails=("sx1",)), "instructedit", more=VERDICTS, ratio=0.7)
    remember(root / "results", Choice(Rule(0.5), (own, other, *tries)))
    return root / "results"


@pytest.fixture(scope="module")
def made(results: Path) -> Report:
    return report(request(results))


def table(made: Report, name: str) -> list[dict[str, str]]:
    (data,) = [d for s in made.sections for k, d in s.files.items() if k.endswith(f"/{name}")]
    return list(csv.DictReader(io.StringIO(data.decode())))


def html(made: Report, key: str) -> str:
    (section,) = [s for s in made.sections if s.key.startswith(key)]
    return " ".join(str(section.html).split())


def test_all_figures_exist_and_all_links_resolve(made: Report) -> None:
    titles = [s.title for s in made.sections]
    for title in ("Fig. 4: with and without BLIP-2", "Fig. 6: variations of the instruction", "Fixed and tuned"):
        assert title in titles, made.missing
    assert "Fig. 11: failures by component" in titles
    assert check_links(made.path) > 50


def test_matched_pairs_differ_only_in_the_captioner(made: Report) -> None:
    (study,) = made.studies
    pairs = matched_pairs(study)
    assert len(pairs) == 4
    for alone, described in pairs:
        assert not alone.is_described
        assert described.is_described
        assert (alone.variation, alone.hyperparameter("ratio")) == (
            described.variation,
            described.hyperparameter("ratio"),
        )


def test_the_representative_run_has_no_description(made: Report) -> None:
    (study,) = made.studies
    run = study.representative("instructedit")
    assert run is not None
    assert not run.is_described
    assert run.variation == 0


def test_component_accuracy_is_computed_on_paraphrases(made: Report) -> None:
    (study,) = made.studies
    # Two ratios, with and without a description; runs on the original instructions are excluded.
    assert len(study.judged) == 4 * study.whole
    assert set(study.judged["variation"]) == {1}
    assert "24 edits of 6 images" in html(made, "accuracy")
    rows = {(r["by"], r["value"]): r for r in table(made, "components.csv") if r["component"] == "editor"}
    assert rows["described", "with BLIP-2"]["edits"] == "12"
    alone, told = (float(rows["described", v]["rate"]) for v in ("without BLIP-2", "with BLIP-2"))
    assert alone < told


def test_the_effect_of_descriptions_is_counted_by_image_and_paraphrase() -> None:
    columns = ["sample_id", "variation", "ratio", "edit", "language", "segmenter", "editor"]
    alone = pd.DataFrame(
        [("a", 1, 0.5, "add", True, True, False), ("a", 1, 0.9, "add", True, True, False),
         ("b", 1, 0.5, "add", True, True, True), ("b", 1, 0.9, "add", True, True, False),
         ("c", 1, 0.5, "mix", False, False, False), ("c", 1, 0.9, "mix", True, True, True),
         ("d", 1, 0.5, "mix", True, True, True)],
        columns=columns,
    )  # fmt: skip
    alone = alone.assign(image_id=alone["sample_id"])
    told = alone.assign(editor=[True, False, True, True, True, False, False])
    found = compared(alone, told).set_index("sample_id")
    assert found["outcome"].to_dict() == {"a": "helps", "b": "helps", "c": "same", "d": "hurts"}
    assert found.loc["a", "editor_described"] == 0.5
    helps = share(found.reset_index(), "helps", ["add"])
    assert helps is not None
    assert (helps.mean, helps.n) == (1.0, 2)
    everywhere = [share(found.reset_index(), outcome) for outcome in OUTCOMES]
    assert [i.mean for i in everywhere if i] == [0.5, 0.25, 0.25]
    assert share(found.reset_index(), "helps", ["remove"]) is None
    # Samples that only one of the two has are not compared.
    assert "d" not in compared(alone, told[told["sample_id"] != "d"])["sample_id"].tolist()


def test_fixed_and_tuned_rows_are_shown_together(made: Report, results: Path) -> None:
    rows = {(r["method"], r["kind"], r["metric"]): r for r in table(made, "tuned.csv")}
    for method in ("instructedit", "mdp"):
        assert rows[method, "fixed", "lpips"]["mean"] != "", rows
        assert rows[method, "tuned", "lpips"]["setting"] == "best of 2"
    # MDP's first setting darkens the picture, which gains more than the change costs.
    assert rows["mdp", "tuned", "clip_directional"]["mean"] == rows["mdp", "fixed", "clip_directional"]["mean"]
    text = html(made, "tuned")
    assert "The regret is" in text
    assert "clip_directional − 0.5 · lpips" in text
    (choice,) = remembered(results)
    assert len(choice.runs) == 4


def test_a_damaged_choice_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    remember(tmp_path, Choice(Rule(1.0), ("v1-a", "v1-b")))
    (tmp_path / "tuning" / "0.json").write_text('{"weight": "much"}')
    assert [c.runs for c in remembered(tmp_path)] == [("v1-a", "v1-b")]
    assert "0.json" in caplog.text


def test_a_failure_is_shown_under_the_first_component_that_is_wrong(made: Report) -> None:
    text = html(made, "figure-failures")
    assert "Fig. 11" in text
    assert check_links(made.path)
