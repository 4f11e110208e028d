"""The commands: ``python -m scripts.<name>``."""

import _thread
import os
import sys
import threading
from pathlib import Path
from types import TracebackType

_unhandled, _unraisable = sys.excepthook, sys.unraisablehook


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # Ctrl-C while modules are still imported, before any command could catch it.
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted before anything began", file=sys.stderr)
    else:
        _unhandled(kind, error, trace)


def _unraisable_hook(ignored: "sys.UnraisableHookArgs") -> None:
    # Python ignores what is raised in a finaliser or a weak reference's callback, where Ctrl-C would be lost.
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        threading.Timer(0.05, _thread.interrupt_main).start()
    else:
        _unraisable(ignored)


def _usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the number of cores that this process may use, by its affinity and its cgroup's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text().split()
        return max(1, min(cores, int(limit) // int(period)))
    except (OSError, ValueError):  # no cgroup version 2, or no quota
        return cores


sys.excepthook, sys.unraisablehook = _hook, _unraisable_hook
# Before torch is loaded. OpenMP's threads spin while they wait for each other: where other processes use the cores too,
# one edit took a hundred times as long (docs/speed.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", str(_usable_cores()))
