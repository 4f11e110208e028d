"""Finished runs are logged to W&B completely and offline, and logging errors do not affect a run."""

import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from eval.analysis.stats import mean_interval
from eval.benchmarks.base import Benchmark
from eval.loggers.base import Reporter, described, group_of
from eval.loggers.wandb import WandbLogger, chosen
from eval.runs.records import SampleRecord, record_of
from eval.runs.run import Run
from eval.runs.runner import RunPlan, run
from eval.runs.store import RunStore
from instructedit.cache import StageCache
from instructedit.models import Context, ModelPool
from instructedit.types import ConfigError, EditRequest, EditResult, Failure, Sample
from scripts import publish as publish_script
from scripts.app import OK, SOME_FAILED, WRONG_REQUEST
from scripts.sweep import Sweep
from tests.eval.loggers.wandb_file import items, records
from tests.eval.runs.test_runner import ROOT, Invert, make_benchmark, make_plan

OFFLINE = WandbLogger("tests", samples=3, tags=("a tag",))


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A server in place of W&B's that records requests; the tests must cause none."""
    callers: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            while True:
                try:
                    connection, caller = listener.accept()
                except OSError:
                    return
                callers.append(caller)
                connection.close()

        threading.Thread(target=listen, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.delenv("WANDB_API_KEY", raising=False)
        yield callers
        # W&B keeps address, key and ids as long as its service runs.
        wandb.teardown()
        listener.shutdown(socket.SHUT_RDWR)
    assert not callers


@pytest.fixture(autouse=True)
def _nothing_is_left_in_the_repository() -> Iterator[None]:
    before = set(ROOT.iterdir())
    yield
    assert {path for path in set(ROOT.iterdir()) - before if "wandb" in path.name or path.suffix == ".log"} == set()


@pytest.fixture
def context() -> Context:
    return Context(ModelPool(), StageCache(None), torch.device("cpu"))


class Growing(Invert):
    """Masks that grow by 40 pixels from sample to sample, so that the metric has an interval."""

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        cells = np.arange(256).reshape(16, 16)
        return [
            replace(o, mask=cells < 40 * (1 + int(o.id[1:]))) if isinstance(o, EditResult) else o
            for o in super().edit(requests)
        ]


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    """Seven samples, one of which fails."""
    benchmark = make_benchmark(tmp_path / "benchmark")
    made = make_plan(benchmark, Growing(fails=("s1",)), tmp_path / "results")
    config = {
        "name": "invert", "label": "invert it", "seed": 0, "method": {"name": "invert"}, "wrapper": {"name": "invert"},
        "benchmark": {"folder": str(tmp_path / "benchmark")},
    }  # fmt: skip
    decides = config["method"]
    assert isinstance(decides, dict)
    return replace(made, decides=decides, config=yaml.safe_dump(config), checkpoints={"some/model": "abc123"})


def wandb_file(results: Path, run_id: str) -> Path:
    (path,) = (results / "wandb").glob(f"offline-run-*-{run_id}/run-{run_id}.wandb")
    return path


def first(found: list[Any], kind: str) -> Any:
    return next(getattr(record, kind) for record in found if record.WhichOneof("record_type") == kind)


def artifacts(found: list[Any]) -> dict[str, Any]:
    requests = [r.request.log_artifact.artifact for r in found if r.request.HasField("log_artifact")]
    direct = [r.artifact for r in found if r.WhichOneof("record_type") == "artifact"]
    return {artifact.name: artifact for artifact in (*requests, *direct)}


def test_what_is_logged_offline_can_be_read_back(plan: RunPlan, context: Context) -> None:
    report = run(plan).run
    assert Reporter().tell(OFFLINE, plan.results, report.run_id, plan.benchmark, "the sweep")
    path = wandb_file(plan.results, report.run_id)
    found = records(path)

    told = first(found, "run")
    assert (told.run_id, told.project, told.run_group, told.job_type) == (report.run_id, "tests", "the sweep", "invert")
    assert (told.display_name, list(told.tags)) == ("invert it", ["a tag"])
    config = items(told.config.update)
    assert config["method"] == {"name": "invert"}
    (session,) = config["provenance"]["sessions"]
    assert session["checkpoints"] == {"some/model": "abc123"}
    assert session["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert [card["metric"] for card in config["cards"].values()] == ["mask_iou"]

    summary = {k: v for r in found if r.HasField("summary") for k, v in items(r.summary.update).items()}
    values = {f"s{i}": min(1, 40 * (1 + i) / 256) for i in (0, 2, 3, 4, 5, 6)}
    interval = mean_interval(list(values.values()))
    assert interval.low is not None
    assert interval.low < summary["mask_iou/mean"] == pytest.approx(sum(values.values()) / 6, rel=1e-12)
    assert [summary[f"mask_iou/{key}"] for key in ("low", "high", "n")] == [interval.low, interval.high, 6]
    assert (summary["edited"], summary["failed"]) == (6, 1)

    history = {k: v for r in found if r.HasField("history") for k, v in items(r.history.item).items()}
    files = path.parent / "files"
    table = json.loads((files / history["samples/path"]).read_text())
    assert table["columns"] == ["id", "instruction", "input", "mask", "edit", "mask_iou"]
    assert len(table["data"]) == 3
    assert {row[1] for row in table["data"]} == {"invert it"}
    assert all(row[5] == pytest.approx(values[row[0]]) for row in table["data"])
    failures = json.loads((files / history["failures/path"]).read_text())
    assert failures["data"] == [["s1", "invert it", "segmenter", "StageError", "no box found"]]


def test_pictures_and_metrics_are_artifacts_whose_files_lie_in_the_results(plan: RunPlan, context: Context) -> None:
    report = run(plan).run
    assert Reporter().tell(OFFLINE, plan.results, report.run_id, plan.benchmark, None)
    logged = artifacts(records(wandb_file(plan.results, report.run_id)))
    (metrics,) = logged[f"metrics-{report.run_id}"].manifest.contents
    assert metrics.path == "metrics.parquet"
    local = Path(metrics.local_path)
    assert local.is_relative_to(plan.results.resolve() / "wandb" / "staged")
    assert local.read_bytes() == (plan.results / "runs" / report.run_id / "metrics.parquet").read_bytes()
    (name,) = (name for name in logged if name.endswith("-samples"))
    pictures = [entry for entry in logged[name].manifest.contents if entry.path.endswith(".png")]
    # The three inputs differ, the masks and edits too.
    assert len(pictures) == 9
    assert all(Path(entry.local_path).read_bytes()[:4] == b"\x89PNG" for entry in pictures)


def test_a_second_time_replaces_the_first(plan: RunPlan, context: Context) -> None:
    report = run(plan).run
    assert Reporter().tell(OFFLINE, plan.results, report.run_id, plan.benchmark, "one")
    before = wandb_file(plan.results, report.run_id)
    time.sleep(1)  # W&B names folders by the second
    assert Reporter().tell(OFFLINE, plan.results, report.run_id, plan.benchmark, "two")
    after = wandb_file(plan.results, report.run_id)
    assert before != after
    assert first(records(after), "run").run_group == "two"
    assert len(list((plan.results / "wandb" / "staged").iterdir())) == 1


def test_the_environment_is_as_before(plan: RunPlan, context: Context) -> None:
    report, before = run(plan).run, dict(os.environ)
    Reporter().tell(OFFLINE, plan.results, report.run_id, None, None)
    # W&B finds its service by this variable.
    assert {k: v for k, v in os.environ.items() if k != "WANDB_SERVICE"} == before
    assert wandb.run is None


def edit_record(name: str) -> SampleRecord:
    return record_of(EditResult(name, Image.new("RGB", (1, 1))), Sample(name, Path(), "Change it"))


def test_the_shown_samples_are_the_same_for_every_run() -> None:
    lines = {f"s{i}": edit_record(f"s{i}") for i in range(50)}
    few = [line.id for line in chosen(lines, 8)]
    assert few == sorted(few)
    assert [line.id for line in chosen(dict(reversed(lines.items())), 8)] == few
    gone = next(iter(few))
    others = [line.id for line in chosen({k: v for k, v in lines.items() if k != gone}, 8)]
    assert len(set(few) - set(others)) == 1
    assert len(chosen(lines, 100)) == 50
    assert chosen({"s": record_of(Failure("s", "editor", "E", "no"), Sample("s", Path(), "Change it"))}, 8) == []


@dataclass
class Exploding:
    """A logger that fails in a given way."""

    error: BaseException
    asked: list[str] = field(default_factory=list)

    def log(self, run: Run, benchmark: Benchmark | None, group: str | None) -> None:
        self.asked.append(run.run_id)
        raise self.error


def outcome(results: Path) -> dict[str, bytes]:
    files = [p for p in (results / "runs").rglob("*") if p.suffix in (".png", ".parquet")]
    return {str(p.relative_to(results)): p.read_bytes() for p in files}


def sweep_once(plan: RunPlan, context: Context, monkeypatch: pytest.MonkeyPatch, logger: Any, jobs: int = 1) -> int:
    """The jobs of a command, on a plan of small parts; returns the worst exit code."""
    monkeypatch.setattr("scripts.sweep.plan", lambda config: plan)
    sweep, config = Sweep(), with_logger(logger)
    return max(sweep.job(config) for _ in range(jobs))


def with_logger(logger: dict[str, Any] | None) -> DictConfig:
    """The command's whole configuration, so that a job finds whatever it reads."""
    config = composed("config")
    OmegaConf.set_struct(config, False)
    config.logger = logger
    return config


BROKEN = ["not installed", "raises", "exits", "no key", "no server", "disk"]


def break_wandb(how: str, monkeypatch: pytest.MonkeyPatch, results: Path) -> dict[str, Any]:
    """Break W&B in one way; returns the logger's configuration."""

    def explode(*args: Any, **kwargs: Any) -> None:
        raise SystemExit(3) if how == "exits" else RuntimeError("the key is 0123456789-secret\nand so on")

    if how == "not installed":
        monkeypatch.setitem(sys.modules, "wandb", None)
    elif how in ("raises", "exits"):
        monkeypatch.setattr(wandb, "init", explode)
    elif how == "disk":
        results.mkdir(parents=True)
        (results / "wandb").write_text("a file where the folder should be")
    elif how == "no server":
        with socket.create_server(("127.0.0.1", 0)) as free:
            monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2 + "01234567")
    mode = "online" if how in ("no key", "no server") else "offline"
    timeout = 2.0 if how == "no server" else 30.0
    target = "eval.loggers.wandb.WandbLogger"
    return {"_target_": target, "project": "tests", "mode": mode, "timeout": timeout}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_wandb_costs_one_warning_and_nothing_else(
    plan: RunPlan,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    how: str,
) -> None:
    undisturbed = replace(plan, results=tmp_path / "undisturbed")
    code = sweep_once(undisturbed, context, monkeypatch, None)
    assert code == SOME_FAILED
    printed = capsys.readouterr().out
    monkeypatch.setenv("WANDB_TESTS_TOKEN", "0123456789-secret")
    logger = break_wandb(how, monkeypatch, plan.results)
    with caplog.at_level(logging.WARNING):
        started = time.monotonic()
        assert sweep_once(plan, context, monkeypatch, logger, jobs=2) == code
        assert time.monotonic() - started < 20
    assert outcome(plan.results) == outcome(undisturbed.results)
    (warning,) = (r for r in caplog.records if r.name == "eval.loggers.base")
    line = warning.getMessage()
    assert "\n" not in line
    assert "results are in" in line
    assert "secret" not in line
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("error", [RuntimeError("x"), SystemExit(1), KeyError("y"), MemoryError()])
def test_after_a_failure_the_logger_is_left_alone(plan: RunPlan, context: Context, error: BaseException) -> None:
    report = run(plan).run
    reporter, logger = Reporter(), Exploding(error)
    told = [reporter.tell(logger, plan.results, report.run_id, None, None) for _ in range(3)]
    assert told == [False] * 3
    assert logger.asked == [report.run_id]


def test_an_interrupt_is_still_an_interrupt(plan: RunPlan, context: Context) -> None:
    report = run(plan).run
    with pytest.raises(KeyboardInterrupt):
        Reporter().tell(Exploding(KeyboardInterrupt()), plan.results, report.run_id, None, None)


def test_a_sweep_tells_its_logger_of_each_run_under_one_group(
    plan: RunPlan, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "-m", "method=invert", "logger=wandb"])
    plans = [plan, replace(plan, seed=1)]
    logger = {"_target_": "eval.loggers.wandb.WandbLogger", "project": "tests", "samples": 1}
    sweep, config, left = Sweep(), with_logger(logger), iter(plans)
    monkeypatch.setattr("scripts.sweep.plan", lambda config: next(left))
    for _ in plans:
        sweep.job(config)
    told = [first(records(wandb_file(plan.results, p.run_id)), "run") for p in plans]
    assert told[0].run_id != told[1].run_id
    assert told[0].run_group == told[1].run_group == group_of(["method=invert"])


def test_the_group_is_the_commands_own_and_the_same_each_time() -> None:
    group = group_of(["-m", "method=diffedit", "theta=0.3,0.5"])
    assert group.startswith("method=diffedit_theta=0.3,0.5-")
    assert group == group_of(["theta=0.3,0.5", "method=diffedit", "logger=wandb", "device=cuda", "results=/x", "-m"])
    assert group != group_of(["method=diffedit", "theta=0.3,0.7"])
    assert group_of([]).startswith("default-")
    assert len(group_of([f"limit={'9' * 500}"])) <= 100


def test_an_error_is_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "abcdefgh12345678")
    line = described(ValueError("bad key abcdefgh12345678\n" + "x" * 1000))
    assert line.startswith("ValueError: bad key *** xxx")
    assert len(line) == 300


def composed(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(name, list(overrides))


def resolved(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def test_the_logger_is_off_unless_asked_for_and_offline_unless_told_otherwise() -> None:
    assert composed("config").logger is None
    logger = instantiate(composed("config", "logger=wandb").logger, _convert_="all")
    assert isinstance(logger, WandbLogger)
    assert (logger.mode, logger.project, logger.entity, logger.samples) == ("offline", "instructedit", None, 24)
    assert composed("publish").logger.mode == "online"
    assert "key" not in OmegaConf.to_yaml(composed("config", "logger=wandb").logger).lower()


def test_the_logger_is_no_part_of_what_decides_the_run_id() -> None:
    """The id depends on the resolved ``method``, the benchmark and the seed only."""
    plain, told = (resolved(composed("config", f"logger={name}")) for name in ("none", "wandb"))
    assert plain["logger"] is None
    assert {key for key in told if told[key] != plain[key]} == {"logger"}


@pytest.mark.parametrize(
    ("setting", "accepted"), [({"mode": "shared"}, "online, offline"), ({"samples": -1}, "from 0")]
)
def test_wrong_settings_are_the_requests_fault(setting: dict[str, Any], accepted: str) -> None:
    with pytest.raises(ConfigError, match=accepted):
        WandbLogger("tests", **setting)


def publish(monkeypatch: pytest.MonkeyPatch, results: Path, *overrides: str) -> int:
    GlobalHydra.instance().clear()
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["publish", f"results={results}", "logger.mode=offline", *overrides])
    return publish_script.launch(publish_script.task, "publish")


def test_publish_tells_of_what_lies_on_disk(
    plan: RunPlan, context: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = plan, replace(plan, seed=1)
    for made in both:
        run(made)
    assert publish(monkeypatch, plan.results, f"runs=[{both[1].run_id}]") == OK
    assert list((plan.results / "wandb").glob(f"offline-run-*-{both[0].run_id}")) == []
    assert publish(monkeypatch, plan.results) == OK
    assert "2 of 2 runs published" in capsys.readouterr().out
    # The same code: the same numbers, and the input pictures found again by the benchmark's folder.
    logged = artifacts(records(wandb_file(plan.results, both[0].run_id)))
    assert f"metrics-{both[0].run_id}" in logged
    told = first(records(wandb_file(plan.results, both[0].run_id)), "run")
    assert items(told.config.update)["provenance"]["run_id"] == both[0].run_id


def test_publish_leaves_the_input_out_where_the_benchmark_has_changed(plan: RunPlan, context: Context) -> None:
    run(plan)
    (stored,) = publish_script.selected(plan.results, "all")
    assert publish_script.benchmark_of(stored) is not None
    publish_script._loaded.cache_clear()
    plan.benchmark.samples[0].image.write_bytes(plan.benchmark.samples[1].image.read_bytes())
    assert publish_script.benchmark_of(stored) is None
    assert Reporter().tell(OFFLINE, plan.results, stored.run_id, None, None)
    assert RunStore(plan.results, stored.run_id).read_metrics() is not None


@pytest.mark.parametrize(
    ("override", "line"),
    [("runs=[v1-none]", "runs=v1-none: not in"), ("logger=none", "logger=none publishes nothing")],
)
def test_publish_names_what_is_wrong(
    plan: RunPlan,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    override: str,
    line: str,
) -> None:
    run(plan)
    assert publish(monkeypatch, plan.results, override) == WRONG_REQUEST
    assert line in capsys.readouterr().err


def test_publish_without_a_key_says_so_and_exits_with_1(
    plan: RunPlan, context: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(plan)
    monkeypatch.setenv("NETRC", os.devnull)
    assert publish(monkeypatch, plan.results, "logger.mode=online") == SOME_FAILED
    assert "0 of 1 runs published" in capsys.readouterr().out
