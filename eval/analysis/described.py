"""Effect of image descriptions (paper §4.4, §5): matched pairs of edits without and with a captioner."""

from collections.abc import Sequence

import pandas as pd

from eval.analysis.components import COMPONENTS
from eval.analysis.stats import Interval, mean_interval

OUTCOMES = ("helps", "same", "hurts")


def compared(alone: pd.DataFrame, described: pd.DataFrame) -> pd.DataFrame:
    """Return matched pairs of verdicts without and with descriptions.

    Args:
        alone: Verdicts (see :mod:`eval.analysis.components`) without descriptions, with the columns ``variation`` and
            ``ratio``.
        described: Verdicts on the same samples with descriptions.

    Returns:
        A row for each sample and paraphrase: ``sample_id, image_id, variation, edit``; for each component
        ``<component>_alone`` and ``<component>_described``, the shares of the common ratios at which it is right; and
        ``outcome``: with a description, more edits are right (``helps``), as many (``same``), or fewer (``hurts``).
    """
    keys = ["sample_id", "image_id", "variation", "edit"]
    both = alone.merge(described, on=[*keys, "ratio"], suffixes=("_alone", "_described"))
    columns = [f"{c}_{side}" for c in COMPONENTS for side in ("alone", "described")]
    judged = both.dropna(subset=["editor_alone", "editor_described"]).astype(dict.fromkeys(columns, "Float64"))
    shares = judged.groupby(keys, sort=False)[columns].mean().reset_index()
    gain = shares["editor_described"] - shares["editor_alone"]
    return shares.assign(outcome=["helps" if g > 0 else "hurts" if g < 0 else "same" for g in gain])


def share(table: pd.DataFrame, outcome: str, edits: Sequence[str] | None = None) -> Interval | None:
    """Return the share of an outcome of descriptions, with an interval that resamples whole images.

    Args:
        table: From :func:`compared`.
        outcome: One of ``OUTCOMES``.
        edits: Edit types to count; None counts all.

    Returns:
        None if there are no rows of these edit types.
    """
    counted = table if edits is None else table[table["edit"].isin(edits)]
    if counted.empty:
        return None
    return mean_interval((counted["outcome"] == outcome).astype(float).tolist(), counted["image_id"].tolist())
