"""How numbers, metrics, methods and knobs are written, the same on the page, in tables and under figures."""

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
METHODS = {
    "instructedit": "InstructEdit",
    "diffedit": "DiffEdit",
    "mdp": "MDP-εt",
    "instruct_pix2pix": "InstructPix2Pix",
    "sd_inpainting": "SD-inpainting",
}
KNOBS = {"theta": "θ"}
NONE = "–"


def metric_title(name: str) -> str:
    """A metric as a table's head has it."""
    return METRICS.get(name, name.replace("_", " "))


def method_title(name: str) -> str:
    """A method as the paper writes it; somebody else's as it is called."""
    return METHODS.get(name, name)


def knob_title(name: str) -> str:
    """A knob as a figure has it."""
    return KNOBS.get(name, name.replace("_", " "))


def arrow(higher_is_better: bool | None) -> str:
    """Which way is better."""
    return {True: "↑", False: "↓", None: ""}[higher_is_better]


def decimals(values: Iterable[float]) -> int:
    """Three under 10, as the paper prints them; fewer above, where more would be noise."""
    largest = max((abs(v) for v in values if v == v), default=0.0)
    return 3 if largest < 10 else 2 if largest < 100 else 1


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
