"""Titles, order, colours and decimals of metrics and methods, for the report, tables and figures."""

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
    "shift": "shift",
    "mse_registered": "MSE outside, registered",
    "psnr_registered": "PSNR outside, registered",
    "ssim_registered": "SSIM outside, registered",
    "lpips_registered": "LPIPS outside, registered",
    "viescore": "VIEScore",
    "viescore_semantic": "VIEScore SC",
    "viescore_quality": "VIEScore PQ",
    "viescore_spread": "VIEScore spread",
    "question_right": "question right",
    "pie_structure_distance": "PIE-Bench structure distance",
    "pie_psnr": "PIE-Bench PSNR",
    "pie_lpips": "PIE-Bench LPIPS",
    "pie_mse": "PIE-Bench MSE",
    "pie_ssim": "PIE-Bench SSIM",
    "pie_clip_whole": "PIE-Bench CLIP whole",
    "pie_clip_edited": "PIE-Bench CLIP edited",
    "reconstruction_psnr": "reconstruction PSNR",
    "warp_error_inside": "warp error inside",
    "warp_error_outside": "warp error outside",
    "warp_error_inside_dis": "warp error inside (DIS)",
    "warp_error_outside_dis": "warp error outside (DIS)",
    "clip_consistency": "CLIP consistency",
    "reference_psnr": "PSNR to the reference edit",
    "reference_psnr_outside": "PSNR outside (held out)",
    "reference_psnr_inside": "PSNR inside (held out)",
    "reference_ssim_outside": "SSIM outside (held out)",
    "reference_ssim_inside": "SSIM inside (held out)",
    "reference_lpips_outside": "LPIPS outside (held out)",
    "reference_lpips_inside": "LPIPS inside (held out)",
    "clip_direction_consistency": "CLIP direction consistency",
}
"""Titles, in the order of tables."""
METHODS = {
    "instructedit": "InstructEdit",
    "diffedit": "DiffEdit",
    "mdp": "MDP-εt",
    "instruct_pix2pix": "InstructPix2Pix",
    "sd_inpainting": "SD-inpainting",
    "blended_latent": "Blended Latent Diffusion",
    "prompt_to_prompt": "Prompt-to-Prompt",
    "audit_edited": "reference edits",
    "audit_images": "unedited pictures",
    "audit_wrong": "wrong edits",
}
"""Titles, in the order of tables and figures."""
HYPERPARAMETERS = {"theta": "θ"}
COLOURS = {
    "instructedit": "#0b6e69", "diffedit": "#c8553d", "mdp": "#5b5ea6", "instruct_pix2pix": "#b7791f",
    "sd_inpainting": "#7a7f87",
}  # fmt: skip
"""Colours of methods in figures."""
OTHER_COLOUR = "#3b3f46"
PUBLISHED_PLACES = 3
"""Number of decimals in the paper's Table 1 and of our numbers shown with it."""
NONE = "–"


def metric_title(name: str) -> str:
    """Return the title of a metric in tables."""
    return METRICS.get(name, name.replace("_", " "))


def method_title(name: str) -> str:
    """Return the title of a method; third-party methods keep their name."""
    return METHODS.get(name, name)


def hyperparameter_title(name: str) -> str:
    """Return the title of a hyperparameter in figures."""
    return HYPERPARAMETERS.get(name, name.replace("_", " "))


def metric_place(name: str) -> int:
    """Return a metric's place in the order of tables; unknown metrics share the last."""
    return _place(name, METRICS)


def method_place(name: str) -> int:
    """Return a method's place in the order of tables and figures; unknown methods share the last."""
    return _place(name, METHODS)


def method_colour(name: str) -> str:
    """Return a method's colour in figures; unknown methods share one."""
    return COLOURS.get(name, OTHER_COLOUR)


def arrow(higher_is_better: bool | None) -> str:
    """Return an arrow in the direction of better values."""
    return {True: "↑", False: "↓", None: ""}[higher_is_better]


def decimals(values: Iterable[float]) -> int:
    """Return the number of decimals of a column: 3 below 10, as in the paper; fewer above."""
    largest = max((abs(v) for v in values if v == v), default=0.0)
    return 3 if largest < 10 else 2 if largest < 100 else 1


def difference_decimals(values: Iterable[float]) -> int:
    """Return the number of decimals of differences in the terminal, whose columns are narrow: 3 below 1, 2 above."""
    largest = max((abs(v) for v in values if v == v), default=0.0)
    return 3 if largest < 1 else 2


def number(value: float | None, places: int, sign: bool = False) -> str:
    """Format a number with a typographic minus; a dash if it is missing."""
    if value is None or value != value:
        return NONE
    return f"{value:{'+' if sign else ''}.{places}f}".replace("-", "−")


def interval(low: float | None, high: float | None, places: int) -> str:
    """Format an interval as ``[0.110, 0.155]``; empty if there is none."""
    if low is None or low != low:
        return ""
    return f"[{number(low, places)}, {number(high, places)}]"


def p_value(value: float) -> str:
    """Format a p-value with three decimals; smaller values as ``<0.001``."""
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


def seconds(value: float | None) -> str:
    """Format seconds with about two significant digits."""
    if value is None or value != value:
        return NONE
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"


def dollars(value: float) -> str:
    """Format US dollars to the cent; below one dollar, with two significant digits."""
    if 0 < value < 0.0001:
        return "<0.0001"
    return f"{value:,.2f}" if value >= 1 or not value else f"{value:.2g}"


def when(stamp: str | None) -> str:
    """Format an ISO time, which runs record in UTC, to the minute."""
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
