"""Terminal table of component accuracy: overall accuracy, and the two matrices of Fig. 10."""

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eval.analysis.components import COMPONENTS, conditional, rates


def render_components(console: Console, verdicts: pd.DataFrame) -> None:
    """Print accuracies and matrices over all runs together.

    Args:
        console: The console.
        verdicts: From :func:`eval.analysis.components.verdicts`; if it is empty, nothing is printed.
    """
    if not len(verdicts):
        return
    edits, images = len(verdicts), verdicts["image_id"].nunique()
    by = " and ".join(verdicts["judge"].unique())
    console.print(Text(f"Component accuracy over {edits} edits of {images} images, judged by {by}", style="bold"))
    tables = {given: conditional(verdicts, given).set_index(["condition", "component"]) for given in (True, False)}
    overall = rates(verdicts)
    built = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("%", "right", *(f"{c} right" for c in COMPONENTS)):
        built.add_column(heading, justify="right" if heading != "%" else "left")
    for component in COMPONENTS:
        if component not in overall:
            continue
        interval = overall[component]
        rate = Text(f"{100 * interval.mean:.1f}")
        if interval.low is not None and interval.high is not None:
            rate.append(f"\n[{100 * interval.low:.1f}, {100 * interval.high:.1f}]", style="dim")
        cells = [_pair(tables, component, other) for other in COMPONENTS]
        built.add_row(component, rate, *cells)
    console.print(built)
    note = (
        "Right: accuracy with a 95 % bootstrap interval that resamples whole images. Other columns, as in Fig. 10: "
        "accuracy of that component if the row's is right / if it is wrong."
    )
    console.print(Text(note, style="dim"))
    console.print()


def _pair(tables: dict[bool, pd.DataFrame], condition: str, component: str) -> str:
    if condition == component:
        return ""
    accuracies = [tables[given].loc[(condition, component), "rate"] for given in (True, False)]
    return " / ".join("-" if pd.isna(rate) else f"{100 * rate:.1f}" for rate in accuracies)
