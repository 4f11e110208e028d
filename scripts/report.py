"""Write an HTML page with every table and figure from the results on disk. Nothing is edited or measured again.

python -m scripts.report
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from instructedit.checks import is_number, require, require_one_of, require_whole
from scripts.app import CONF, OK, launch
from scripts.values import chosen_runs

if TYPE_CHECKING:
    from eval.report.build import Request


def task(config: DictConfig) -> int:
    """Write the page, and print its path, what it leaves out, and what its runs do not share."""
    # pandas and scipy take a second to import, which --help and a wrong key need not wait for.
    from eval.report.build import report

    page = report(request(config))
    for line in page.missing:
        print(f"left out: {line}")
    for line in page.marks:
        print(f"mind: {line}")
    runs = sum(len(study.all_runs) for study in page.studies)
    print(f"{runs} runs, {len(page.sections)} sections: {page.path}")
    return OK


def request(config: DictConfig) -> "Request":
    """Return the validated configuration.

    Raises:
        ConfigError: A key has a value that is not accepted.
    """
    from eval.analysis.stats import INTERVALS
    from eval.report.build import Request
    from eval.report.page import PICTURES
    from eval.report.section import load_sections

    pictures = config.pictures
    require(pictures in (None, *PICTURES), "pictures", pictures, f"{', '.join(PICTURES)}, or null")
    for key, least in (("figure_samples", 1), ("more_samples", 0), ("samples", 1)):
        if key != "samples" or config.samples is not None:
            require_whole(key, config[key], least)
    require_one_of("interval", config.interval, INTERVALS)
    results, benchmark = Path(str(config.results)), config.get("benchmark")
    return Request(
        results=results,
        out=Path(str(config.out)) if config.out is not None else results / "report",
        defaults=hyperparameters(),
        sections=load_sections(config.sections),
        runs=chosen_runs("runs", config.runs),
        benchmark=None if benchmark is None else str(benchmark.name),
        reference=str(config.reference),
        pictures=pictures,
        figure_samples=config.figure_samples,
        more_samples=config.more_samples,
        samples=config.samples,
        interval=str(config.interval),
        answers=None if config.answers is None else Path(str(config.answers)),
        labels=None if config.labels is None else Path(str(config.labels)),
    )


def hyperparameters() -> dict[str, float]:
    """Return the defaults of the hyperparameters from conf/config.yaml."""
    values = OmegaConf.load(CONF / "config.yaml")
    assert isinstance(values, DictConfig)
    plain = {str(k): v for k, v in OmegaConf.to_container(values).items()}  # type: ignore[union-attr]
    return {k: v for k, v in plain.items() if is_number(v)}


if __name__ == "__main__":
    sys.exit(launch(task, "report"))
