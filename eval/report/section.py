"""The sections of the report: a title, HTML, and files that are written beside the page."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from instructedit.types import ConfigError

if TYPE_CHECKING:
    from eval.report.page import Page
    from eval.report.study import Study


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    key: str
    """Anchor of the section: letters, digits and hyphens, unique on the page."""
    title: str
    """Plain text; the page escapes it."""
    html: Markup
    """Output of a template, which escapes all text that comes from data."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files to write beside the page, by relative path, such as ``picturebook/tables/table_1.csv``."""


class Missing(Exception):
    """Raised if the stored runs do not suffice for a section.

    The message is one line that says what is missing and which command makes it. It is empty if the section does not
    concern the benchmark.
    """


MakeSection = Callable[["Study", "Page"], Section]
"""Makes a section from the runs of one benchmark, or raises :class:`Missing`."""


def load_sections(config: Mapping[str, Any]) -> list[MakeSection]:
    """Import the functions under ``sections``.

    Args:
        config: Dotted paths of functions of any package, by name, in the page's order. Entries that are null are
            skipped.

    Raises:
        ConfigError: A path is not that of a function.
    """
    return [_load(name, path) for name, path in config.items() if path is not None]


def _load(name: str, path: Any) -> MakeSection:
    try:
        function = resolve_name(str(path))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"sections.{name}={path}: {error}; accepted is the dotted path of a function") from None
    if not callable(function):
        raise ConfigError(f"sections.{name}={path}: not a function; accepted is the dotted path of a function")
    make: MakeSection = function
    return make
