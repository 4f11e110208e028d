"""Long rows of three runs with four metrics, for tests of the summary and of its tables."""

import pandas as pd

from eval.runs.records import COUNTS, ROWS

DIRECTIONS = {"brisque": False, "lpips": False, "clip_score": True, "clip_directional": True}
RUNS = [("a", "instructedit ratio=0.5", 6, 1), ("b", "diffedit ratio=0.5 theta=0.3", 7, 0), ("c", "mdp", 0, 7)]


def counts() -> pd.DataFrame:
    """Return the numbers of edits and failures."""
    return pd.DataFrame(RUNS, columns=list(COUNTS))


def rows() -> pd.DataFrame:
    """Return values between 0 and 1, times 30 for two metrics; one sample of the second run has no direction."""
    values = []
    for run_id, label, edited, _ in RUNS:
        for sample in range(edited):
            for place, metric in enumerate(DIRECTIONS):
                value: float | None = (0.11 + 0.37 * sample + 0.2 * place) % 1 * (30 if place in (0, 2) else 1)
                if (run_id, metric, sample) == ("b", "clip_directional", 0):
                    value = None
                values.append((run_id, label, str(sample), str(sample), metric, value, f"card-{metric}", ""))
    return pd.DataFrame(values, columns=list(ROWS)).astype({"value": "Float64"})
