"""The metrics that a configuration names, on the checkpoints of its models preset."""

from typing import Any

from eval.metrics.base import Metric
from eval.metrics.brisque import Brisque
from eval.metrics.clip import ClipDirectional, ClipScore, ClipScorer, TransformersClip, check_resize
from eval.metrics.components.truth import Judge
from eval.metrics.lpips import Lpips
from eval.metrics.mask_iou import MaskIoU
from eval.metrics.region import ClipInside, LpipsOutside, MseOutside, PsnrOutside, SsimOutside
from instructedit.models import DTYPES, Checkpoint, Context


def paper_metrics(
    context: Context,
    brisque: Checkpoint,
    lpips: Checkpoint,
    lpips_calibration: str,
    clip: Checkpoint,
    clip_score_resize: str = "crop",
    clip_directional_resize: str = "squeeze",
) -> list[Metric]:
    """Table 1's metrics and mask IoU; loaded once per process."""

    def make() -> list[Metric]:
        scorer = clip_scorer(context, clip)
        return [
            Brisque(brisque.folder / "model.safetensors"),
            Lpips(lpips.folder, lpips.id, lpips.version, lpips_calibration, device=str(context.device)),
            ClipScore(scorer, clip_score_resize),
            ClipDirectional(scorer, clip_directional_resize),
            MaskIoU(),
        ]

    resizes = check_resize(clip_score_resize), check_resize(clip_directional_resize)
    return context.pool.get(("metrics", brisque, lpips, lpips_calibration, clip, resizes, str(context.device)), make)


def clip_scorer(context: Context, clip: Checkpoint) -> ClipScorer:
    """CLIP on the library that the checkpoint names."""
    place = clip.folder, clip.id, clip.version, context.device, DTYPES[clip.dtype]
    if clip.implementation == "open_clip":
        from eval.metrics.openclip import OpenClip  # takes seconds to import

        return OpenClip(*place)
    return TransformersClip.from_folder(*place)


def full_metrics(context: Context, **networks: Any) -> list[Metric]:
    """The paper's metrics, and those of the regions outside and inside the true mask, on the same networks.

    Args:
        context: Models and device.
        networks: What :func:`paper_metrics` takes.
    """
    paper = paper_metrics(context, **networks)
    whole = next(m for m in paper if isinstance(m, Lpips))
    score = next(m for m in paper if isinstance(m, ClipScore))
    outside = [PsnrOutside(), SsimOutside(), MseOutside(), LpipsOutside(whole)]
    return [*paper, *outside, ClipInside(score.scorer)]


def component_metrics(context: Context, judge: Judge, **networks: Any) -> list[Metric]:
    """The paper's metrics, and which component was right, by the judge that is chosen.

    Args:
        context: Models and device.
        judge: Says whether a component was right.
        networks: What :func:`paper_metrics` takes.
    """
    paper = paper_metrics(context, **networks)
    scorer = next(m for m in paper if isinstance(m, ClipScore)).scorer
    return [*paper, *judge.metrics(context, scorer)]
