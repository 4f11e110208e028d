"""What makes runs less comparable than one table suggests: uncommitted changes, different code, different models."""

from collections.abc import Iterable, Mapping, Sequence

from eval.runs.provenance import Git
from eval.runs.run import Run

SHOWN = 4
"""Labels that one line names."""


def marks(runs: Sequence[Run]) -> list[str]:
    """Return a line for each difference in the provenance of runs that are shown together; none if they are alike.

    Args:
        runs: Runs on one benchmark; those on another revision of it are left out before, see
            :func:`eval.report.study.studies`.
    """
    changed = [run for run in runs if any(session.git.dirty for session in run.sessions)]
    lines = [f"made with uncommitted changes of the code: {_named(changed)}"] if changed else []
    commits = _grouped((_commit(session.git), run) for run in runs for session in run.sessions)
    if len(commits) > 1:
        lines.append(f"made by different code: {_listed(commits)}")
    ids = dict.fromkeys(key for run in runs for key in run.checkpoints)
    for key in ids:
        revisions = _grouped(
            (s.checkpoints[key][:12], run) for run in runs for s in run.sessions if key in s.checkpoints
        )
        if len(revisions) > 1:
            lines.append(f"made with different revisions of {key}: {_listed(revisions)}")
    return lines


def _commit(git: Git) -> str:
    return f"commit {git.commit[:10]}" if git.commit else "an unknown commit"


def _grouped(pairs: Iterable[tuple[str, Run]]) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = {}
    for key, run in pairs:
        group = groups.setdefault(key, [])
        if run not in group:
            group.append(run)
    return groups


def _listed(groups: Mapping[str, Sequence[Run]]) -> str:
    return "; ".join(f"{key} ({_named(group)})" for key, group in groups.items())


def _named(runs: Sequence[Run]) -> str:
    labels = list(dict.fromkeys(run.label for run in runs))
    more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    return ", ".join(labels[:SHOWN]) + more
