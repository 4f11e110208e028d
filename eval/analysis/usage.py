"""Tokens of language models and of judging models, as recorded by each run, and their cost if prices are configured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from eval.runs.run import Run
from instructedit.language.prices import Prices, prices_of
from instructedit.types import Tokens

LANGUAGE, JUDGE = "language processor", "judge"


@dataclass(frozen=True)
class Usage:
    """Usage of one model by the runs of one method, including failed samples."""

    method: str
    role: str
    """What the model does: :data:`LANGUAGE` or :data:`JUDGE`."""
    model: str
    """The server's name of the model, or a checkpoint's id."""
    prices: Prices | None
    asked: int
    """Number of samples for which the model was asked; for a judge, the number of times."""
    kept: int
    """Number of samples whose reply was cached."""
    tokens: Tokens

    @property
    def cost(self) -> float | None:
        """Cost in US dollars; None without prices."""
        return None if self.prices is None else self.prices.cost(self.tokens)


def usages(runs: Sequence[Run]) -> list[Usage]:
    """Return one row per method, role, model and prices, from the records that have token counts."""
    groups: dict[tuple[str, str, str, Prices | None], list[Tokens]] = {}
    for run in runs:
        if counted := [t for record in run.records.values() if (t := record.tokens) is not None]:
            groups.setdefault((run.name, LANGUAGE, *_model(run.config.get("wrapper"))), []).extend(counted)
        for judged in run.stored_in.read_judged() if run.stored_in else ():
            prices = _judges_prices(run.config, judged.model)
            groups.setdefault((run.name, JUDGE, judged.model, prices), []).append(judged.tokens)
    rows = []
    for (method, role, model, prices), counted in groups.items():
        requested = [t for t in counted if t != Tokens()]
        total = Tokens.total(requested) or Tokens()
        rows.append(Usage(method, role, model, prices, len(requested), len(counted) - len(requested), total))
    return rows


def to_csv(rows: Sequence[Usage]) -> bytes:
    """Return the rows as CSV."""
    columns = ["method", "role", "model", "asked", "kept", "prompt_tokens", "completion_tokens", "dollars"]
    values = [(u.method, u.role, u.model, u.asked, u.kept, u.tokens.prompt, u.tokens.completion, u.cost) for u in rows]
    return pd.DataFrame(values, columns=columns).to_csv(index=False).encode()


def _model(method: Any) -> tuple[str, Prices | None]:
    """Return the name of the language model in a method's configuration, and its prices."""
    node: Mapping[str, Any] = next(_languages(method), {})
    model = node.get("model")
    name = model.get("id") if isinstance(model, Mapping) else model
    return str(name or "unknown"), prices_of(node.get("prices"))


def _judges_prices(config: Mapping[str, Any], model: str) -> Prices | None:
    """Return the prices of a judging model in a run's configuration."""
    nodes = [node for key in ("vlm", "judge") if isinstance(node := config.get(key), Mapping)]
    return next((prices_of(n.get("prices"), "vlm.prices") for n in nodes if n.get("model") == model), None)


def _languages(node: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every ``language`` of a configuration at any depth, since methods may be wrapped."""
    if isinstance(node, Mapping):
        if isinstance(node.get("language"), Mapping):
            yield node["language"]
        yield from _languages(list(node.values()))
    elif isinstance(node, list):
        for value in node:
            yield from _languages(value)
