"""Terminal table of the user study: how often people preferred the reference, with intervals, test and agreement."""

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eval.analysis.agreement import Agreement
from eval.analysis.preference import ALL, analysed, left_share, preferences
from eval.analysis.published import PREFERENCES
from eval.analysis.stats import Interval
from eval.display import style as words


def render_preferences(console: Console, answers: pd.DataFrame) -> None:
    """Print one row per baseline.

    Args:
        console: The console.
        answers: See :mod:`eval.analysis.preference`.
    """
    kept = analysed(answers)
    console.print(Text(head(answers), style="bold"))
    if kept.empty:
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    headings = ("preferred to", "n", "%", "by participant", "by image", "p", "α", "paper")
    for heading in headings:
        table.add_column(heading, justify="right" if table.columns else "left", no_wrap=True)
    for p in preferences(answers):
        published = PREFERENCES.get(p.baseline)
        name = "all" if p.baseline == ALL else words.method_title(p.baseline)
        cells = percent(p.rate), ends(p.by_participant), ends(p.by_image), words.p_value(p.p_value), alpha(p.agreement)
        table.add_row(name, str(p.n), *cells, words.NONE if published is None else f"{published:.1f}")
    console.print(table)
    console.print(Text(NOTE, style="dim"))
    if (left := left_share(answers)) is not None:
        console.print(Text(f"The left image was chosen in {percent(left.mean)} % {ends(left)}.", style="dim"))


NOTE = (
    "%: share of the answers, with a 95 % bootstrap interval that resamples whole participants, and one that "
    "resamples whole images. p: two-sided binomial test of one half, Holm-corrected over the baselines, which takes "
    "answers as independent. α: Krippendorff's, between participants who compared the same two images."
)


def head(answers: pd.DataFrame) -> str:
    """Return one line about the participants: who is counted, and who failed the attention checks."""
    kept = analysed(answers)
    people, failed = kept["participant"].nunique(), answers["participant"].nunique() - kept["participant"].nunique()
    names = ", ".join(words.method_title(str(name)) for name in answers["reference"].unique())
    left_out = f"; {failed} more failed the attention checks and are left out" if failed else ""
    images = kept["image_id"].nunique()
    return f"{names} preferred: {len(kept)} answers of {people} participants on {images} images{left_out}"


def percent(share: float) -> str:
    """Format a share in percent."""
    return f"{100 * share:.1f}"


def ends(interval: Interval) -> str:
    """Format the ends of an interval of shares in percent; empty if there are none."""
    if interval.low is None or interval.high is None:
        return ""
    return words.interval(100 * interval.low, 100 * interval.high, 1)


def alpha(found: Agreement | None) -> str:
    """Format Krippendorff's alpha; a dash if there is none."""
    return words.NONE if found is None or found.alpha is None else words.number(found.alpha, 2)
