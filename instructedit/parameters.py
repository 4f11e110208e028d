"""Accepted values of the parameters that users set; components and the command line check by the same functions.

This module does not import torch, so that a wrong value is refused at once.
"""

import re
from typing import Any

from instructedit.checks import is_number, require, require_whole

LEAST_SIDE = 64
"""Minimum of ``max_side`` in pixels."""
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def check_ratio(ratio: Any, key: str = "ratio") -> None:
    """Check an encoding ratio: a number in (0, 1].

    Raises:
        ConfigError: It is not; the message names ``key``. So do all functions of this module.
    """
    hint = "; wrapper=auto_ratio chooses one for each sample" if ratio == "auto" else ""
    require(is_number(ratio) and 0 < ratio <= 1, key, ratio, f"numbers above 0 and up to 1, such as 0.7{hint}")


def check_theta(theta: Any) -> None:
    """Check DiffEdit's mask threshold: a number in (0, 1)."""
    require(is_number(theta) and 0 < theta < 1, "theta", theta, "numbers between 0 and 1, such as 0.5")


def check_guidance_scale(scale: Any, key: str = "guidance_scale") -> None:
    """Check a guidance scale: a number from 0 on."""
    require(is_number(scale) and scale >= 0, key, scale, "numbers from 0 on, such as 7.5")


def check_max_side(side: Any) -> None:
    """Check the longest side that a method receives: pixels from :data:`LEAST_SIDE` on, or None."""
    is_side = side is None or (type(side) is int and side >= LEAST_SIDE)
    require(is_side, "max_side", side, f"whole numbers from {LEAST_SIDE} on, or null")


def check_flag(value: Any, key: str) -> None:
    """Check a truth value."""
    require(isinstance(value, bool), key, value, "true and false")


def check_device(device: Any) -> None:
    """Check a device's name, not whether this machine has it."""
    require(bool(_DEVICE.fullmatch(str(device))), "device", device, "auto, cpu, cuda, cuda:N and mps")


def check_dilate(dilate: Any) -> None:
    """Check a dilation: a whole number of pixels; negative values erode."""
    require_whole("dilate", dilate, -10_000, 10_000)
