"""Collect the runs of one command, and show a table and a sheet of all of them at the end."""

import logging
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict
from rich.console import Console

from eval.analysis.selection import Choice, Rule, remember
from eval.benchmarks.base import Benchmark
from eval.display.image_grid import sheet
from eval.display.terminal import distinct, show
from eval.loggers.base import Logger, Reporter, group_of
from eval.runs.identity import run_id
from eval.runs.labels import CHOICES, distinguished
from eval.runs.plan import plan
from eval.runs.runner import Outcome, RunPlan, run, stored
from instructedit.images import save_png

log = logging.getLogger(__name__)


@dataclass
class Sweep:
    """The runs of this command."""

    outcomes: list[Outcome] = field(default_factory=list)
    benchmarks: dict[str, Benchmark] = field(default_factory=dict)
    results: Path = Path("results")
    rule: Rule | None = None
    group: str = field(default_factory=lambda: group_of(sys.argv[1:]))
    """W&B group of the command, the same for all its runs on all machines."""
    reporter: Reporter = field(default_factory=Reporter)
    logged: set[str] = field(default_factory=set)
    """Ids of the runs that were logged."""

    def job(self, config: DictConfig) -> bool:
        """Run one job and return whether one of its samples failed."""
        run_plan = plan(_with_choices(config))
        # The logger is built before the run so that wrong settings are reported at once.
        logger = instantiate(config.logger, _convert_="all") if config.logger else None
        outcome = run(run_plan)
        self._add(config, run_plan, outcome)
        # A shard sees a part of its run only.
        if logger and config.shard is None:
            self._log(logger, run_plan)
        return bool(outcome.run.failed)

    def collect(self, config: DictConfig) -> bool:
        """Read what a job on a cluster has stored, and return whether something failed or is missing."""
        run_plan = plan(_with_choices(config))
        outcome = stored(run_plan)
        self._add(config, run_plan, outcome)
        if config.logger and config.shard is not None and run_plan.run_id not in self.logged:
            self._log(instantiate(config.logger, _convert_="all"), run_plan)
        return bool(outcome.run.failed or outcome.missing or not outcome.is_scored)

    def _add(self, config: DictConfig, run_plan: RunPlan, outcome: Outcome) -> None:
        same = [i for i, o in enumerate(self.outcomes) if o.run.run_id == outcome.run.run_id]
        if config.shard is not None and same:
            # Shards are one run: its last state counts.
            new = None if outcome.new is None else outcome.new + (self.outcomes[same[0]].new or 0)
            self.outcomes[same[0]] = replace(outcome, new=new)
        else:
            self.outcomes.append(outcome)
        self.benchmarks[run_plan.benchmark.revision] = run_plan.benchmark
        self.results = run_plan.results
        self.rule = Rule(float(config.tuning.weight)) if config.tuning else None

    def _log(self, logger: Logger, run_plan: RunPlan) -> None:
        self.logged.add(run_plan.run_id)
        self.reporter.tell(logger, run_plan.results, run_plan.run_id, run_plan.benchmark, self.group)

    def finish(self) -> None:
        """Print the table of all runs and write the sheet of their edits."""
        labelled = distinguished([outcome.run for outcome in self.outcomes])
        outcomes = [replace(outcome, run=run) for outcome, run in zip(self.outcomes, labelled, strict=True)]
        runs = [outcome.run for outcome in distinct(outcomes)]
        if self.rule:
            remember(self.results, Choice(self.rule, tuple(r.run_id for r in runs)))
        show(Console(), outcomes, list(self.benchmarks.values()), self.rule)
        # The rows of a sheet are samples, so all runs must have the same benchmark.
        if len(self.benchmarks) == 1:
            (benchmark,) = self.benchmarks.values()
            path = self.results / "sheets" / f"{run_id({'runs': [r.run_id for r in runs]})}.png"
            try:
                save_png(sheet(benchmark, runs), path)
            except OSError as error:  # the runs are stored, and the same command draws it again
                log.warning("the sheet of all edits is not written: %s", error)
            else:
                print(f"input, mask and edits side by side: {path}")


def _with_choices(config: DictConfig) -> DictConfig:
    """Return the configuration with the names of the choices that Hydra composed it of, for the labels of runs."""
    if not HydraConfig.initialized():
        return config
    config, choices = config.copy(), HydraConfig.get().runtime.choices
    with open_dict(config):
        config[CHOICES] = {key: choice for key, choice in choices.items() if key in config and choice is not None}
    return config
