"""Peak memory of a run: a GPU's allocations, or on a CPU the resident memory of the process."""

import contextlib
import re
import resource
import sys
from pathlib import Path

_GIB = 2**30
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak(device: str) -> None:
    """Begin to measure a new peak. Where a process cannot do so, its peak since its start is measured.

    Args:
        device: Such as ``cuda:0`` or ``cpu``.
    """
    if device.startswith("cuda"):
        import torch  # takes seconds, and a device is known only after it was imported

        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # Linux alone has it
        _CLEAR.write_text("5")


def peak_gib(device: str) -> float:
    """Return the peak in GiB since :func:`reset_peak`; on a CPU with everything that the process holds."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / _GIB
    with contextlib.suppress(OSError):
        if found := re.search(r"^VmHWM:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE):
            return int(found[1]) * 1024 / _GIB
    # Linux counts KiB, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / _GIB
