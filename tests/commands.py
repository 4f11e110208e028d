"""Shared by tests of scripts that edit one thing: a refusal is one line, and a stored edit is not repeated."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

RunScript = Callable[..., int]
"""The fixture ``run_script``: runs a script's main with arguments, and returns the exit code."""


def refusal(
    run_script: RunScript, capsys: pytest.CaptureFixture[str], main: Callable[[], int], *arguments: object
) -> str:
    """Return the one line with which a script refuses its arguments."""
    assert run_script(main, *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def check_edited_once(
    run_script: RunScript,
    capsys: pytest.CaptureFixture[str],
    main: Callable[[], int],
    arguments: Sequence[object],
    out: Path,
) -> None:
    """Check that a stored edit is not repeated, and that its folder takes no other edit.

    Args:
        run_script: See :data:`RunScript`.
        capsys: Pytest's.
        main: The script's.
        arguments: Those of the stored edit: what is edited, the instruction, and overrides.
        out: The edit's folder.
    """
    written = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert run_script(main, *arguments) == 0
    assert "(edited before)" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == written
    other = refusal(run_script, capsys, main, arguments[0], "Change the cat to a dog", *arguments[2:])
    assert "contains another edit" in other
