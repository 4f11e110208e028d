"""The division of a run's samples among the processes that work on it at the same time."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from eval.runs.records import FailureRecord
from eval.runs.store import RunStore

log = logging.getLogger(__name__)
POLL = 1.0
"""Seconds between two attempts to claim samples that other processes have claimed."""
LEAVES_AFTER = 3
"""Number of attempts after which a process that does not wait leaves; more than one, because :meth:`RunStore.claimed`
holds a claim for an instant."""


def batches(
    store: RunStore, left: Callable[[], Sequence[str]], size: int, waits: bool, work: str
) -> Iterator[list[str]]:
    """Claim batches of samples until none is left.

    No number of processes is stated: each claims its next batch when it is ready for it. A fast process therefore does
    more, and the samples of a killed process are done by the others.

    Args:
        store: The run.
        left: Returns the ids of the samples that no process has done, from what is on disk.
        size: The greatest number of samples in a batch.
        waits: Whether to wait for samples that other processes have claimed, which are left if a process dies.
        work: What is done with the samples, for the message to who waits.

    Yields:
        Claimed samples; they are released when the next batch is asked for.
    """
    attempts = 0
    while ids := left():
        with store.claim(ids, size) as claimed:
            # Another process may have done one between the reading and the claim.
            if batch := [i for i in left() if i in set(claimed)]:
                attempts = 0
                yield batch
        if claimed:
            continue
        attempts += 1
        if not waits and attempts == LEAVES_AFTER:
            return
        if waits and attempts == LEAVES_AFTER:
            log.warning("run %s: waiting for another process that %s %s", store.run_id, work, _some(ids))
        time.sleep(POLL)


@dataclass(frozen=True)
class Missing:
    """The samples that a process found missing, of which other processes may do some.

    A sample is done when it has another line, because a repeated failure may equal the earlier one.
    """

    store: RunStore
    lines: Mapping[str, int]
    """Number of lines of each missing sample, from :meth:`RunStore.missing`."""

    def left(self) -> list[str]:
        """Return the samples that no process has done since."""
        now = self.store.lines()
        return [i for i, lines in self.lines.items() if now.get(i, 0) == lines]

    def failed(self) -> int:
        """Return the number of samples that have failed since, in all processes."""
        records, left = self.store.finished(), set(self.left())
        return sum(isinstance(records.get(i), FailureRecord) for i in self.lines if i not in left)


def _some(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{len(ids)} samples, such as {ids[0]}"
