"""Values of parameters that are refused, and the line that says so."""

from typing import Any

import pytest

from instructedit.checks import is_number, require_one_of, require_whole
from instructedit.types import ConfigError


@pytest.mark.parametrize("value", [1, 3, 5])
def test_a_whole_number_in_range_is_accepted(value: int) -> None:
    require_whole("steps", value, 1, 5)
    require_whole("steps", value, 1)


@pytest.mark.parametrize("value", [0, 6, True, 2.0, "3", None])
def test_anything_else_is_refused_in_one_line(value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        require_whole("steps", value, 1, 5)
    assert str(caught.value) == f"steps={value}: accepted are whole numbers from 1 to 5"


def test_a_choice_is_one_of_the_names() -> None:
    require_one_of("blend", "paper", {"paper": 1, "official": 2})
    for value in ("poisson", None, 1):
        with pytest.raises(ConfigError) as caught:
            require_one_of("blend", value, {"paper": 1, "official": 2})
        assert str(caught.value) == f"blend={value}: accepted are paper, official"


def test_true_is_no_number() -> None:
    assert [is_number(v) for v in (1, 0.5, True, "1", None)] == [True, True, False, False, False]
