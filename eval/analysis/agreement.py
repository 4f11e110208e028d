"""Agreement of several people on the same items, for component labels and for the user study."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import SupportsFloat

import krippendorff
import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Agreement:
    """Agreement on items that at least two people judged as one of two values."""

    raters: int
    items: int
    """Number of items that at least two people judged."""
    observed: float
    """Share of the pairs of judgements of one item that are equal."""
    alpha: float | None
    """Krippendorff's alpha for nominal values (2011), for any number of judgements of an item; None if all judgements
    are equal, where chance agreement is certain."""
    kappa: float | None
    """Cohen's kappa (1960) of two raters, or Fleiss' (1971) of more, on the items that all of them judged, or that the
    same number of people judged. None if there are no such items, or chance agreement is certain."""
    kappa_items: int
    """Number of items of ``kappa``."""

    @property
    def kappa_title(self) -> str:
        """Name of the coefficient in texts."""
        return "Cohen's κ" if self.raters == 2 else "Fleiss' κ"


def agreement(judgements: pd.DataFrame, item: Sequence[str], rater: str, value: str) -> Agreement | None:
    """Return the agreement of raters; None if no item was judged twice.

    Args:
        judgements: A row for each judgement; those without a value are ignored.
        item: The columns that identify an item.
        rater: The column of the person, who judges an item at most once.
        value: The column of the judgement, True or False.
    """
    judged = judgements.dropna(subset=[value])
    table = judged.pivot(index=rater, columns=list(item), values=value).astype("float64")
    table = table.loc[:, table.notna().sum() > 1].dropna(how="all")
    if table.empty:
        return None
    counts = np.stack([(table == 0).sum().to_numpy(), (table == 1).sum().to_numpy()], axis=1)
    sizes = counts.sum(axis=1)
    equal, pairs = (counts * (counts - 1)).sum(), (sizes * (sizes - 1)).sum()
    varies = bool(counts.sum(axis=0).min())
    alpha = krippendorff.alpha(table.to_numpy(), level_of_measurement="nominal") if varies else None
    kappa, of = _kappa(table, counts)
    return Agreement(
        len(table), table.shape[1], float(equal / pairs), None if alpha is None else float(alpha), kappa, of
    )


def cohens_kappa(first: Sequence[bool] | np.ndarray, second: Sequence[bool] | np.ndarray) -> float | None:
    """Return Cohen's kappa (1960) of two raters' judgements, at most 1; None if chance agreement is certain."""
    # torch takes seconds to import, which a report without several raters need not wait for.
    import torch
    from torchmetrics.functional.classification import binary_cohen_kappa

    ratings = torch.from_numpy(np.array([first, second], dtype=int))
    return _finite(binary_cohen_kappa(ratings[0], ratings[1]))


def _kappa(table: pd.DataFrame, counts: np.ndarray) -> tuple[float | None, int]:
    if len(table) == 2:
        return cohens_kappa(*table.to_numpy()), table.shape[1]
    import torch
    from torchmetrics.functional.nominal import fleiss_kappa

    sizes = counts.sum(axis=1)
    same = counts[sizes == np.bincount(sizes).argmax()]
    return _finite(fleiss_kappa(torch.tensor(same), mode="counts")), len(same)


def _finite(value: SupportsFloat) -> float | None:
    return float(value) if np.isfinite(float(value)) else None


def pairs(judgements: pd.DataFrame, item: Sequence[str], rater: str, value: str) -> dict[tuple[str, str], Agreement]:
    """Return the agreement of each pair of raters who judged the same item, see :func:`agreement`."""
    found = {}
    for names in combinations(sorted(judgements[rater].unique()), 2):
        both = agreement(judgements[judgements[rater].isin(names)], item, rater, value)
        if both is not None:
            found[names] = both
    return found


def majority(judgements: pd.DataFrame, item: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Return a row for each item with the value of most people; null in a tie and without judgements.

    Args:
        judgements: A row for each judgement.
        item: The columns that identify an item; null is a value of its own.
        values: The columns of judgements, of pandas' ``boolean`` type. The first value of other columns is kept.
    """
    others = [c for c in judgements.columns if c not in (*item, *values)]
    groups = judgements.groupby(list(item), sort=False, dropna=False)
    shares = groups[list(values)].mean()
    votes = shares.mask(shares == 0.5).gt(0.5).astype("boolean").mask(shares.isna() | (shares == 0.5))
    return pd.concat([groups[others].first(), votes], axis=1).reset_index() if others else votes.reset_index()
