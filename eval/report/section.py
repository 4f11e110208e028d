"""What a section of the report is: a title, its HTML, and the files that go beside the page."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup


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
