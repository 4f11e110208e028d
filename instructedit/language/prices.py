"""Cost of a language model's tokens, by prices from the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from instructedit.checks import is_number, require
from instructedit.types import ConfigError, Tokens

_MILLION = 1_000_000


@dataclass(frozen=True)
class Prices:
    """Prices of a million tokens, in US dollars."""

    prompt: float
    completion: float

    def cost(self, tokens: Tokens) -> float:
        """Return the cost in US dollars."""
        return (self.prompt * tokens.prompt + self.completion * tokens.completion) / _MILLION


def prices_of(stated: Any, key: str = "language.prices") -> Prices | None:
    """Return the prices of a configuration; None if it has none.

    Args:
        stated: What the configuration has under ``key``.
        key: The key, for messages.

    Raises:
        ConfigError: A price is not a nonnegative number, or only one of the two is given.
    """
    if not isinstance(stated, Mapping):
        if stated is None:
            return None
        raise ConfigError(f"{key}={stated}: accepted are prompt and completion, both or none")
    amounts = {name: value for name, value in stated.items() if value is not None}
    for name, value in amounts.items():
        accepted = "dollars for a million tokens, from 0 on"
        require(is_number(value) and value >= 0, f"{key}.{name}", value, accepted)
    if not amounts:
        return None
    if amounts.keys() != {"prompt", "completion"}:
        raise ConfigError(f"{key}={amounts}: accepted are prompt and completion, both or none")
    return Prices(**amounts)
