"""The metrics that a configuration names, on the checkpoints of its models preset."""

from eval.metrics.base import Metric
from eval.metrics.brisque import Brisque
from eval.metrics.clip import ClipDirectional, ClipScore, ClipScorer
from eval.metrics.component import Judge
from eval.metrics.lpips import Lpips
from eval.metrics.mask_iou import MaskIoU
from eval.metrics.region import ClipInside, LpipsOutside, MseOutside, PsnrOutside, SsimOutside
from instructedit.models import DTYPES, Checkpoint, Context


def paper_metrics(
    context: Context, brisque: Checkpoint, lpips: Checkpoint, lpips_calibration: str, clip: Checkpoint
) -> list[Metric]:
    """Table 1's metrics and mask IoU; loaded once per process."""

    def make() -> list[Metric]:
        scorer = ClipScorer.from_folder(
            clip.folder, clip.id, clip.version, device=context.device, dtype=DTYPES[clip.dtype]
        )
        return [
            Brisque(brisque.folder / "model.safetensors"),
            Lpips(lpips.folder, lpips.id, lpips.version, lpips_calibration, device=str(context.device)),
            ClipScore(scorer),
            ClipDirectional(scorer),
            MaskIoU(),
        ]

    return context.pool.get(("metrics", brisque, lpips, lpips_calibration, clip, str(context.device)), make)


def full_metrics(
    context: Context, brisque: Checkpoint, lpips: Checkpoint, lpips_calibration: str, clip: Checkpoint
) -> list[Metric]:
    """The paper's metrics, and those of the regions outside and inside the true mask, on the same networks."""
    paper = paper_metrics(context, brisque, lpips, lpips_calibration, clip)
    whole = next(m for m in paper if isinstance(m, Lpips))
    score = next(m for m in paper if isinstance(m, ClipScore))
    outside = [PsnrOutside(), SsimOutside(), MseOutside(), LpipsOutside(whole)]
    return [*paper, *outside, ClipInside(score.scorer)]


def component_metrics(
    context: Context, judge: Judge, brisque: Checkpoint, lpips: Checkpoint, lpips_calibration: str, clip: Checkpoint
) -> list[Metric]:
    """The paper's metrics, and which component was right, by the judge that is chosen."""
    paper = paper_metrics(context, brisque, lpips, lpips_calibration, clip)
    scorer = next(m for m in paper if isinstance(m, ClipScore)).scorer
    return [*paper, *judge.metrics(context, scorer)]
