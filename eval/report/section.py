"""What a section of the report is: a title, its HTML, and the files that go beside the page."""

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
    """Its anchor: letters, digits and hyphens, unlike any other section's."""
    title: str
    """Plain text; the page escapes it."""
    html: Markup
    """From a template, where every text that comes from data is escaped."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What to write beside the page, by relative path, such as ``picturebook/tables/table_1.csv``."""


class Missing(Exception):
    """A section cannot be made of what is on disk: one line that says what is missing and what command makes it."""


MakeSection = Callable[["Study", "Page"], Section]
"""Makes a section of one benchmark's runs, or raises :class:`Missing`."""


def load_sections(config: Mapping[str, Any]) -> list[MakeSection]:
    """Import what stands under ``sections``.

    Args:
        config: Dotted paths of functions by name, in the page's order, in any package; an entry that is null is left
            out.

    Raises:
        ConfigError: a path names no function.
    """
    return [_load(name, path) for name, path in config.items() if path is not None]


def _load(name: str, path: Any) -> MakeSection:
    try:
        found = resolve_name(str(path))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"sections.{name}={path}: {error}; accepted is the dotted path of a function") from None
    if not callable(found):
        raise ConfigError(f"sections.{name}={path}: no function; accepted is the dotted path of a function")
    make: MakeSection = found
    return make
