"""The table of faults, tries and losses, which the tests of this folder fill."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

FAULT = "fault"
Tally = Callable[[str, int, int], None]


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Tally:
    """Note how often a fault was tried and how much was lost, and require that nothing was."""

    def note(fault: str, tries: int, lost: int) -> None:
        record_property(FAULT, [fault, tries, lost])
        assert tries > 0
        assert lost == 0, f"{fault}: {lost} lost in {tries} tries"

    return note


def pytest_terminal_summary(terminalreporter: Any) -> None:
    tries: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in getattr(report, "user_properties", []):
                if name == FAULT:
                    tries[value[0]] += value[1]
                    lost[value[0]] += value[2]
    if tries:
        terminalreporter.section("faults, tries and losses")
        terminalreporter.write_line("| fault | tries | lost |\n| --- | --- | --- |")
        for fault, count in sorted(tries.items()):
            terminalreporter.write_line(f"| {fault} | {count} | {lost[fault]} |")
