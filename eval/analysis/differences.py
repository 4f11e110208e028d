"""Paired differences of runs to a reference run."""

import pandas as pd

from eval.analysis.stats import DEFAULT, holm, paired_difference

DIFFERENCES = ("run_id", "label", "metric", "difference", "low", "high", "n", "left_out", "p_value", "p_adjusted")


def differences(
    frame: pd.DataFrame, counts: pd.DataFrame, reference: str, seed: int = 0, interval: str = DEFAULT
) -> pd.DataFrame:
    """Return the mean paired difference of every other run to the reference, over samples for which both have a value.

    The bootstrap resamples, and the permutation test permutes, whole images with all their samples.

    Args:
        frame: Long rows, see :mod:`eval.analysis.summary`.
        counts: Runs, in the order of the result.
        reference: run_id of the reference run.
        seed: Seed of the bootstrap and of the permutations.
        interval: One of :data:`eval.analysis.stats.INTERVALS`.

    Returns:
        Columns ``run_id, label, metric, difference, low, high, n, left_out, p_value, p_adjusted``: the run minus the
        reference, its 95 % interval, the number of pairs, the number of samples left out because one of the two has no
        value, the two-sided p-value of a paired permutation test, and its Holm correction over all rows.
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
                values_a, values_b = pairs[run_id, metric].tolist(), pairs[reference, metric].tolist()
                clusters = [images[k] for k in pairs.index]
                test = paired_difference(values_a, values_b, clusters, seed=seed, method=interval)
                mean = test.interval
                rows.append(
                    (run_id, label, metric, mean.mean, mean.low, mean.high, mean.n,
                     len(either) - len(pairs), test.p_value)
                )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(DIFFERENCES[:-1]))
    return table.assign(p_adjusted=holm(table["p_value"].tolist()) if len(table) else [])
