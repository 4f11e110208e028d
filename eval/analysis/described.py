"""What a description of the image changes (paper §4.4, §5): the same edits without a captioner and with one."""

from collections.abc import Sequence

import pandas as pd

from eval.analysis.components import COMPONENTS
from eval.analysis.stats import Interval, mean_interval

OUTCOMES = ("helps", "same", "hurts")


def compared(alone: pd.DataFrame, described: pd.DataFrame) -> pd.DataFrame:
    """Samples side by side.

    Args:
        alone: Verdicts (see :mod:`eval.analysis.components`) without descriptions, with the columns ``variation`` and
            ``ratio``.
        described: Of the same samples, with descriptions.

    Returns:
        A row for each sample and paraphrase: ``sample_id, image_id, variation, edit``, for each component the share of
        the ratios that both have at which it is right, ``<component>_alone`` and ``<component>_described``, and
        ``outcome``: with a description more edits are right (``helps``), as many (``same``), or fewer (``hurts``).
    """
    keys = ["sample_id", "image_id", "variation", "edit"]
    both = alone.merge(described, on=[*keys, "ratio"], suffixes=("_alone", "_described"))
    columns = [f"{c}_{side}" for c in COMPONENTS for side in ("alone", "described")]
    judged = both.dropna(subset=["editor_alone", "editor_described"]).astype(dict.fromkeys(columns, "Float64"))
    found = judged.groupby(keys, sort=False)[columns].mean().reset_index()
    gain = found["editor_described"] - found["editor_alone"]
    return found.assign(outcome=["helps" if g > 0 else "hurts" if g < 0 else "same" for g in gain])


def share(table: pd.DataFrame, outcome: str, edits: Sequence[str] | None = None) -> Interval | None:
    """How often a description helps (or hurts, or changes nothing), with an interval that draws whole images.

    Args:
        table: From :func:`compared`.
        outcome: One of ``OUTCOMES``.
        edits: Kinds of edit to count; None counts all.

    Returns:
        None where there is nothing to count.
    """
    own = table if edits is None else table[table["edit"].isin(edits)]
    if own.empty:
        return None
    return mean_interval((own["outcome"] == outcome).astype(float).tolist(), own["image_id"].tolist())
