"""Model cards: the class, training and held-out scores of a shipped model."""

import json
from pathlib import Path
from typing import Any

from data.picturebook.training.scenes import SPLITS


def write_card(folder: Path, title: str, text: str, facts: dict[str, Any]) -> None:
    """Write ``card.json`` and a readable ``README.md`` with the same facts to the folder of a saved model."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = facts | {"training_split_seed": SPLITS["train"], "held_out_split_seed": SPLITS["held_out"]}
    (folder / "card.json").write_text(json.dumps(facts, indent=2) + "\n")
    rows = "\n".join(f"| {key} | {value} |" for key, value in _flat(facts))
    (folder / "README.md").write_text(f"# {title}\n\n{text}\n\n| fact | value |\n| --- | --- |\n{rows}\n")


def _flat(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}: ")
        else:
            rows.append((f"{prefix}{key}", f"{value:.4g}" if isinstance(value, float) else str(value)))
    return rows
