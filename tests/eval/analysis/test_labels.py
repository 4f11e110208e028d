"""Human verdicts in the report: which runs they apply to, what they replace, and which tables are refused."""

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra

from eval.analysis.components import COMPONENTS, Labels, labelled, read_labels
from eval.analysis.described import compared, share
from eval.report import figures as pictures
from eval.report.build import report
from instructedit.types import ConfigError
from scripts import report as script
from tests.eval.report.test_report import (
    ATTACK,
    VERDICTS,
    Fade,
    Kept,
    Links,
    make_benchmark,
    make_run,
    request,
    section,
)

HEAD = "id,language,segmenter,editor\n"
ALL_RIGHT = HEAD + "".join(f"s{'x' * i}{i},1,1,1\n" for i in range(6))


class Other(Kept):
    """The editor's verdict by a model."""

    def details(self) -> dict[str, object]:
        return {"judge": "vlm", "model": "<b>m</b>", "prompt": "0"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs judged by ground truth, each with one failed sample, and one run without a judge."""
    root = tmp_path_factory.mktemp("labels")
    benchmark = make_benchmark(root / "benchmark")
    for ratio in (0.5, 0.7):
        method = Fade(1 - ratio / 2, fails=("sx1",))
        make_run(benchmark, root / "results", method, "instructedit", more=VERDICTS, ratio=ratio)
    make_run(benchmark, root / "results", Fade(0.55), "instructedit", ratio=0.9)
    return root / "results"


@pytest.fixture
def run_script(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Run ``scripts.report`` with labels given as text."""

    def call(labels: str) -> int:
        (tmp_path / "labels.csv").write_text(labels)
        GlobalHydra.instance().clear()
        arguments = [f"results={results}", f"out={tmp_path / 'out'}", f"labels={tmp_path / 'labels.csv'}"]
        monkeypatch.setattr(sys, "argv", ["report", *arguments])
        return script.launch(script.task, "report")

    return call


def components(page: Path) -> dict[tuple[str, str, str], float]:
    with (page.parent / "tiny/tables/components.csv").open() as file:
        return {(r["by"], r["value"], r["component"]): float(r["rate"]) for r in csv.DictReader(file)}


def test_the_page_has_peoples_verdicts_and_says_so(
    run_script: Callable[[str], int], results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "out" / "index.html"
    # By ground truth, the language processor is always right.
    assert run_script(HEAD + "s0,0,1,1\nsxx2,1,yes,wrong\nsx1,1,1,1\n") == 0
    found = components(page)
    assert found["all", "all", "language"] == pytest.approx(6 / 9)
    # s0, sxx2 and sx1 in three runs; sx1 failed at the segmenter in two of them, which overrides labels.
    assert found["all", "all", "segmenter"] == pytest.approx(7 / 9)
    assert found["all", "all", "editor"] == pytest.approx(4 / 9)
    html = section(page, "accuracy-tiny")
    assert "edits of 3 images, judged by people: labels.csv" in html
    assert "As in the paper's §5 and Fig. 10, judged by people" in html
    assert "IoU" not in html
    assert "judged by people: labels.csv" in (tmp_path / "out/tiny/tables/components.tex").read_text()
    with (tmp_path / "out/tiny/tables/claims.csv").open() as file:
        claims = {r["claim"]: r["ours"] for r in csv.DictReader(file)}
    assert claims["the language processor is right most often"] == "language 66.7 %, segmenter 77.8 %, editor 44.4 %"
    assert "labels.csv" not in capsys.readouterr().out  # all are used


def test_without_labels_the_ground_truth_judges(results: Path, tmp_path: Path) -> None:
    made = report(request(results, tmp_path))
    html = section(made.path, "accuracy-tiny")
    assert "judged by the ground truth" in html
    assert "IoU of its mask with the ground-truth mask" in html
    assert "labels" not in html


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (HEAD + "nobody,1,1,1\n", "labels.csv labels no sample of the runs shown, whose ids are s0, sx1, sxx2"),
        ("id,run_id,language,segmenter,editor\ns0,v1-0,1,1,1\n", "labels no sample of the runs shown"),
        (HEAD + "s0,1,1,perhaps\n", "labels.csv: row 2, column editor: 'perhaps'"),
        ("id,language\ns0,1\n", "lacks the columns segmenter, editor"),
    ],
)
def test_labels_that_cannot_be_used_are_refused_in_one_line(
    labels: str, said: str, run_script: Callable[[str], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(labels) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert said in error
    assert not (tmp_path / "out").exists()


def test_labels_of_nothing_shown_are_counted_aloud(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(ALL_RIGHT + "".join(f"z{i},1,1,1\n" for i in range(7)))
    made = report(request(results, tmp_path / "out", labels=path))
    assert made.missing[0] == "7 labels in labels.csv match no sample shown: z0, z1, z2, z3, z4, ..."
    assert made.missing[0] in Links(made.path).text


def test_a_label_of_one_run_counts_before_one_of_all(results: Path, tmp_path: Path) -> None:
    (study,) = report(request(results, tmp_path / "out")).studies
    one, other, _ = study.runs
    path = tmp_path / "labels.csv"
    lines = ["id,run_id,image_id,language,segmenter,editor", "s0,,,1,1,1", f"s0,{one.run_id},,1,0,0", "sxx2,,pair,,1,"]
    path.write_text("\n".join(lines))
    labels = Labels("labels.csv", read_labels(path))
    found = labelled([one, other], [study.benchmark], labels)
    assert found["sample_id"].tolist() == ["s0", "sxx2"] * 2
    assert found["image_id"].tolist() == [study.benchmark.images["s0"], "pair"] * 2
    assert found["run_id"].tolist() == [one.run_id] * 2 + [other.run_id] * 2
    rows = [[None if pd.isna(v) else v for v in row] for row in found[list(COMPONENTS)].to_numpy(object)]
    assert rows == [[True, False, False], [None, True, None], [True, True, True], [None, True, None]]


def test_ids_that_are_numbers_are_found(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    pd.DataFrame({"id": [1, 2], "language": [True, False], "segmenter": 1, "editor": 0}).to_parquet(path)
    assert read_labels(path)["id"].tolist() == ["1", "2"]
    path.write_bytes(b"PAR1 not a table")
    with pytest.raises(ConfigError, match="cannot be read as a table of labels"):
        read_labels(path)


def test_runs_of_two_judges_are_not_averaged(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark")
    for ratio, verdict in ((0.5, Kept()), (0.7, Other()), (0.9, Other())):
        make_run(benchmark, tmp_path / "results", Fade(1 - ratio / 2), "instructedit", more=[verdict], ratio=ratio)
    made = report(request(tmp_path / "results"))
    html = section(made.path, "accuracy-tiny")
    assert "12 edits of 6 images, judged by the vision-language model &lt;b&gt;m&lt;/b&gt;." in html
    assert "each verdict is stored with its reason" in html
    assert any("editor_right" in line and "instructedit ratio=0.5" in line for line in made.missing)


@pytest.mark.parametrize("image", ["room", "sxx2"])  # the second is another sample's id
@pytest.mark.parametrize("column", ["image_id", "case"])
def test_samples_of_one_image_stay_apart(
    column: str, image: str, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two samples of one image, one is edited right at every ratio and the other at the first ratio only."""
    (study,) = report(request(results, tmp_path / "plain")).studies
    lines = [f"id,run_id,{column},language,segmenter,editor"]
    for run, right in zip(study.runs, (1, 0, 0), strict=True):
        lines += [f"s0,{run.run_id},{image},1,1,{right}", f"sxx2,{run.run_id},{image},1,1,1"]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    drawn: list[str] = []
    grid = pictures.grid

    def recorded(heads: Sequence[str], rows: Sequence[pictures.Row]) -> pictures.Drawn:
        drawn.extend(row.caption for row in rows)
        return grid(heads, rows)

    monkeypatch.setattr(pictures, "grid", recorded)
    made = report(request(results, tmp_path / "out", labels=tmp_path / "labels.csv"))
    with (tmp_path / "out/tiny/tables/claims.csv").open() as file:
        claims = {r["claim"]: r["ours"] for r in csv.DictReader(file)}
    assert claims["most correct edits fail at another ratio"] == "50.0 % of 2"
    assert "6 edits of 1 images" in section(made.path, "accuracy-tiny")
    (wrong,) = (line for line in drawn if line.startswith("editor wrong"))
    assert ATTACK in wrong  # the instruction of s0


def test_descriptions_are_compared_sample_by_sample() -> None:
    """Of two samples of one image, a description helps one and hurts the other."""
    alone = pd.DataFrame(
        [("a", "room", 0, 0.5, "add", True, True, False), ("b", "room", 0, 0.5, "add", True, True, True)],
        columns=["sample_id", "image_id", "variation", "ratio", "edit", *COMPONENTS],
    )
    found = compared(alone, alone.assign(editor=[True, False]))
    assert dict(zip(found["sample_id"], found["outcome"], strict=True)) == {"a": "helps", "b": "hurts"}
    helps = share(found, "helps")
    assert helps is not None
    assert (helps.mean, helps.low, helps.n) == (0.5, None, 2)  # one image gives no interval
