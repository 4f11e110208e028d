"""Ask people which edit is better: InstructEdit's, or a baseline's (paper, appendix E.4).

python -m scripts.study                          # serves the study of the runs on disk
python -m scripts.study export                   # answers.csv, mturk.csv and participants.csv
python -m scripts.study import file=answers.csv  # adds answers that were given elsewhere
python -m scripts.study analyse                  # preference, intervals, test and agreement
"""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from omegaconf import DictConfig

from instructedit.checks import require, require_one_of, require_whole
from instructedit.types import ConfigError
from scripts.app import OK, launch
from scripts.values import chosen_runs

if TYPE_CHECKING:
    from eval.annotation.study import UserStudy

ACTIONS = ("serve", "export", "import", "analyse")
VERBATIM = ("question", "consent", "completion_url", "public_url")
POSITIONAL = ("action",)


def task(config: DictConfig) -> int:
    """Serve, export, import or analyse."""
    check(config)
    actions = {"serve": serve, "export": export, "import": import_, "analyse": analyse}
    return actions[config.action](config)


def check(config: DictConfig) -> None:
    """Refuse a wrong configuration.

    Raises:
        ConfigError: A key has a value that is not accepted.
    """
    require_one_of("action", config.action, ACTIONS)
    check_server(config)
    if config.samples is not None:
        require_whole("samples", config.samples, 1)
    require_whole("checks", config.checks, 0)
    require_whole("allowed_failures", config.allowed_failures, 0)
    chosen_runs("runs", config.runs)
    for key in ("question", "consent"):
        require(isinstance(config[key], str) and config[key].strip() != "", key, config[key], "texts")
    url = config.completion_url
    is_url = url is None or re.fullmatch(r"https://[^\s\"'<>]+", str(url)) is not None
    require(is_url, "completion_url", url, "null, or an address that begins with https://")


def check_server(config: DictConfig) -> None:
    """Refuse wrong values of the keys that all servers of pages have.

    Raises:
        ConfigError: A key has a value that is not accepted.
    """
    accepted = "letters, digits, hyphens and underscores"
    require(re.fullmatch(r"[\w-]{1,80}", str(config.name)) is not None, "name", config.name, accepted)
    require(isinstance(config.host, str) and config.host != "", "host", config.host, "addresses of this machine")
    require_whole("port", config.port, 0, 65535)
    url = urlsplit(str(config.public_url or "http://localhost"))
    is_url = url.scheme in ("http", "https") and bool(url.hostname) and not (url.username or url.query)
    require(is_url, "public_url", config.public_url, "null, or an address such as https://study.example.org")


def path_of(config: DictConfig) -> Path:
    """Return the study's file."""
    return Path(str(config.results)) / "studies" / f"{config.name}.sqlite"


def serve(config: DictConfig) -> int:
    """Begin the study, unless it has begun, and serve its pages until Ctrl-C."""
    from eval.annotation.study import Protocol, UserStudy
    from eval.annotation.study_pages import pages
    from eval.annotation.triplets import one_study, triplets
    from eval.annotation.web import serve as serve_pages
    from eval.report.build import selected
    from eval.report.study import studies
    from scripts.report import hyperparameters

    path, benchmark = path_of(config), config.get("benchmark")
    wanted = chosen_runs("runs", config.runs)
    name = None if benchmark is None else str(benchmark.name)
    texts = str(config.question), str(config.consent).strip()
    if path.is_file() and (begun := UserStudy(path)).protocol is not None:
        study = begun
        name = name or str((begun.protocol or {})["benchmark"])
        study.begin(Protocol(name, str(config.reference), config.samples, config.checks, *texts), ())
    else:
        one = one_study(
            studies(selected(Path(str(config.results)), wanted, name), hyperparameters(), str(config.reference))
        )
        study = UserStudy(path)
        try:
            study.begin(Protocol(one.name, str(config.reference), config.samples, config.checks, *texts), triplets(one))
        except ConfigError:
            path.unlink()
            raise
    completion = None if config.completion_url is None else str(config.completion_url)
    public = None if config.public_url is None else str(config.public_url)
    app = pages(study, *texts, config.samples, config.checks, completion, public)
    people, finished, answers = study.counts
    serve_pages(app, str(config.host), config.port, [
        f"{study.count(config.samples)} samples and {config.checks} checks a participant: {public or '{url}'}",
        f"{people} participants so far, {finished} of them finished, {answers} answers, in {path}; Ctrl-C ends",
        *_withdrawals(study),
    ])  # fmt: skip
    return OK


def export(config: DictConfig) -> int:
    """Write the study's tables."""
    from eval.annotation.study_tables import export as export_tables

    study = _begun(config)
    out = Path(str(config.out)) if config.out is not None else path_of(config).with_suffix("")
    for name, rows in export_tables(study, config.allowed_failures, out).items():
        print(f"{out / name}: {rows} rows")
    for line in _withdrawals(study):
        print(line)
    return OK


def import_(config: DictConfig) -> int:
    """Add the answers of a table to the study."""
    from eval.annotation.study_tables import import_results, read_results

    if config.file is None:
        raise ConfigError("file=... is needed, as in: python -m scripts.study import file=answers.csv")
    table = read_results(Path(str(config.file)))
    done = import_results(_begun(config), table, config.allowed_failures, str(config.file))
    print(f"{done.added} answers added; the study had {done.known} of the others", end="")
    print(f", {done.contradicting} of them with another choice, which stays" * bool(done.contradicting))
    return OK


def analyse(config: DictConfig) -> int:
    """Print the preference against each baseline, from ``file`` or from the study."""
    from rich.console import Console

    from eval.annotation.study_tables import answers, read_results
    from eval.display.people import render_preferences

    if config.file is not None:
        table = read_results(Path(str(config.file)))
    else:
        study = _begun(config)
        table = answers(study, config.allowed_failures)
        for line in _withdrawals(study):
            print(line)
    render_preferences(Console(), table)
    return OK


def _withdrawals(study: "UserStudy") -> list[str]:
    people, answers = study.withdrawn
    return [f"{people} participants have withdrawn; their {answers} answers are left out"] if people else []


def _begun(config: DictConfig) -> "UserStudy":
    from eval.annotation.study import UserStudy

    if not path_of(config).is_file():
        raise ConfigError(f"name={config.name}: no {path_of(config)}; python -m scripts.study begins a study")
    return UserStudy(path_of(config))


def main() -> int:
    """Run the action that is named without a key; the other arguments are Hydra's overrides."""
    return launch(task, "study", VERBATIM, POSITIONAL)


if __name__ == "__main__":
    sys.exit(main())
