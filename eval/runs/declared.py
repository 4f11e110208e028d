"""What a component declares about its parameters, read from its source: importing it would take seconds."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pkgutil import resolve_name

from instructedit.types import NON_IDENTITY_KEYS, non_identity_keys

_WITHOUT_KEYS = ("Protocol", "ABC", "object", "Generic")
_DEEPEST = 8
"""Re-exports and base classes that are followed before the component is imported after all."""


@cache
def non_identity_keys_of(target: str) -> frozenset[str]:
    """Return the parameters that a component declares to be outside the identity of a run.

    Args:
        target: The dotted path of a class, a function or a classmethod.

    Returns:
        Nothing for a component that cannot be imported: the package of a stored run may no longer be installed.
    """
    keys = _read(target, _DEEPEST)
    return _imported(target) if keys is None else keys


def source_of(target: str) -> Path | None:
    """Return the file in which a dotted path is defined or re-exported; None where it cannot be found."""
    located = _located(target)
    return None if located is None else located[0]


def _imported(target: str) -> frozenset[str]:
    try:
        component = resolve_name(target)
    except Exception:  # importing runs a package's own code
        return frozenset()
    # A classmethod's class declares for it.
    return frozenset(getattr(getattr(component, "__self__", component), NON_IDENTITY_KEYS, ()))


def _read(target: str, deepest: int) -> frozenset[str] | None:
    """Return the declared keys; None where the source alone does not tell."""
    located = _located(target)
    if located is None or not deepest:
        return None
    path, name = located
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return None
    return _of_name(name, body, deepest)


def _of_name(name: str, body: list[ast.stmt], deepest: int) -> frozenset[str] | None:
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _of_class(node, body, deepest)
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return _of_decorators(node) or frozenset()
        if isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _read(f"{node.module}.{alias.name}", deepest - 1)
    return None


def _of_class(node: ast.ClassDef, body: list[ast.stmt], deepest: int) -> frozenset[str] | None:
    if keys := _of_decorators(node):
        return keys
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(t, ast.Name) and t.id == NON_IDENTITY_KEYS for t in targets):
            return _literal(getattr(statement, "value", None))
    for base in node.bases:
        if not isinstance(base, ast.Name):
            return None
        if base.id in _WITHOUT_KEYS:
            continue
        inherited = _of_name(base.id, body, deepest - 1)
        if inherited is None or inherited:
            return inherited
    return frozenset()


def _of_decorators(node: ast.ClassDef | ast.FunctionDef) -> frozenset[str] | None:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == non_identity_keys.__name__:
            return frozenset(ast.literal_eval(argument) for argument in decorator.args)
    return None


def _literal(value: ast.expr | None) -> frozenset[str] | None:
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "frozenset" and len(value.args) == 1:
        (value,) = value.args
    try:
        return None if value is None else frozenset(ast.literal_eval(value))
    except (ValueError, TypeError):
        return None


def _located(target: str) -> tuple[Path, str] | None:
    """Return the source file of a dotted path, and the name to look for in it."""
    parts = target.split(".")
    for root in _roots():
        folder = root
        for place, part in enumerate(parts[:-1]):
            if (folder / f"{part}.py").is_file():
                return folder / f"{part}.py", parts[place + 1]
            folder = folder / part
            if not (folder / "__init__.py").is_file():
                break
            following = parts[place + 1]
            if not (folder / following).is_dir() and not (folder / f"{following}.py").is_file():
                return folder / "__init__.py", following
    return None


def _roots() -> Iterator[Path]:
    # An editable install may be found by a hook alone; this project's own root is known.
    yield from (Path(entry or ".") for entry in sys.path)
    yield Path(__file__).resolve().parents[2]
