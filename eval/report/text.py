"""Texts as the page shows them: control characters as escapes, and no absolute path of the machine."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_INVISIBLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but tab and line breaks, and surrogates, which UTF-8 cannot encode."""
_ABSOLUTE = re.compile(r"(?<![\w./:~<+=-])/(?:[^\s/:;,'\"<>()\[\]{}|]+/)+(?=[^\s/:;,'\"<>()\[\]{}|])")
"""The folders of an absolute path, and neither those of an address (https://...) nor those of a relative path."""


def short_names(results: Path, benchmarks: Iterable[Path]) -> dict[str, str]:
    """Return what the page writes for the folders of the machine, the longest first.

    Args:
        results: The results folder.
        benchmarks: Folders of benchmarks.

    Returns:
        Names by absolute path: paths below the working folder are relative to it, others begin with the name of the
        results folder or benchmark, or with ``~``.
    """
    names = {str(Path.home()): "~"}
    names |= {str(form): folder.name for folder in (results, *benchmarks) for form in (folder, folder.resolve())}
    names[str(Path.cwd())] = "."
    absolute = {path: name for path, name in names.items() if Path(path).is_absolute() and Path(path).name}
    return dict(sorted(absolute.items(), key=lambda item: -len(item[0])))


def visible(text: str) -> str:
    """Return a text with its control characters as escapes, as in Python's literals."""
    return _INVISIBLE.sub(lambda found: ascii(found[0])[1:-1], text)


def shown(text: str, names: Mapping[str, str]) -> str:
    """Return a text as the page shows it.

    Args:
        text: Any text, such as an instruction, a message or a configuration.
        names: From :func:`short_names`; of other absolute paths, the folders become ``...``.
    """
    if text.startswith("data:"):  # a picture in base64
        return text
    if names:
        known = "|".join(map(re.escape, names))
        text = re.sub(rf"(?<![\w.-])({known})(?![\w.-])(/(?=\S))?", lambda found: _name(found, names), text)
    text = _ABSOLUTE.sub(".../", text)
    return visible(text)


def _name(found: re.Match[str], names: Mapping[str, str]) -> str:
    name, slash = names[found[1]], found[2] or ""
    return "" if name == "." and slash else name + slash
