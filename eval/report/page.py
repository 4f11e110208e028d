"""The report page: templates with escaping, links to pictures, and atomically written files."""

import base64
import datetime
import hashlib
import io
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from eval.display import style as words
from eval.report.section import Section
from eval.report.text import shown, visible
from instructedit.files import write_aside

log = logging.getLogger(__name__)
TEMPLATES = Path(__file__).parent / "templates"
LINKED, COPIED, WEBP, INLINE = "linked", "copied", "webp", "inline"
PICTURES = (LINKED, COPIED, WEBP, INLINE)
"""``linked`` links to the original files, ``copied`` and ``webp`` copy them beside the page (WebP has about a tenth of
the size), and ``inline`` embeds WebP in the page, the figures too."""
WRITTEN = ".files.json"
"""The list of files that a report wrote; the next report removes those that it does not write."""


@dataclass
class Page:
    """Settings and state of the page that sections share."""

    out: Path
    """The folder of ``index.html``."""
    pictures: str
    """How the page shows the pictures of runs and benchmarks: one of :data:`PICTURES`."""
    figure_samples: int
    """Number of samples in a figure; the remaining ones go to a second figure, as in the paper's appendix."""
    more_samples: int
    """Maximum number of samples in the second figure."""
    samples: int | None
    """Maximum number of samples of each benchmark that are listed with all their edits; None lists all."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What the page writes for folders of the machine, from :func:`eval.report.text.short_names`."""
    copies: dict[str, Path] = field(default_factory=dict)
    """Pictures to copy, by their path relative to the page."""
    anchors: set[str] = field(default_factory=set)
    """Anchors that are in use."""

    @property
    def links_pictures(self) -> bool:
        """Whether pictures and figures are files to which the page links, and not inside the page."""
        return self.pictures != INLINE

    @property
    def is_light(self) -> bool:
        """Whether figures are WebP without a PDF, as the pictures are."""
        return self.pictures in (WEBP, INLINE)

    def render(self, template: str, **values: Any) -> Markup:
        """Render a template; all text in ``values`` is shown as by :func:`eval.report.text.shown`, and escaped."""
        return Markup(_environment(self.names).get_template(template).render(page=self, **values))

    def is_first(self, name: str) -> bool:
        """Return True on the first call with an anchor and reserve it, because benchmarks may share metric cards."""
        is_free = name not in self.anchors
        self.anchors.add(name)
        return is_free

    def picture(self, path: Path | None) -> str | None:
        """Return the URL of a picture for the page; None if the file does not exist."""
        if path is None or not path.is_file():
            return None
        if self.pictures == LINKED:
            return quote(os.path.relpath(path.resolve(), self.out.resolve()))
        if not self.links_pictures:
            return embedded(webp(path))
        # The name is a hash: equal pictures share a file (such as masks at three ratios), and it has no user text.
        suffix = ".webp" if self.pictures == WEBP else _suffix(path)
        name = f"pictures/{hashlib.sha256(path.read_bytes()).hexdigest()[:20]}{suffix}"
        self.copies[name] = path
        return name

    def write(self, title: str, head: Mapping[str, Any], sections: Sequence[Section]) -> Path:
        """Write ``index.html``, the sections' files and the pictures, and remove stale files of an earlier report."""
        files = {name: data for section in sections for name, data in section.files.items()}
        html = self.render("page.html", title=title, sections=sections, **head)
        files |= {"index.html": visible(html).encode()}
        names = sorted({*files, *self.copies})
        for name, data in files.items():
            _write(self.out / name, data)
        for name, path in self.copies.items():
            _write(self.out / name, webp(path) if self.pictures == WEBP else path.read_bytes())
        self._remove_stale(names)
        _write(self.out / WRITTEN, json.dumps(names, indent=1).encode() + b"\n")
        return self.out / "index.html"

    def _remove_stale(self, names: Sequence[str]) -> None:
        try:
            earlier = set(map(str, json.loads((self.out / WRITTEN).read_bytes())))
        except (OSError, ValueError, TypeError):
            return
        root = self.out.resolve()
        for name in earlier - set(names):
            path = (root / name).resolve()
            # The list may have been edited, so files outside the report folder are never removed.
            if path.is_relative_to(root) and path.is_file():
                path.unlink()


def now() -> str:
    """Return the present time as the page prints it."""
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"


def anchor(kind: str, name: str) -> str:
    """Return an anchor for any text, such as ``run-v2-0123``."""
    return f"{kind}-" + "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else f"x{ord(c):x}" for c in name)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    return suffix if suffix in (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp") else ".img"


def webp(path: Path | BinaryIO) -> bytes:
    """Encode a picture as WebP, at about a tenth of a PNG's size."""
    data = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(data, "WEBP", quality=85)
    return data.getvalue()


def embedded(data: bytes) -> str:
    """Return a WebP as the URL of a picture inside the page."""
    return "data:image/webp;base64," + base64.b64encode(data).decode()


def _write(path: Path, data: bytes) -> None:
    with write_aside(path) as file:
        file.write(data)


def _environment(names: Mapping[str, str]) -> Environment:
    def finalize(value: Any) -> Any:
        return shown(value, names) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"words": words, "anchor": anchor, "own": _own}
    return environment


def _own(name: str) -> Markup:
    """Return a style sheet or script of this package without escaping."""
    return Markup((TEMPLATES / name).read_text())
