"""Runs against a reference run, sample by sample."""

import pandas as pd

from eval.analysis.stats import DEFAULT, holm, paired_difference

DIFFERENCES = ("run_id", "label", "metric", "difference", "low", "high", "n", "left_out", "p_value", "p_adjusted")


def differences(
    frame: pd.DataFrame, counts: pd.DataFrame, reference: str, seed: int = 0, interval: str = DEFAULT
) -> pd.DataFrame:
    """Mean difference of every other run to the reference, on the samples for which both have a value.

    The bootstrap draws, and the permutation swaps, whole images with all samples of each.

    Args:
        frame: long rows, see :mod:`eval.analysis.summary`.
        counts: runs, in the order of the result.
        reference: run_id of the run that the others are compared with.
        seed: of the bootstrap and of the permutations.
        interval: one of :data:`eval.analysis.stats.INTERVALS`.

    Returns:
        Columns ``run_id, label, metric, difference, low, high, n, left_out, p_value, p_adjusted``: the other run minus
        the reference with its 95 % interval, ``n`` pairs, samples left out because one of the two has no value,
        the two-sided p-value of a paired permutation test, and Holm's adjustment over all rows of the result.
    """
    values = frame.assign(value=pd.to_numeric(frame["value"])).dropna(subset=["value"])
    wide = values.pivot(index="sample_id", columns=["run_id", "metric"], values="value")
    images = dict(zip(frame["sample_id"], frame["image_id"], strict=True))
    rows = []
    for run_id, label in zip(counts["run_id"], counts["label"], strict=True):
        for metric in dict.fromkeys(frame["metric"]):
            if run_id == reference or not {(run_id, metric), (reference, metric)} <= set(wide.columns):
                continue
            either = wide[[(run_id, metric), (reference, metric)]].dropna(how="all").astype(float)
            pairs = either.dropna()
            if len(pairs):
                own, other = pairs[run_id, metric].tolist(), pairs[reference, metric].tolist()
                found = paired_difference(own, other, [images[k] for k in pairs.index], seed=seed, method=interval)
                mean = found.interval
                rows.append(
                    (run_id, label, metric, mean.mean, mean.low, mean.high, mean.n,
                     len(either) - len(pairs), found.p_value)
                )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(DIFFERENCES[:-1]))
    return table.assign(p_adjusted=holm(table["p_value"].tolist()) if len(table) else [])
