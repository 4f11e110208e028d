"""Token counts from the records of runs to the report, and their cost."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from eval.analysis.usage import usages
from eval.benchmarks.base import Benchmark
from eval.display import style as words
from eval.report.build import report
from eval.runs.identity import fingerprinted
from eval.runs.run import read_runs
from eval.runs.runner import RunPlan, run
from instructedit.language.prices import Prices
from instructedit.types import EditRequest, EditResult, Failure, Tokens
from tests.eval.report.test_report import Change, Fade, make_benchmark, request, section

PRICES = {"prompt": 0.5, "completion": 2.0}


@dataclass
class Paid(Fade):
    """A method that uses 1000 prompt and 50 completion tokens per sample, and none for the first, which is cached."""

    tokens: Tokens | None = Tokens(1000, 50)

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        kept = None if self.tokens is None else Tokens()
        return [replace(o, tokens=kept if o.id == "s0" else self.tokens) for o in super().edit(requests)]


def make_run(
    benchmark: Benchmark,
    results: Path,
    method: Fade,
    name: str,
    language: dict[str, Any] | None,
    **hyperparameters: float,
) -> None:
    described: dict[str, Any] = {"_target_": f"mine.{name}", "editor": hyperparameters}
    if language is not None:
        # As ratio=auto and photos wrap a method.
        described = {"_target_": "mine.wrapper", "methods": [described | {"language": language}]}
    folder = str(benchmark.samples[0].image.parents[1])
    config = {
        "name": name, "label": f"{name} {hyperparameters}", "benchmark": {"name": "tiny", "folder": folder},
        "wrapper": described, "seed": 0, "variation": 0,
    }  # fmt: skip
    plan = RunPlan(
        name, f"{name} {hyperparameters}", lambda: method,
        fingerprinted(described), benchmark, lambda: [Change()],
        results, config=yaml.safe_dump(config),
    )  # fmt: skip
    run(plan)


def openai(**settings: Any) -> dict[str, Any]:
    return {
        "_target_": "instructedit.language.build.openai",
        "model": "gpt & more",
        "base_url": "http://localhost/v1",
        **settings,
    }


def test_tokens_are_summed_by_method_model_and_prices(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark")
    paid, results = Paid(0.5, fails=("sx1",)), tmp_path / "results"
    for ratio in (0.5, 0.7):
        make_run(benchmark, results, paid, "instructedit", openai(prices=PRICES), ratio=ratio)
    local = {"_target_": "instructedit.language.build.local", "model": {"id": "some/folder"}}
    make_run(benchmark, results, paid, "instructedit", local, ratio=0.5)
    make_run(benchmark, results, paid, "sd_inpainting", openai(prices=None))
    make_run(benchmark, results, Paid(0.5, tokens=None), "mdp", None, start=2)
    found = {(u.method, u.model): u for u in usages(list(read_runs(results)))}
    priced = found["instructedit", "gpt & more"]
    # Two runs of six samples: one reply was cached, and one sample failed but used tokens.
    assert (priced.asked, priced.kept, priced.tokens) == (10, 2, Tokens(10_000, 500))
    assert priced.cost == pytest.approx(0.006)
    assert found["instructedit", "some/folder"].cost is None
    assert found["sd_inpainting", "gpt & more"].cost is None
    assert len(found) == 3

    made = report(request(results))
    html = section(made.path, "timing-tiny")
    assert "gpt &amp; more" in html
    assert re.search(r">10<span class=\"note\">and 2 with cached replies</span>", html)
    assert ">10,000</td>" in html
    assert ">0.006</td>" in html
    with (made.path.parent / "tiny/tables/tokens.csv").open() as file:
        rows = {(r["method"], r["model"]): r for r in csv.DictReader(file)}
    assert rows["instructedit", "gpt & more"]["dollars"] == "0.006"
    assert rows["instructedit", "some/folder"]["dollars"] == ""
    assert rows["sd_inpainting", "gpt & more"]["prompt_tokens"] == "5000"
    (study,) = made.studies
    assert all(r.was_made_on(study.benchmark) for r in study.runs)
    assert not any("prices" in path or "base_url" in path for r in study.runs for path in r.hyperparameters)


def test_runs_that_count_nothing_say_nothing_of_tokens(tmp_path: Path) -> None:
    benchmark = make_benchmark(tmp_path / "benchmark")
    make_run(benchmark, tmp_path / "results", Fade(0.5), "instructedit", None, ratio=0.5)
    made = report(request(tmp_path / "results"))
    assert "prompt tokens" not in section(made.path, "timing-tiny")
    assert not (made.path.parent / "tiny/tables/tokens.csv").exists()


def test_a_cost_is_tokens_times_prices() -> None:
    assert Prices(0.15, 0.6).cost(Tokens(2_000_000, 500_000)) == pytest.approx(0.6)
    assert [words.dollars(v) for v in (0.0, 0.00001, 0.00123, 0.456, 1.239, 12345.6)] == [
        "0.00", "<0.0001", "0.0012", "0.46", "1.24", "12,345.60",
    ]  # fmt: skip
