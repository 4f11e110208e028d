"""Sweeps through a real Slurm: arrays, shards, tasks that are killed, preempted, out of time or raise."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eval.runs.records import records_equal_ignoring_timing
from eval.runs.run import Run, read_runs
from scripts.slurm import last_line, states_of
from tests.cluster.slurm_node import Node

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SLURM = ["hydra/launcher=slurm"]
SLURM += [f"hydra.launcher.{o}" for o in ("partition=debug", "cpus_per_task=1", "mem_gb=1.5", "timeout_min=10")]
STUBBORN = ["--config-dir", "tests/cluster/conf", "method=stubborn", "metric=none", "batch_size=1"]


class Command:
    """A running ``python -m scripts.run -m``."""

    def __init__(self, node: Node, results: Path, *overrides: str) -> None:
        self.node, self.results = node, results
        command = [sys.executable, "-m", "scripts.run", "-m", *overrides, f"results={results}"]
        environment = node.environment | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        # To files, because a full pipe would stop the command.
        self.out, self.err = results.parent / "out", results.parent / "err"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=err)

    def ended(self) -> tuple[int, str, str]:
        """Wait for the end, and return the exit code and what was printed to stdout and stderr."""
        try:
            code = self.process.wait(240)
        finally:
            self.process.kill()
        return code, self.out.read_text(), self.err.read_text()

    def wait_for(self, what: str, minimum: int = 1, path: str = "*/runs/*/samples.jsonl") -> None:
        """Wait until a text is often enough in the files of a pattern, relative to the folder of the results."""
        deadline = time.monotonic() + 120
        while sum(p.read_text().count(what) for p in self.results.parent.glob(path)) < minimum:
            assert self.process.poll() is None, self.err.read_text()
            assert time.monotonic() < deadline, self.err.read_text() + self.node.logs()
            time.sleep(0.1)

    @property
    def job(self) -> str:
        """The id of the Slurm job."""
        self.wait_for("as Slurm job", path="err")
        (job,) = re.findall(r"as Slurm job (\d+)", self.err.read_text())
        return str(job)


def runs_of(results: Path) -> list[Run]:
    return sorted(read_runs(results), key=lambda r: r.plain_label)


def test_an_array_of_shards_ends_as_a_sweep_on_this_machine_does(node: Node, tmp_path: Path) -> None:
    sweep = ["method=instruct_pix2pix", "method.steps=5", "limit=6", "batch_size=1", "image_guidance_scale=1.5,2"]
    (tmp_path / "slurm").mkdir()
    (tmp_path / "here").mkdir()
    jobs = Command(node, tmp_path / "slurm" / "results", *sweep, "shard=range(2)", *SLURM)
    code, out, err = jobs.ended()
    assert code == 0, err
    assert "submitted 4 tasks as Slurm job" in err
    here = Command(node, tmp_path / "here" / "results", *sweep)
    assert here.ended()[0] == 0
    ours, theirs = runs_of(jobs.results), runs_of(here.results)
    assert [r.run_id for r in ours] == [r.run_id for r in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert records_equal_ignoring_timing(one.records, other.records)
        assert one.store.lines() == dict.fromkeys(one.records, 1)
        assert sorted(one.values.itertuples(index=False)) == sorted(other.values.itertuples(index=False))
        assert len({s.process for s in one.sessions}) == 2
    table = out[: out.index("complete")]
    assert table == here.out.read_text()[: len(table)]
    # A second time, no task has anything to do.
    again = Command(node, jobs.results, *sweep, "shard=range(2)", *SLURM)
    assert again.ended()[0] == 0
    assert [r.store.lines() for r in runs_of(jobs.results)] == [r.store.lines() for r in ours]


def test_the_samples_of_a_killed_shard_are_done_by_the_other(node: Node, tmp_path: Path) -> None:
    command = Command(node, tmp_path / "results", *STUBBORN, "limit=16", "shard=range(2)", *SLURM)
    command.wait_for('"id"', 2)
    (run,) = runs_of(command.results)
    os.kill(int(run.sessions[0].process.split()[1]), signal.SIGKILL)
    code, out, err = command.ended()
    assert code == 0, err
    (run,) = runs_of(command.results)
    assert (run.edited, set(run.store.lines().values())) == (16, {1})
    assert re.search(rf"task {command.job}_[01] \(shard=[01]\): ended without a result, state FAILED.*log: ", err), err
    assert "stubborn fault=none: complete" in out


def test_tasks_that_die_or_raise_end_the_sweep_with_its_table(node: Node, tmp_path: Path) -> None:
    sweep = [*STUBBORN, "limit=2", "fault=none,die,raise,fail"]
    code, out, err = Command(node, tmp_path / "results", *sweep, *SLURM).ended()
    assert code == 1, err
    assert re.search(r"\(fault=die\): ended without a result, state FAILED", err), err
    assert re.search(r"\(fault=raise\): exit code 1, last line: RuntimeError: no such device", err), err
    assert re.search(r"failed: stubborn fault=fail: single_01\w+: editor: will not", out)
    for line in ("none: complete", "die: 2 samples missing", "raise: 2 samples missing", "fail: complete"):
        assert f"stubborn fault={line}" in out
    state = subprocess.run(
        [sys.executable, "-m", "scripts.status", f"results={tmp_path / 'results'}"],
        cwd=ROOT, capture_output=True, text=True, check=True, env=node.environment | {"COLUMNS": "200"},
    ).stdout  # fmt: skip
    rows = {r[0]: r[1:5] for line in state.splitlines() if len(r := line.replace("stubborn ", "").split()) > 4}
    assert rows["fault=none"] == ["2", "-", "-", "-"]
    assert rows["fault=die"] == ["-", "-", "-", "2"]
    assert rows["fault=fail"] == ["1", "-", "1", "-"]
    assert "interrupted, began" in state


def test_a_preempted_task_is_requeued_and_resumes(node: Node, tmp_path: Path) -> None:
    command = Command(node, tmp_path / "results", *STUBBORN, "limit=14", "shard=range(2)", *SLURM)
    command.wait_for('"id"', 2)
    node.call("srun", "--partition=high", "--ntasks=2", "--time=1", "sleep", "1")
    code, out, err = command.ended()
    assert code == 0, err
    (run,) = runs_of(command.results)
    assert (run.edited, set(run.store.lines().values())) == (14, {1})
    logs = [path.read_text() for path in sorted((tmp_path / "results").glob("sweeps/*/slurm/*.err"))]
    assert ["preempted, requeued" in log for log in logs] == [True, True]
    # A preemption of a short job is no time-out.
    assert not any("out of time" in log for log in logs)


def test_a_task_that_is_out_of_time_is_requeued_as_often_as_allowed(node: Node, tmp_path: Path) -> None:
    # 90 seconds of work; the signal comes 20 to 50 seconds after the start.
    sweep = [*STUBBORN, "seconds=3", *SLURM]
    short = ["hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=10", "hydra.launcher.max_num_timeout=1"]
    once = Command(node, tmp_path / "results", *sweep, *short)
    code, out, err = once.ended()
    assert code == 1, err
    assert "last line: slurm: out of time 2 times, more than hydra.launcher.max_num_timeout=1" in err, err
    (log,) = (tmp_path / "results").glob("sweeps/*/slurm/*.err")
    assert "slurm: out of time, requeued (1 of 1)" in log.read_text()
    (before,) = runs_of(once.results)
    assert 0 < before.edited < 30
    assert len(before.sessions) == 2
    assert f"stubborn fault=none: {30 - before.edited} samples missing" in out
    # Another number of tasks does the rest.
    again = Command(node, tmp_path / "results", *sweep, "shard=range(2)")
    code, out, err = again.ended()
    assert code == 0, err
    (run,) = runs_of(again.results)
    assert (run.edited, set(run.store.lines().values())) == (30, {1})


def test_a_task_that_slurm_has_forgotten_is_known_to_have_ended(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(key, node.environment[key])
    assert states_of("4000000") == {}
    # What squeue says of a controller that is down, which it does after a minute only.
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert states_of("4000000") is None


def test_the_reason_is_told_apart_from_bars_and_slurms_own_lines(tmp_path: Path) -> None:
    log = tmp_path / "log.err"
    said = "slurm: out of time 2 times, more than hydra.launcher.max_num_timeout=1"
    log.write_text(
        f"a:  43%|####  | 13/30 [00:15<00:51, 3.01s/edit]\r a:  47%|#### | 14/30 [00:18<00:48, 3.01s/edit]\n{said}\n"
        "a:  47%|####  | 14/30 [00:18<00:49, 3.08s/edit]\nsrun: error: n7: task 0: Exited with exit code 1\n"
        "slurmstepd-n7: error: *** STEP 18.0 ON n7 CANCELLED AT 2026-11-24T23:47:37 DUE TO JOB REQUEUE ***\n"
    )
    assert last_line(log) == f", last line: {said}"
    log.write_text("submitit INFO - Job completed successfully\n\n")
    assert last_line(log) == ""


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("hydra.launcher.partition=nowhere", "Slurm refuses: .*Invalid partition"),
        ("ratio=2", "ratio=2"),
        ("hydra.launcher.gpus_per_node=9", "Slurm refuses: "),
    ],
)
def test_a_wrong_request_is_refused_before_a_task_is_made(node: Node, tmp_path: Path, override: str, line: str) -> None:
    code, _, err = Command(node, tmp_path / "results", *SLURM, override).ended()
    assert code == 2, err
    assert re.search(line, err)
    assert "submitted" not in err
