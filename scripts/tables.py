"""Write or check the tables of Markdown files, whose numbers come from runs on disk.

python -m scripts.tables check README.md docs/results.md     # exit code 1 if a number differs
python -m scripts.tables write README.md docs/results.md
python -m scripts.tables check README.md --results results

A comment above a table names the overrides of the ``scripts.run`` that makes its runs, and the metrics if not all:

    <!-- table: experiment=theta; metrics: mask_iou -->

A table's rows may also come from a CSV file of a report, below the head that stands in the file:

    <!-- csv: results/report/picturebook/tables/components.csv; where: by == "all"; row: {component} | {rate:.1%} -->
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from eval.analysis.summary import summary
from eval.display.csv_rows import csv_rows
from eval.display.markdown import markdown_table
from eval.display.style import metric_place
from eval.runs.labels import distinguished
from eval.runs.plan import plan
from eval.runs.run import Run, counts_of, frame_of, read_run
from eval.runs.store import RunStore
from instructedit.files import write_aside
from instructedit.types import ConfigError
from scripts.app import CONF, OK, SOME_FAILED, WRONG_REQUEST
from scripts.values import check_values

_RUNS = re.compile(r"<!-- table: (?P<overrides>[^;]+?)(; metrics: (?P<metrics>[\w ]+?))? -->")
_CSV = re.compile(r"<!-- csv: (?P<path>[^;]+?)(; where: (?P<where>[^;]+?))?; row: (?P<row>.+?) -->")
_HEAD = 2
"""Lines of a table's head."""

_DECIMAL = re.compile(r"-?\d+\.\d+")
UNITS = 2
"""Units of the last decimal by which two numbers may differ."""


@dataclass(frozen=True)
class Place:
    """A table in a file."""

    line: int
    """Line of its comment, counted from 0."""
    comment: re.Match[str]
    start: int
    end: int
    """Lines of the table."""


def main() -> int:
    """Write or check the tables of the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("check", "write"))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--results", type=Path, default=Path("results"))
    args = parser.parse_args()
    code = OK
    try:
        for path in args.files:
            lines, number = _read(path), 0
            # From the end, so that a table of another length does not move those that follow.
            for place in reversed(list(_places(lines))):
                number += 1
                written, at = lines[place.start : place.end], f"{path}:{place.line + 1}"
                table = _table(place.comment, written, args.results, at)
                if args.what == "write":
                    lines[place.start : place.end] = table
                elif wrong := _differences(written, table):
                    code = SOME_FAILED
                    print(f"{path}:{place.start + 1}: the table differs from its source", *wrong, sep="\n")
            if args.what == "write":
                with write_aside(path) as file:
                    file.write("".join(f"{line}\n" for line in lines).encode())
            print(f"{path}: {number} tables")
    except ConfigError as error:
        print(error, file=sys.stderr)
        return WRONG_REQUEST
    return code


def _read(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None


def _places(lines: Sequence[str]) -> Iterator[Place]:
    for number, line in enumerate(lines):
        if match := _RUNS.fullmatch(line.strip()) or _CSV.fullmatch(line.strip()):
            start = number + 1
            while start < len(lines) and not lines[start].strip():
                start += 1
            end = start
            while end < len(lines) and lines[end].startswith("|"):
                end += 1
            yield Place(number, match, start, end)


def _differences(written: Sequence[str], table: Sequence[str]) -> list[str]:
    """Return the lines that differ. Bold type is ignored, and so are :data:`UNITS` of a number's last decimal.

    Another number of threads or another batch size changes the rounding of an edit, and so the last digits of a mean.
    """
    plain = [line.replace("**", "") for line in written]
    missing = [line for line in plain if not any(_equal(line, row) for row in table)]
    return [f"  - {line}" for line in missing] + [
        f"  + {row}" for row in table if not any(_equal(line, row) for line in plain)
    ]


def _equal(line: str, row: str) -> bool:
    if _DECIMAL.sub("", line) != _DECIMAL.sub("", row):
        return False
    return all(
        len(a) == len(b) and abs(int(a.replace(".", "")) - int(b.replace(".", ""))) <= UNITS
        for a, b in zip(_DECIMAL.findall(line), _DECIMAL.findall(row), strict=True)
    )


def _table(comment: re.Match[str], written: Sequence[str], results: Path, where: str) -> list[str]:
    if comment.re is _CSV:
        return [*written[:_HEAD], *csv_rows(Path(comment["path"]), comment["where"], comment["row"], where)]
    runs = _runs(comment["overrides"].split(), results, where)
    frame, counts = frame_of(runs), counts_of(runs)
    known, metrics = sorted(dict.fromkeys(frame["metric"]), key=metric_place), (comment["metrics"] or "").split()
    if unknown := [m for m in metrics if m not in known]:
        raise ConfigError(f"{where}: metrics: {', '.join(unknown)}: accepted are {', '.join(known)}")
    directions = {k: v for run in runs for k, v in run.higher_is_better.items()}
    return markdown_table(summary(frame, counts), counts, directions, metrics or known)


def _runs(overrides: Sequence[str], results: Path, where: str) -> list[Run]:
    """Return the runs of a command's jobs, labelled as its table in the terminal labels them."""
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            configs = [compose("config", [*job, f"results={results}"]) for job in _jobs(overrides)]
    except HydraException as error:
        raise ConfigError(f"{where}: {str(error).splitlines()[0]}") from None
    samples = {}
    for config in configs:
        check_values(config)
        job = plan(config)
        samples[job.run_id] = len(job.benchmark.samples)
    runs = {run_id: read_run(RunStore(results, run_id)) for run_id in samples}
    if unfinished := [run_id for run_id, run in runs.items() if run.edited + run.failed < samples[run_id]]:
        raise ConfigError(
            f"{where}: {len(unfinished)} of {len(runs)} runs are not complete in {results}; they are made by "
            f"python -m scripts.run {' '.join(overrides)} -m"
        )
    return distinguished([*runs.values()])


def _jobs(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each job, as Hydra's sweeper makes them of the command and its experiment."""
    parser = OverridesParser.create()
    experiment = [o for o in overrides if o.startswith("experiment=")]
    params = compose("config", experiment, return_hydra_config=True).hydra.sweeper.params or {}
    named = {o.partition("=")[0] for o in overrides}
    swept = [f"{key}={value}" for key, value in params.items() if key not in named]
    (batch,) = BasicSweeper.split_arguments(parser.parse_overrides([*swept, *overrides]), max_batch_size=None)
    return [list(job) for job in batch]


if __name__ == "__main__":
    sys.exit(main())
