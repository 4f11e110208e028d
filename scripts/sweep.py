"""The runs of one command: each as it comes in, and at the end the table and the sheet of them all."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from eval.analysis.selection import Choice, Rule, remember
from eval.benchmarks.base import Benchmark
from eval.display.image_grid import sheet
from eval.display.terminal import distinct, show
from eval.loggers.base import Reporter, group_of
from eval.runs.identity import run_id
from eval.runs.plan import plan
from eval.runs.runner import Outcome, run
from instructedit.images import save_png


@dataclass
class Sweep:
    """The runs of this command, as they come in."""

    outcomes: list[Outcome] = field(default_factory=list)
    benchmarks: dict[str, Benchmark] = field(default_factory=dict)
    results: Path = Path("results")
    rule: Rule | None = None
    group: str = field(default_factory=lambda: group_of(sys.argv[1:]))
    """Of the command as it was given, and the same for all its runs wherever they run."""
    reporter: Reporter = field(default_factory=Reporter)

    def job(self, config: DictConfig) -> bool:
        """One run; says whether a sample of it failed."""
        made, context = plan(config)
        # Built before the run, so that a wrong setting is named at once; used after it.
        logger = instantiate(config.logger, _convert_="all") if config.logger else None
        outcome = run(made, context)
        self.outcomes.append(outcome)
        self.benchmarks[made.benchmark.revision] = made.benchmark
        self.results = made.results
        self.rule = Rule(float(config.tuning.weight)) if config.tuning else None
        if logger:
            self.reporter.tell(logger, made.results, outcome.run.run_id, made.benchmark, self.group)
        return bool(outcome.run.failed)

    def finish(self) -> None:
        """Print the table of all runs and draw the sheet of their edits."""
        runs = [outcome.run for outcome in distinct(self.outcomes)]
        if self.rule:
            remember(self.results, Choice(self.rule, tuple(r.run_id for r in runs)))
        show(Console(), self.outcomes, list(self.benchmarks.values()), self.rule)
        # Runs over several benchmarks have no common rows to draw.
        if len(self.benchmarks) == 1:
            (benchmark,) = self.benchmarks.values()
            path = self.results / "sheets" / f"{run_id({'runs': [r.run_id for r in runs]})}.png"
            save_png(sheet(benchmark, runs), path)
            print(f"input, mask and edits side by side: {path}")
