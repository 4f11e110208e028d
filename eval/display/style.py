"""Titles, order, colours and decimals of metrics and methods, the same on the page, in tables and under figures."""

from collections.abc import Iterable
from datetime import datetime

METRICS = {
    "brisque": "BRISQUE",
    "lpips": "LPIPS",
    "clip_score": "CLIP score",
    "clip_directional": "CLIP directional",
    "mask_iou": "mask IoU",
    "mse_outside": "MSE outside",
    "psnr_outside": "PSNR outside",
    "ssim_outside": "SSIM outside",
    "lpips_outside": "LPIPS outside",
    "clip_inside": "CLIP inside",
}
"""Titles, in the order that tables have."""
METHODS = {
    "instructedit": "InstructEdit",
    "diffedit": "DiffEdit",
    "mdp": "MDP-εt",
    "instruct_pix2pix": "InstructPix2Pix",
    "sd_inpainting": "SD-inpainting",
}
"""Titles, in the order that tables and figures have."""
HYPERPARAMETERS = {"theta": "θ"}
COLOURS = {
    "instructedit": "#0b6e69", "diffedit": "#c8553d", "mdp": "#5b5ea6", "instruct_pix2pix": "#b7791f",
    "sd_inpainting": "#7a7f87",
}  # fmt: skip
"""Of methods, in figures."""
OTHER_COLOUR = "#3b3f46"
PUBLISHED_PLACES = 3
"""Decimals with which the paper prints its numbers, and ours stand beside them."""
NONE = "–"


def metric_title(name: str) -> str:
    """A metric as a table's head has it."""
    return METRICS.get(name, name.replace("_", " "))


def method_title(name: str) -> str:
    """A method as the paper writes it; somebody else's as it is called."""
    return METHODS.get(name, name)


def hyperparameter_title(name: str) -> str:
    """A hyperparameter as a figure has it."""
    return HYPERPARAMETERS.get(name, name.replace("_", " "))


def metric_place(name: str) -> int:
    """A metric's place in the order of tables; all others share the last."""
    return _place(name, METRICS)


def method_place(name: str) -> int:
    """A method's place in the order of tables and figures; all others share the last."""
    return _place(name, METHODS)


def method_colour(name: str) -> str:
    """A method's colour in figures; all others share one."""
    return COLOURS.get(name, OTHER_COLOUR)


def arrow(higher_is_better: bool | None) -> str:
    """Which way is better."""
    return {True: "↑", False: "↓", None: ""}[higher_is_better]


def decimals(values: Iterable[float]) -> int:
    """Three under 10, as the paper prints them; fewer above, where more would be noise."""
    largest = max((abs(v) for v in values if v == v), default=0.0)
    return 3 if largest < 10 else 2 if largest < 100 else 1


def difference_decimals(values: Iterable[float]) -> int:
    """As a terminal prints differences, whose columns are narrow: three under 1, two above."""
    largest = max((abs(v) for v in values if v == v), default=0.0)
    return 3 if largest < 1 else 2


def number(value: float | None, places: int, sign: bool = False) -> str:
    """With a true minus; a dash where there is none."""
    if value is None or value != value:
        return NONE
    return f"{value:{'+' if sign else ''}.{places}f}".replace("-", "−")


def interval(low: float | None, high: float | None, places: int) -> str:
    """``[0.110, 0.155]``; empty where one value gives none."""
    if low is None or low != low:
        return ""
    return f"[{number(low, places)}, {number(high, places)}]"


def p_value(value: float) -> str:
    """To three digits, and never as zero."""
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


def seconds(value: float | None) -> str:
    """Two digits that count, in seconds."""
    if value is None or value != value:
        return NONE
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"


def dollars(value: float) -> str:
    """To the cent; of less than a dollar, the first two digits that count."""
    if 0 < value < 0.0001:
        return "<0.0001"
    return f"{value:,.2f}" if value >= 1 or not value else f"{value:.2g}"


def when(stamp: str | None) -> str:
    """An ISO time to the minute, in UTC as the runs note it."""
    if not stamp:
        return "not finished"
    try:
        return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return stamp


def two_lines(label: str) -> str:
    """Break a label between words so that it is as narrow as two lines allow."""
    words = label.split()
    breaks = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    return "\n".join(min(breaks, key=lambda lines: max(map(len, lines)), default=(label,)))


def _place(name: str, names: Iterable[str]) -> int:
    known = list(names)
    return known.index(name) if name in known else len(known)
