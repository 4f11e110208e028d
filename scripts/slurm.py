"""The Hydra launcher of ``hydra/launcher=slurm``: one Slurm array, a task for each job of a sweep, through submitit.

hydra-submitit-launcher does the same, but raises at the first task that dies and drops the results of the others, waits
for ever without accounting, counts every preemption of a short job as a time-out, and ends a sweep without its table.
Here, results come from disk: when all tasks have ended, each job is collected in this process.
"""

import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from instructedit.types import ConfigError

if TYPE_CHECKING:
    import submitit

SHARED = ("name", "timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb")
"""Parameters that submitit has for all clusters; the others have the prefix ``slurm_``."""
ENDED = (
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT",
)  # fmt: skip
"""States of a task that will not run again."""
GRACE_S = 20.0
"""Seconds that a result may take to appear on a network file system after its task has ended."""
_NO_REASON = re.compile(r"^(INFO|WARNING) submitit|^submitit |^srun: |^slurmstepd[\w.-]*: |%\|")
"""Lines of a log that do not tell why a task ended: those of submitit and Slurm, and progress bars."""
EARLY_S = 60.0
"""Seconds by which Slurm may send the signal before a time limit too early."""


class SlurmLauncher(Launcher):
    """Submits the jobs of a sweep to Slurm, waits for them and collects them.

    Args:
        submitit_folder: Folder of the tasks' logs, on a file system that all nodes have.
        max_num_timeout: How often a task that is out of time is requeued.
        parameters: Options of sbatch by submitit's names; None leaves one out.
    """

    def __init__(self, submitit_folder: str, max_num_timeout: int, **parameters: Any) -> None:
        self.folder = Path(submitit_folder).absolute()
        self.most_timeouts = int(max_num_timeout)
        self.parameters: dict[str, Any] = {
            k: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v
            for k, v in parameters.items()
            if v is not None
        }

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands to a launcher."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, and collect them.

        Raises:
            ConfigError: A job's configuration is wrong, or Slurm refuses the tasks; then nothing is submitted.
        """
        setup_globals()
        state = Singleton.get_state()
        jobs = [
            _Job(self.context, self.config, self.task, tuple(overrides), initial_job_idx + i, state, *self._limits())
            for i, overrides in enumerate(job_overrides)
        ]
        self._check(jobs)
        tasks = self._submit(jobs)
        try:
            _wait(tasks)
        except KeyboardInterrupt:
            name = tasks[0].job_id.split("_")[0]
            _say(f"the tasks of Slurm job {name} go on; `scancel {name}` ends them, and the same command joins them")
            raise
        common = set[str].intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
        return [self._collected(job, task, common) for job, task in zip(jobs, tasks, strict=True)]

    def _limits(self) -> tuple[float, int]:
        told = float(self.parameters["timeout_min"]) * 60 - float(self.parameters["signal_delay_s"]) - EARLY_S
        return told, self.most_timeouts

    def _check(self, jobs: Sequence["_Job"]) -> None:
        errors: list[ConfigError] = []

        def checked(config: DictConfig) -> None:
            try:
                if check := getattr(self.task, "check", None):
                    check(config)
            except ConfigError as error:
                errors.append(error)

        for job in jobs:
            job.run(checked)
        if errors:
            raise errors[0]

    def _submit(self, jobs: Sequence["_Job"]) -> list["submitit.Job[int]"]:
        import submitit

        if not shutil.which("sbatch"):
            raise ConfigError("hydra/launcher=slurm: no sbatch on the PATH; run it on a machine with Slurm's commands")
        executor = submitit.AutoExecutor(self.folder, cluster="slurm")
        named = {k if k in SHARED else f"slurm_{k}": v for k, v in self.parameters.items()}
        try:
            executor.update_parameters(**named)
            tasks: list[submitit.Job[int]] = executor.map_array(_Job.__call__, list(jobs))
        except (ValueError, NameError) as error:  # an unknown option, or a value that submitit cannot write
            raise ConfigError(f"hydra.launcher: {_first_line(error)}; see conf/hydra/launcher/slurm.yaml") from None
        except (subprocess.SubprocessError, RuntimeError, submitit.core.utils.FailedJobError) as error:
            raise ConfigError(f"hydra.launcher: Slurm refuses: {_refusal(error)}") from None
        _say(f"submitted {len(tasks)} tasks as Slurm job {tasks[0].job_id.split('_')[0]}, logs in {self.folder}")
        return tasks

    def _collected(self, job: "_Job", task: "submitit.Job[int]", common: set[str]) -> JobReturn:
        code, problem = _result(task)
        if problem:
            own = " ".join(o for o in filter_overrides(job.overrides) if o not in common)
            _say(f"task {task.job_id} ({own}): {problem}; log: {task.paths.stderr}")
        collect = getattr(self.task, "collect", None)
        return job.run(partial(collect, code=code) if collect else lambda _: 1 if code is None else code)


@dataclass(frozen=True)
class _Job:
    """One job of a sweep; pickled for its task."""

    context: HydraContext
    config: DictConfig
    task: TaskFunction
    overrides: tuple[str, ...]
    number: int
    state: Any
    """Hydra's singletons."""
    told_s: float
    """Seconds after the start of a task from when on the signal means a time-out, not a preemption."""
    most_timeouts: int

    def __call__(self) -> int:
        """Run the job in its task, and return its exit code."""
        from submitit import JobEnvironment

        environment = JobEnvironment()
        signal.signal(getattr(signal, f"SIG{JobEnvironment.USR_SIG}"), partial(self._requeue, environment, time.time()))
        Singleton.set_state(self.state)
        setup_globals()
        return int(self.run(self.task, environment.job_id).return_value)

    def run(self, task: TaskFunction, job_id: str | None = None) -> JobReturn:
        """Run a function of the job's configuration, as Hydra's own launcher does."""
        config = self.context.config_loader.load_sweep_config(self.config, list(self.overrides))
        with open_dict(config):
            config.hydra.job.id = job_id or f"{config.hydra.job.name}_{self.number}"
            config.hydra.job.num = self.number
        return run_job(task, config, "hydra.sweep.dir", "hydra.sweep.subdir", self.context)

    def _requeue(self, environment: Any, started: float, number: int, frame: object) -> None:
        """Requeue the task at Slurm's signal; what is done is on disk, so the same job resumes.

        submitit's own handler raises an Exception when it gives up, which would become the failure of a sample.
        """
        name, count = environment.job_id, Path(environment.paths.folder) / f"{environment.job_id}_timeouts"
        if time.time() - started >= self.told_s:
            timeouts = (count.stat().st_size if count.exists() else 0) + 1
            with count.open("ab") as file:
                file.write(b".")
            if timeouts > self.most_timeouts:
                _tell(f"out of time {timeouts} times, more than hydra.launcher.max_num_timeout={self.most_timeouts}")
                sys.exit(1)
            _tell(f"out of time, requeued ({timeouts} of {self.most_timeouts})")
        else:
            _tell("preempted, requeued")
        subprocess.run(["scontrol", "requeue", name], check=True, timeout=60)
        sys.exit(1)


def _wait(tasks: Sequence["submitit.Job[int]"]) -> None:
    """Wait until each task has written its result, or has ended without one.

    squeue is asked, because sacct knows nothing on a cluster without accounting.
    """
    waiting, ended = list(tasks), dict[str, float]()
    start, asked, shown = time.monotonic(), float("-inf"), ""
    while waiting := [task for task in waiting if not task.paths.result_pickle.exists()]:
        now = time.monotonic()
        if now - asked > min(30, max(2, (now - start) / 10)):
            asked, states = now, states_of(waiting[0].job_id.split("_")[0])
            for task in waiting if states is not None else ():
                assert states is not None
                if states.get(task.job_id, "gone") in (*ENDED, "gone"):
                    ended.setdefault(task.job_id, now)
                else:
                    ended.pop(task.job_id, None)
            counts = Counter((states or {}).get(task.job_id, "ended").lower() for task in waiting)
            line = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
            line = (
                "squeue does not answer; still waiting"
                if states is None
                else f"{len(tasks) - len(waiting)} done, {line}"
            )
            if line != shown:
                _say(line)
            shown = line
        waiting = [task for task in waiting if now - ended.get(task.job_id, now) < GRACE_S]
        time.sleep(1)


def states_of(array: str) -> dict[str, str] | None:
    """Return the state of each task that Slurm remembers; None if it does not answer."""
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={array}", "--format=%i %T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode and "Invalid job id" not in done.stderr:
        return None
    return dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)


def _result(task: "submitit.Job[int]") -> tuple[int | None, str]:
    """Return the exit code of a task, None if it died, and what was wrong with it."""
    if not task.paths.result_pickle.exists():
        state = (states_of(task.job_id.split("_")[0]) or {}).get(task.job_id, "forgotten by Slurm")
        return None, f"ended without a result, state {state}{last_line(task.paths.stderr)}"
    if (error := task.exception()) is not None:
        return None, f"raised {str(error).strip().splitlines()[-1]}"
    code = task.result()
    return code, f"exit code {code}{last_line(task.paths.stderr)}" if code else ""


def last_line(path: Path) -> str:
    """Return ``, last line: ...`` with the last line of a log that may tell why its task ended; empty without one."""
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    lines = [line for line in lines if line.strip() and not _NO_REASON.search(line)]
    return f", last line: {lines[-1][:200]}" if lines else ""


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _refusal(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if "error" in line] or [_first_line(error)]
    return " ".join(lines[-1].split())


def _tell(line: str) -> None:
    """Print a line of its own to a task's log, where a progress bar may be in the middle of its line."""
    print(file=sys.stderr)
    _say(line)


def _say(line: str) -> None:
    print(f"slurm: {line}", file=sys.stderr, flush=True)


# Hydra instantiates only plugins whose name says that they are in the package hydra_plugins.
Plugins.instance().class_name_to_class["hydra_plugins.instructedit.SlurmLauncher"] = SlurmLauncher
