"""The commands: ``python -m scripts.<name>``."""

import sys
from types import TracebackType

_unhandled = sys.excepthook


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # Ctrl-C while modules are still imported, before any command could catch it.
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted before anything began", file=sys.stderr)
    else:
        _unhandled(kind, error, trace)


sys.excepthook = _hook
