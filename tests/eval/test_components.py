"""Component accuracy: the paper's own numbers come out of counts that give them."""

from pathlib import Path

import pandas as pd
import pytest

from eval.components import COMPONENTS, conditional, rates, read_labels
from instructedit.types import ConfigError


def table(*groups: tuple[int, bool | None, bool | None, bool | None]) -> pd.DataFrame:
    """``(count, language, segmenter, editor)`` as verdicts, each case of its own."""
    rows = [verdict for count, *verdict in groups for _ in range(count)]
    frame = pd.DataFrame(rows, columns=list(COMPONENTS)).astype("boolean")
    return frame.assign(case=range(len(frame)))


# 1,000 cases with the paper's rates (§5): where language fails all fail; where the segmenter alone fails, the editor is
# right in 35 % of what the segmenter gets wrong (101.5 of 290; 102 keeps both within the rounding that is printed).
PAPER = table(
    (592, True, True, True), (118, True, True, False), (102, True, False, True), (161, True, False, False),
    (27, False, False, False),
)  # fmt: skip


def test_the_papers_rates() -> None:
    found = {name: round(100 * interval.mean, 1) for name, interval in rates(PAPER).items()}
    assert found == {"language": 97.3, "segmenter": 71.0, "editor": 69.4}
    assert all(i.low is not None and i.high is not None and i.low < i.mean < i.high for i in rates(PAPER).values())


def test_the_papers_matrices() -> None:
    wrong = conditional(PAPER, given=False).set_index(["condition", "component"])
    assert round(100 * wrong.loc[("segmenter", "editor"), "rate"]) == 35
    assert wrong.loc[("language", "segmenter"), "rate"] == 0
    assert wrong.loc[("language", "editor"), "rate"] == 0
    assert wrong.loc[("language", "editor"), "n"] == 27
    right = conditional(PAPER, given=True).set_index(["condition", "component"])
    assert right.loc[("segmenter", "language"), "rate"] == 1
    assert right.loc[("segmenter", "editor"), "rate"] == pytest.approx(592 / 710)
    assert len(right) == len(wrong) == 6


def test_what_nobody_judged_counts_nowhere() -> None:
    verdicts = table((2, True, None, True), (1, True, True, False), (1, None, False, True))
    assert rates(verdicts)["segmenter"].n == 2
    assert rates(verdicts)["language"].mean == 1
    given = conditional(verdicts, given=False).set_index(["condition", "component"])
    assert given.loc[("language", "editor"), "n"] == 0
    assert pd.isna(given.loc[("language", "editor"), "rate"])
    assert given.loc[("segmenter", "language"), "n"] == 0
    assert given.loc[("segmenter", "editor"), "n"] == 1
    assert "segmenter" not in rates(table((3, True, None, True)))


def test_intervals_draw_whole_images() -> None:
    alone = table((30, True, True, True), (30, True, False, True))
    together = alone.assign(case=[i // 10 for i in range(60)])
    narrow, wide = rates(alone)["segmenter"], rates(together)["segmenter"]
    assert narrow.mean == wide.mean
    assert (wide.high or 0) - (wide.low or 0) > (narrow.high or 0) - (narrow.low or 0)


def test_labels_in_the_words_that_people_use(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,language,segmenter,editor\na,1,yes,Right\nb,0,no,wrong\nc,true,,FALSE\n")
    found = read_labels(path)
    assert found["language"].tolist() == [True, False, True]
    assert found["segmenter"].iloc[:2].tolist() == [True, False]
    assert found["segmenter"].isna().tolist() == [False, False, True]
    assert found["case"].tolist() == ["a", "b", "c"]
    found.drop(columns="case").to_parquet(tmp_path / "labels.parquet")
    assert read_labels(tmp_path / "labels.parquet").equals(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,language,segmenter\na,1,1\n", "lacks the columns editor"),
        ("id,language,segmenter,editor\na,1,maybe,1\n", "row 2, column segmenter: 'maybe'"),
        ("id,language,segmenter,editor\na,1,1,1\na,0,1,1\n", "sample a is labelled more than once"),
        ("", "cannot be read"),
    ],
)
def test_wrong_labels_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_labels(path)
    with pytest.raises(ConfigError, match="no_such"):
        read_labels(tmp_path / "no_such.csv")
