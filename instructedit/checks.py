"""Refusing values of parameters, each in one line that names the key and what is accepted."""

from collections.abc import Iterable
from typing import Any, TypeGuard

from instructedit.types import ConfigError


def require(is_accepted: bool, key: str, value: Any, accepted: str) -> None:
    """Refuse a value.

    Args:
        is_accepted: Whether it is not to be refused.
        key: As the configuration names it.
        value: Of the key.
        accepted: What would be, in words that follow "accepted are".

    Raises:
        ConfigError: It is refused.
    """
    if not is_accepted:
        raise ConfigError(f"{key}={value}: accepted are {accepted}")


def require_one_of(key: str, value: Any, choices: Iterable[str]) -> None:
    """Refuse what is none of the choices."""
    names = tuple(choices)
    require(value in names, key, value, ", ".join(names))


def require_whole(key: str, value: Any, low: int, high: int | None = None) -> None:
    """Refuse what is no whole number from ``low`` on, or up to ``high``."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    accepted = f"whole numbers from {low} " + ("on" if high is None else f"to {high}")
    require(is_whole and low <= value and (high is None or value <= high), key, value, accepted)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a number; true and false are none here."""
    return isinstance(value, int | float) and not isinstance(value, bool)
