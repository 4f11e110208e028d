"""Imports go in one direction, from higher layers to lower layers."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS: tuple[tuple[str, ...], ...] = (
    ("instructedit.types",),
    tuple(f"instructedit.{name}" for name in "checks parameters files images cache hub checkpoints perceptual".split()),
    tuple(f"instructedit.{name}" for name in "models diffusion latent_diffusion stages".split()),
    ("instructedit.language", "instructedit.captioner", "instructedit.segmenter", "instructedit.editor"),
    ("instructedit.method", "instructedit.wrappers", "baselines"),
    ("instructedit.applications",),
    ("eval.benchmarks", "eval.metrics"),
    ("eval.runs",),
    ("eval.analysis",),
    ("eval.display",),
    ("eval.loggers", "eval.report", "eval.annotation", "eval.demo", "eval.speed"),
    ("scripts",),
)
"""Layers from the lowest to the highest; packages of one layer may import each other."""
OURS = ("instructedit", "baselines", "eval", "scripts", "data")


def modules() -> Iterator[tuple[str, Path]]:
    for top in OURS:
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(path: Path) -> set[str]:
    """Return the modules of this project that a file imports, anywhere in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] in OURS}


def floor(module: str) -> int | None:
    return next(
        (i for i, rooms in enumerate(FLOORS) for room in rooms if module == room or module.startswith(f"{room}.")), None
    )


MODULES = dict(modules())


def test_every_module_has_its_floor() -> None:
    homeless = [m for m in MODULES if floor(m) is None and "." in m and not m.startswith("data.")]
    assert homeless == []


@pytest.mark.parametrize("module", [m for m in MODULES if floor(m) is not None])
def test_imports_run_one_way(module: str) -> None:
    own = floor(module)
    assert own is not None
    upward = {name for name in imported(MODULES[module]) if (other := floor(name)) is not None and other > own}
    assert upward == set()


def test_types_import_nothing_of_ours() -> None:
    assert imported(MODULES["instructedit.types"]) == set()


def test_eval_knows_no_baseline() -> None:
    rooms = {m: path for m, path in MODULES.items() if m.startswith("eval")}
    assert {m for m, path in rooms.items() if any(i.startswith("baselines") for i in imported(path))} == set()


def test_only_picturebooks_own_scripts_know_the_drawn_world() -> None:
    allowed = {"scripts.train", "scripts.judge", "scripts.draw"}
    users = {
        m
        for m, path in MODULES.items()
        if not m.startswith("data") and any(i.startswith("data.picturebook") for i in imported(path))
    }
    assert users - allowed == set()


def test_no_file_is_too_long() -> None:
    long = {m: n for m, path in MODULES.items() if (n := len(path.read_text().splitlines())) > 400}
    assert long == {}
