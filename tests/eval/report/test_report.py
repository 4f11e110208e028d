"""The report on runs of the real runner: numbers, links, escaping, and refused requests."""

import base64
import csv
import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from PIL import Image, ImageEnhance

from eval.analysis.components import rates, verdicts
from eval.analysis.differences import differences
from eval.analysis.published import COMPONENTS as TABLE_COMPONENTS
from eval.analysis.summary import summary
from eval.benchmarks.base import Benchmark, load_benchmark
from eval.display import style as words
from eval.metrics.base import Card, Metric, Score
from eval.metrics.components.truth import LanguageRight, SegmenterRight
from eval.metrics.mask_iou import MaskIoU
from eval.report import latex
from eval.report.build import Report, Request, report
from eval.report.page import anchor
from eval.report.section import load_sections
from eval.report.sections.claims import CLAIMS
from eval.report.sections.timing import was_cached
from eval.runs.records import EditRecord, record_of
from eval.runs.run import Run, counts_of
from eval.runs.runner import RunPlan, run
from instructedit.types import (
    Captions,
    ConfigError,
    Decisions,
    EditRequest,
    EditResult,
    Failure,
    Method,
    Sample,
    Tokens,
)
from scripts import report as script
from scripts.app import CONF

ATTACK = "Change the <script>alert('1 & 2')</script> to a \"lion\""
DEFAULTS = {"ratio": 0.7, "theta": 0.5}
SETTINGS = yaml.safe_load((CONF / "report.yaml").read_text())
SECTIONS = load_sections(SETTINGS["sections"])
CHOICES = (
    "runs",
    "reference",
    "pictures",
    "figure_samples",
    "more_samples",
    "samples",
    "labels",
    "answers",
    "interval",
)


@dataclass
class Fade(Method):
    """A method of another package: darkens the picture and fails on the given samples."""

    strength: float
    fails: tuple[str, ...] = ()
    has_mask: bool = True
    cached: bool = False

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        return [self._edit(r) for r in requests]

    def _edit(self, request: EditRequest) -> EditResult | Failure:
        decisions = Decisions(reply="<b>verbatim</b>", segmentation_prompt="cat & <hat>", captions=request.captions)
        if request.id in self.fails:
            return Failure(request.id, "segmenter", "StageError", "no box <img src=x onerror=y> found", decisions)
        mask = np.zeros((16, 16), bool)
        mask[: 4 + int(10 * self.strength) + len(request.id) % 3] = True
        edited = ImageEnhance.Brightness(request.image).enhance(self.strength)
        return EditResult(
            request.id, edited, mask if self.has_mask else None, decisions,
            {"language": 0.5, "editor": 2.0}, {"inversion": 0 if self.cached else 50, "edit": 35},
        )  # fmt: skip


class Change(Metric):
    """Replaces LPIPS: the mean change of the pixels."""

    name, unit, higher_is_better = "lpips", "", False
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, None)

    def details(self) -> Card:
        return {"implementation": "mean absolute difference </script>"}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        moved = np.abs(np.asarray(source, float) - np.asarray(result.image, float))
        return Score(float(moved.mean()) / 255)


class Darkness(Change):
    """Replaces CLIP directional similarity."""

    name, higher_is_better = "clip_directional", True
    bounds = (0.0, 1.0)

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        return Score(1 - float(np.asarray(result.image, float).mean()) / 255)


class Kept(Change):
    """Replaces the verdict on the editor: right if the picture is still bright."""

    name, higher_is_better = "editor_right", True
    bounds = (0.0, 1.0)

    def details(self) -> Card:
        return {"judge": "truth", "rule": "brightness"}

    def score(self, sample: Sample, source: Image.Image, result: EditResult, captions: Captions | None) -> Score:
        return Score(float(np.asarray(result.image, float).mean() > 70))


VERDICTS = (LanguageRight(), SegmenterRight(), Kept())


def make_benchmark(folder: Path, count: int = 6) -> Benchmark:
    (folder / "images").mkdir(parents=True)
    lines = []
    for i in range(count):
        Image.new("RGB", (16, 16), (200 - 20 * i, 90 + 10 * i, 60)).save(folder / "images" / f"i{i}.png")
        Image.fromarray(np.repeat([[255], [0]], 8, 0).repeat(16, 1).astype(np.uint8)).save(folder / f"images/m{i}.png")
        line = {
            "id": f"s{'x' * i}{i}", "image": f"images/i{i}.png", "instruction": ATTACK if not i else f"wish {i}",
            "variations": [f"in other words {i}"],
            "captions": {"input": "a cat", "edited": "a lion"}, "category": ("single", "same")[i % 2],
            "edit": "change", "truth": {"mask": f"images/m{i}.png", "edited": f"images/i{i}.png", "referred": "cat hat",
                      "target": "lion"},
        }  # fmt: skip
        lines.append(json.dumps(line) + "\n")
    (folder / "manifest.jsonl").write_text("".join(lines))
    return load_benchmark(folder)


def make_run(*arguments: Any, **options: Any) -> str:
    return done(*arguments, **options).run_id


def done(
    benchmark: Benchmark,
    results: Path,
    method: Fade,
    name: str,
    limit: int | None = None,
    variation: int = 0,
    more: Sequence[Metric] = (),
    captioner: str | None = None,
    metrics: Sequence[Metric] = (Change(), Darkness(), MaskIoU()),
    **hyperparameters: float | str,
) -> Run:
    """Make a run as scripts.run does, with a configuration that describes the method."""
    own = {"_target_": f"mine.{name}", "editor": hyperparameters, "steps": 50, "captioner": None}
    if captioner:
        own["captioner"] = {"question": captioner}
    described = {"_target_": "mine.Wrapper", "method": own}
    label = " ".join([name, *(f"{k}={v}" for k, v in hyperparameters.items())])
    config = {
        "name": name,
        "label": label,
        "benchmark": {"name": "tiny", "folder": str(benchmark.samples[0].image.parents[1])},
        "wrapper": described,
        "seed": 0,
        "variation": variation,
    }
    worded = benchmark.worded(variation)
    plan = RunPlan(
        name, label, lambda: method, described, replace(worded, samples=worded.samples[:limit]),
        lambda: [*metrics, *more], results, config=yaml.safe_dump(config), batch_size=4,
    )  # fmt: skip
    return run(plan).run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two methods with a swept hyperparameter, and of one without masks on half of the benchmark."""
    root = tmp_path_factory.mktemp("report")
    benchmark = make_benchmark(root / "benchmark")
    for ratio in (0.5, 0.7, 0.9):
        method = Fade(1 - ratio / 2, fails=("sx1",))
        make_run(benchmark, root / "results", method, "instructedit", more=VERDICTS, ratio=ratio)
    for theta in (0.3, 0.5):
        make_run(benchmark, root / "results", Fade(1 - theta / 2, cached=True), "diffedit", ratio=0.7, theta=theta)
    make_run(benchmark, root / "results", Fade(0.6, has_mask=False), "mdp", limit=3, start=2)
    return root / "results"


def request(results: Path, out: Path | None = None, **options: Any) -> Request:
    chosen = {"benchmark": None} | {key: SETTINGS[key] for key in CHOICES} | options
    return Request(results, out or results / "report", DEFAULTS, SECTIONS, **chosen)


@pytest.fixture(scope="module")
def made(results: Path) -> Report:
    return report(request(results))


class Links(HTMLParser):
    """The ids and URLs of a page, and its text by element id."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            assert not key.startswith("on") or (tag, key) == ("form", "onsubmit")
            if key == "id":
                self.ids.append(str(value))
            elif key in ("href", "src"):
                self.addresses.append(str(value))

    def handle_data(self, data: str) -> None:
        self.text += data


def check_links(page: Path) -> int:
    found = Links(page)
    assert len(found.ids) == len(set(found.ids))
    for address in found.addresses:
        if address.startswith("data:image/webp;base64,"):
            continue
        assert not re.match(r"[a-z]+:|//", address) or address == "data:,", address
        if address.startswith("#"):
            assert unquote(address[1:]) in found.ids, address
        elif address != "data:,":
            assert (page.parent / unquote(address)).is_file(), address
    return len(found.addresses)


def section(page: Path, key: str) -> str:
    html = page.read_text()
    (start,) = [m.start() for m in re.finditer(f'<section id="{key}"', html)]
    return html[start : html.index("</section>", start)]


def test_every_section_is_there_and_every_link_resolves(made: Report) -> None:
    # The page names the commands that make paraphrases, descriptions and tuned sweeps.
    assert len(made.missing) == 3
    for line, experiment in zip(made.missing, ("table1_tuned", "ablation", "ablation"), strict=True):
        assert f"python -m scripts.run experiment={experiment}" in line
    assert [s.key for s in made.sections] == [
        "table-1-tiny", "differences-tiny", "leaderboard-tiny", "claims-tiny", "accuracy-tiny", "timing-tiny",
        "figure-masks-tiny",
        "figure-methods-tiny", "figure-ratio-tiny", "figure-failures-tiny", "curves-tiny", "samples-tiny",
        "cards-tiny", "runs-tiny",
    ]  # fmt: skip
    assert check_links(made.path) > 100


def test_the_page_has_the_numbers_of_the_summary_and_links_run_and_card(made: Report) -> None:
    (study,) = made.studies
    table = section(made.path, "table-1-tiny")
    assert len(study.summary) == 18
    for row in study.summary.dropna(subset=["mean"]).itertuples():
        mean, low, high = (words.number(v, 3) for v in (row.mean, row.low, row.high))
        assert f'href="#{anchor("run", row.run_id)}" title="show the run">{mean}</a>' in table
        assert f'href="#{anchor("card", row.card_id)}" title="show the metric card">[{low}, {high}]</a>' in table
    assert table.count('title="show the run"') == 17
    assert "3/6 tried" in table
    assert "0.132" in table  # the paper's


def test_component_accuracy_is_that_of_the_verdicts(made: Report) -> None:
    (study,) = made.studies
    found = verdicts(study.runs, [study.benchmark])
    assert len(found) == 18  # three runs of six samples, the failed ones too
    with (made.path.parent / "tiny/tables/components.csv").open() as file:
        rows = {(r["by"], r["value"], r["component"]): r for r in csv.DictReader(file)}
    for component, interval in rates(found).items():
        row = rows["all", "all", component]
        assert float(row["rate"]) == interval.mean
        assert float(row["paper"]) == pytest.approx(TABLE_COMPONENTS[component] / 100)
        assert f"{100 * interval.mean:.1f}" in section(made.path, "accuracy-tiny")
    assert rates(found)["language"].mean == 1
    assert {value for by, value, _ in rows if by == "ratio"} == {"0.5", "0.7", "0.9"}
    by_ratio = [float(rows["ratio", v, "editor"]["rate"]) for v in ("0.5", "0.7", "0.9")]
    assert by_ratio == sorted(by_ratio, reverse=True)
    assert by_ratio[0] > by_ratio[-1]  # so some of what is right is sensitive to the ratio
    assert "are wrong at another ratio; in the paper, 74.6 %" in section(made.path, "accuracy-tiny")


def test_claims_state_whether_they_hold_or_are_not_tested(made: Report) -> None:
    with (made.path.parent / "tiny/tables/claims.csv").open() as file:
        rows = {r["claim"]: r for r in csv.DictReader(file)}
    assert len(rows) == len(CLAIMS)
    # With a larger ratio, the picture changes more and is darker.
    assert rows["a larger ratio changes more (LPIPS)"]["holds"] == "yes"
    assert rows["a larger ratio follows the instruction more (directional similarity)"]["holds"] == "yes"
    assert rows["highest CLIP score"]["not measured because"] == "python -m scripts.run experiment=table1"
    assert rows["preferred by people"]["not measured because"] == "needs a user study"
    assert rows["better masks than DiffEdit's at every threshold"]["holds"] in ("yes", "no")
    assert "DiffEdit" in rows["keeps most of the input (lowest LPIPS)"]["ours"]
    for row in rows.values():
        assert bool(row["ours"]) != bool(row["not measured because"])


def test_the_csv_has_full_precision_and_the_papers_numbers(made: Report) -> None:
    (study,) = made.studies
    with (made.path.parent / "tiny/tables/table_1.csv").open() as file:
        rows = {(r["run_id"], r["metric"]): r for r in csv.DictReader(file)}
    for row in study.summary.itertuples():
        found = rows[row.run_id, row.metric]
        assert found["mean"] == ("" if row.n == 0 else repr(float(row.mean)))
    assert {r["paper"] for r in rows.values() if (r["method"], r["metric"]) == ("diffedit", "lpips")} == {"0.152"}
    assert {r["failed"] for r in rows.values() if r["method"] == "instructedit"} == {"1"}


def test_the_studentised_interval_is_shown_on_request(results: Path, tmp_path: Path) -> None:
    made = report(request(results, tmp_path, interval="studentised"))
    (study,) = made.studies
    expected = summary(study.numbers, study.counts, interval="studentised")
    assert study.summary.equals(expected)
    assert not expected.equals(summary(study.numbers, study.counts))
    for key in ("table-1-tiny", "differences-tiny", "curves-tiny"):
        assert "studentised" in section(made.path, key)
        assert "BCa" not in section(made.path, key)


def test_differences_are_those_of_compare_to_the_default_run(made: Report) -> None:
    (study,) = made.studies
    base = study.reference_run
    assert base is not None
    assert base.label == "instructedit ratio=0.7"
    html = section(made.path, "differences-tiny")
    expected = differences(study.numbers, study.counts, base.run_id)
    for row in expected.itertuples():
        assert f">{words.number(row.difference, 3, sign=True)}</a>" in html
        assert f">p {words.p_value(row.p_adjusted)}</span>" in html
    assert f"all {len(expected)} tests" in html


def test_text_from_data_is_escaped_everywhere(made: Report) -> None:
    found, html = Links(made.path), made.path.read_text()
    assert found.tags.count("script") == 1
    assert ATTACK in found.text
    assert "no box <img src=x onerror=y> found" in found.text
    assert "<b>verbatim</b>" in found.text
    assert "mean absolute difference </script>" in found.text
    assert "<b>verbatim" not in html
    assert "<img src=x" not in html


def test_failures_are_cells_with_stage_and_message(made: Report) -> None:
    html = section(made.path, "samples-tiny")
    assert html.count('data-status="failed"') == 3
    assert html.count("<strong>failed: segmenter</strong>") == 3
    assert 'data-status="edited"' in html
    assert html.count('<article class="sample"') == 6


def test_runs_and_cards_show_the_provenance_of_numbers(made: Report) -> None:
    (study,) = made.studies
    text = Links(made.path).text
    for run_ in study.runs:
        assert run_.run_id in text
        assert run_.was_made_on(study.benchmark) is True
    assert "_target_: mine.instructedit" in text
    assert "not comparable digit by digit" in text


def test_cached_stages_are_counted_separately(made: Report) -> None:
    with (made.path.parent / "tiny/tables/timing.csv").open() as file:
        rows = {(r["method"], r["stage"]): r for r in csv.DictReader(file)}
    assert (rows["instructedit", "editor"]["mean_seconds"], rows["instructedit", "editor"]["n"]) == ("2.0", "15")
    assert (rows["diffedit", "editor"]["mean_seconds"], rows["diffedit", "editor"]["n_cached"]) == ("", "12")
    assert rows["instructedit", "language"]["paper_seconds"] == "2.0"


def edit_record(**noted: Any) -> EditRecord:
    made = record_of(EditResult("a", Image.new("RGB", (1, 1)), **noted), Sample("a", Path(), "Change it"))
    assert isinstance(made, EditRecord)
    return made


@pytest.mark.parametrize(
    ("stage", "evaluations", "cached"),
    [
        ("editor", {"inversion": 0, "edit": 50}, True),
        ("editor", {"inversion": 50, "edit": 50}, False),
        ("editor", {"mask": 0, "inversion": 50, "edit": 50}, False),
        ("mask", {"mask": 0, "inversion": 50, "edit": 50}, True),
        ("language", {"inversion": 0}, False),
    ],
)
def test_a_stage_is_cached_where_its_own_evaluations_are_zero(
    stage: str, evaluations: dict[str, int], cached: bool
) -> None:
    seconds = {"language": 1.0, "mask": 1.0, "editor": 1.0}
    assert was_cached(edit_record(seconds=seconds, evaluations=evaluations), stage) is cached


@pytest.mark.parametrize(("tokens", "cached"), [(Tokens(), True), (Tokens(9, 2), False)])
def test_a_cached_reply_is_counted_separately(tokens: Tokens, cached: bool) -> None:
    assert was_cached(edit_record(seconds={"language": 1.0}, tokens=tokens), "language") is cached


def test_figures_are_pictures_and_pdfs(made: Report) -> None:
    folder = made.path.parent / "tiny" / "figures"
    names = {p.stem for p in folder.iterdir()}
    assert names == {"masks", "methods", "ratio", "failures", "curve_ratio", "curve_theta"}
    for name in names:
        with Image.open(folder / f"{name}.png") as image:
            image.load()
            assert min(image.size) > 300
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_latex_is_balanced_and_escaped(made: Report) -> None:
    for path in (made.path.parent / "tiny" / "tables").glob("*.tex"):
        text = re.sub(r"\\[\\{}$&#%_]", "", path.read_text())
        assert text.count("{") == text.count("}")
        assert text.count("$") % 2 == 0
        assert re.findall(r"\\begin{(\w+)}", text) == re.findall(r"\\end{(\w+)}", text)[::-1]
        body = [line for line in text.splitlines() if " & " in line]
        assert len({line.count("&") for line in body}) == 1
        assert all(name in text for name in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption", r"\label"))


def test_latex_escapes_special_characters() -> None:
    assert latex.escape(r"50 % of $a_b$ & {c} \d ~^#<>") == (
        r"50 \% of \$a\_b\$ \& \{c\} \textbackslash{}d \textasciitilde{}\textasciicircum{}\#\textless{}\textgreater{}"
    )
    assert latex.escape("−0.1\x00\n↓") == r"$-$0.1 $\downarrow$"
    table = latex.latex_table(["a", "a"], [["[0.1, 0.2]", "x"]], "c", "t").decode()
    assert "{[0.1, 0.2]} & x" in table


def test_a_copied_report_is_self_contained_and_removes_stale_files(results: Path, tmp_path: Path) -> None:
    first = report(request(results, tmp_path / "sent"))  # outside of results: embedded
    everything = {p for p in first.path.parent.rglob("*") if p.is_file()}
    assert check_links(first.path) > 100
    assert all(not a.startswith("..") for a in Links(first.path).addresses)
    mine = tmp_path / "sent" / "mine.txt"
    mine.write_text("kept")
    second = report(request(results, tmp_path / "sent", runs="latest", reference="diffedit", figure_samples=2))
    assert check_links(second.path) > 100
    fewer = report(request(results, tmp_path / "sent", runs=[second.studies[0].of("mdp")[0].run_id]))
    left = {p for p in fewer.path.parent.rglob("*") if p.is_file()}
    assert mine in left
    assert len(left) < len(everything) / 2
    assert check_links(fewer.path) > 10


def test_copies_may_be_webp(results: Path, tmp_path: Path) -> None:
    made = report(request(results, tmp_path / "small", pictures="webp"))
    assert check_links(made.path) > 100
    copies = list((tmp_path / "small" / "pictures").iterdir())
    assert {p.suffix for p in copies} == {".webp"}
    assert {p.suffix for p in made.path.parent.rglob("figures/*")} == {".webp"}
    edited = next(a for a in Links(made.path).addresses if a.startswith("pictures/"))
    with Image.open(made.path.parent / edited) as image:
        assert image.size == (16, 16)


def test_pictures_can_be_embedded_and_samples_limited(results: Path, tmp_path: Path) -> None:
    made = report(request(results, tmp_path / "light", pictures="inline", samples=3))
    assert check_links(made.path) > 100
    assert not (tmp_path / "light" / "pictures").exists()
    assert not [*made.path.parent.rglob("figures")]
    inline = [a for a in Links(made.path).addresses if a.startswith("data:image")]
    sizes = []
    for address in inline:
        with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
            assert image.format == "WEBP"
            sizes.append(image.size)
    # Samples have their own size; figures are larger.
    assert sizes.count((16, 16)) > 3
    assert max(width for width, _ in sizes) > 200
    (listed,) = [s for s in made.sections if s.key == "samples-tiny"]
    assert listed.title == "Samples: 3 of 6"
    assert listed.html.count("<article") == 3
    # The first samples of all categories come before the second ones.
    assert set(re.findall(r'data-category="(\w+)"', listed.html)) == {
        s.category for s in made.studies[0].benchmark.samples
    }


def test_missing_sections_name_the_command_that_makes_them(results: Path, tmp_path: Path) -> None:
    ids = [p.name for p in (results / "runs").iterdir() if "name: mdp" in (p / "config.yaml").read_text()]
    made = report(request(results, tmp_path, runs=ids))
    lines = "\n".join(made.missing)
    for part in ("reference=instructedit", "experiment=theta", "experiment=table1", "experiment=ratio", "was swept"):
        assert part in lines
    assert all(line in Links(made.path).text for line in made.missing)
    assert "table-1-tiny" in {s.key for s in made.sections}


def test_runs_of_another_revision_or_card_are_left_out_with_a_note(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark")
    old = make_run(benchmark, tmp_path / "results", Fade(0.5), "instructedit", ratio=0.5)
    Image.new("RGB", (16, 16), "blue").save(benchmark.samples[2].image)
    benchmark = load_benchmark(tmp_path / "benchmark")
    new = make_run(benchmark, tmp_path / "results", Fade(0.5), "instructedit", ratio=0.7)
    other = make_run(benchmark, tmp_path / "results", Fade(0.4), "mdp", limit=2, start=2)
    _rename_card(tmp_path / "results" / "runs" / other)
    made = report(request(tmp_path / "results"))
    (study,) = made.studies
    assert {r.run_id for r in study.runs} == {new, other}
    assert any(old in line and "another revision" in line for line in made.missing)
    assert any("0123456789ab" in line and "lpips" in line for line in made.missing)
    assert not len(study.frame[(study.frame["run_id"] == other) & (study.frame["metric"] == "lpips")])


def _rename_card(folder: Path) -> None:
    frame = pd.read_parquet(folder / "metrics.parquet")
    frame.loc[frame["metric"] == "lpips", "card_id"] = "0123456789ab"
    frame.to_parquet(folder / "metrics.parquet")


def test_runs_of_one_label_are_told_apart_and_the_latest_of_each_is_shown(tmp_path: Path) -> None:
    benchmark, results = make_benchmark(tmp_path / "benchmark"), tmp_path / "results"
    runs = [
        make_run(benchmark, results, Fade(strength), "instructedit", captioner=captioner, ratio=0.5)
        for strength, captioner in ((0.5, None), (0.4, "What is this?"))
    ]
    (study,) = report(request(results)).studies
    # Here the captioner is a component without a class, so that its question is shown.
    assert {r.run_id: r.label for r in study.runs} == {
        runs[0]: "instructedit ratio=0.5 captioner=none", runs[1]: "instructedit ratio=0.5 question=What is this?",
    }  # fmt: skip
    (study,) = report(request(results, runs="latest")).studies
    assert {r.run_id for r in study.runs} == set(runs)


def test_intervals_do_not_depend_on_the_order_in_which_samples_were_finished(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark")

    def intervals(again: Sequence[str]) -> list[pd.DataFrame]:
        run_id = make_run(benchmark, tmp_path / "results", Fade(0.5), "instructedit", ratio=0.5)
        path = tmp_path / "results" / "runs" / run_id / "samples.jsonl"
        lines = path.read_bytes().splitlines()
        path.write_bytes(b"".join((b"damaged" if json.loads(x)["id"] in again else x) + b"\n" for x in lines))
        swept = done(benchmark, tmp_path / "results", Fade(0.5), "instructedit", ratio=0.5)
        (study,) = report(request(tmp_path / "results")).studies
        columns = ["metric", "mean", "low", "high", "n"]
        return [summary(swept.metrics, counts_of([swept]))[columns], study.summary[columns]]

    first, second = intervals(()), intervals([s.id for s in benchmark.samples[:3]])
    for other in (first[1], *second):
        assert other.to_dict("records") == first[0].to_dict("records")


def test_the_page_shows_control_characters_as_escapes_and_no_path_of_the_machine(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "my set")
    manifest = tmp_path / "my set" / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"wish 1"', json.dumps("wish \x1b[31m\x00 and/or 1\ttab")))
    (tmp_path / "my set" / "images" / "i2.png").write_text("torn")
    benchmark = load_benchmark(tmp_path / "my set")
    make_run(benchmark, tmp_path / "results", Fade(0.5), "instructedit", ratio=0.5, path="/nowhere/of mine/weights.bin")
    html = report(request(tmp_path / "results")).path.read_text()
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", html)
    assert r"wish \x1b[31m\x00 and/or 1" in html
    assert "my set/images/i2.png: not a picture that can be read" in html
    assert "path: .../of mine/weights.bin" in html
    for folder in (tmp_path, Path.cwd(), Path.home()):
        assert str(folder) not in html


class Verdict(Darkness):
    name = "editor_right"

    def details(self) -> Card:
        return {"judge": "truth"}


def test_verdicts_are_listed_with_samples_and_not_in_the_table(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark")
    make_run(benchmark, tmp_path / "results", Fade(0.5), "instructedit", more=[Verdict()], ratio=0.5)
    make_run(benchmark, tmp_path / "results", Fade(0.6), "mdp", more=[Verdict()], start=2)
    made = report(request(tmp_path / "results"))
    (study,) = made.studies
    assert study.metrics == ["lpips", "clip_directional", "mask_iou"]
    assert "editor right" not in section(made.path, "table-1-tiny")
    assert "Component verdicts are listed" in section(made.path, "table-1-tiny")
    assert section(made.path, "samples-tiny").count("editor right") == 12
    assert "all 3 tests" in section(made.path, "differences-tiny")
    check_links(made.path)


def test_paraphrases_are_separate_runs(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark")
    for variation, ratio in ((0, 0.5), (0, 0.7), (1, 0.7), (1, 0.9)):
        make_run(benchmark, tmp_path / "results", Fade(0.5), "instructedit", variation=variation, ratio=ratio)
    made = report(request(tmp_path / "results"))
    (study,) = made.studies
    assert [r.label for r in study.runs][2:] == [f"instructedit ratio={r} variation=1" for r in (0.7, 0.9)]
    assert all(r.was_made_on(study.benchmark) for r in study.runs)
    chosen = study.representative("instructedit")
    assert chosen is not None
    assert [r.hyperparameter("ratio") for r in study.family(chosen, "ratio")] == [0.5, 0.7]
    assert section(made.path, "samples-tiny").count("instruction: in other words 0") == 2


def test_each_benchmark_has_a_part_of_the_page(tmp_path: Path) -> None:
    for name in ("one", "two"):
        benchmark = make_benchmark(tmp_path / name, 2 if name == "one" else 3)
        made_run = make_run(benchmark, tmp_path / "results", Fade(0.5), "instructedit", ratio=0.5)
        config = tmp_path / "results" / "runs" / made_run / "config.yaml"
        config.write_text(config.read_text().replace("name: tiny", f"name: {name} <set>"))
    made = report(request(tmp_path / "results"))
    assert [s.name for s in made.studies] == ["one <set>", "two <set>"]
    assert check_links(made.path) > 30
    assert {"table-1-one--set-", "table-1-two--set-"} <= {s.key for s in made.sections}
    alone = report(request(tmp_path / "results", benchmark="two <set>"))
    assert [s.whole for s in alone.studies] == [3]


def test_a_benchmark_without_its_folder_still_has_numbers(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark")
    make_run(benchmark, tmp_path / "results", Fade(0.5), "instructedit", ratio=0.5)
    (tmp_path / "benchmark").rename(tmp_path / "moved")
    made = report(request(tmp_path / "results"))
    assert any("pictures of benchmark tiny are not shown" in line for line in made.missing)
    assert "table-1-tiny" in {s.key for s in made.sections}
    check_links(made.path)


def test_an_unfinished_run_is_shown_only_if_requested(results: Path, tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark")
    done = make_run(benchmark, tmp_path / "results", Fade(0.5), "instructedit", ratio=0.5)
    open_ = make_run(benchmark, tmp_path / "results", Fade(0.5), "instructedit", ratio=0.9)
    path = tmp_path / "results" / "runs" / open_ / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["finished"] = manifest["sessions"][-1]["finished"] = None
    path.write_text(json.dumps(manifest))
    assert [r.run_id for r in report(request(tmp_path / "results")).studies[0].runs] == [done]
    asked = report(request(tmp_path / "results", runs=[open_]))
    assert [r.run_id for r in asked.studies[0].runs] == [open_]
    assert "not finished" in Links(asked.path).text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runs": "newest"}, "runs=newest: accepted are all, latest, or run ids: v2-"),
        ({"benchmark": "imagenet"}, "benchmark=imagenet: accepted are those with finished runs: tiny"),
    ],
)
def test_a_wrong_request_is_refused(results: Path, tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        report(request(results, tmp_path / "none", **options))
    assert not (tmp_path / "none").exists()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command with command-line arguments and return the exit code."""

    def call(*arguments: str) -> int:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["report", *arguments])
        return script.launch(script.task, "report")

    return call


def test_the_command_writes_the_page_and_says_where(
    call: Callable[..., int], results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(f"results={results}", f"out={tmp_path / 'page'}", "figure_samples=1") == 0
    assert str(tmp_path / "page" / "index.html") in capsys.readouterr().out
    assert (tmp_path / "page" / "tiny" / "figures" / "masks_more.png").is_file()
    assert call(f"results={results}", f"out={tmp_path / 'none'}", "benchmark=picturebook") == 2
    assert "benchmark=picturebook: accepted are those with finished runs: tiny" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("results=nowhere", "no runs in nowhere/runs; python -m scripts.run"),
        ("samples=0", "samples=0: accepted are whole numbers from 1 on"),
        ("pictures=gif", "pictures=gif: accepted are linked, copied, webp, inline, or null"),
        ("interval=wald", "interval=wald: accepted are bca, studentised"),
        ("figure_samples=0", "figure_samples=0: accepted are whole numbers from 1 on"),
        ("colour=red", "colour"),
        ("benchmark=imagenet", "benchmark=imagenet: accepted are emu_edit, folder"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(
    call: Callable[..., int], capsys: pytest.CaptureFixture[str], argument: str, line: str
) -> None:
    assert call(argument) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert line in error[0]
