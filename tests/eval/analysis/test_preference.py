"""Preferences and agreement: the paper's percentages, and other implementations."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy.stats import binomtest

from eval.analysis.agreement import agreement, majority, pairs
from eval.analysis.preference import ALL, checked_answers, left_share, preferences, read_answers
from eval.analysis.published import PREFERENCES
from eval.display.people import render_preferences
from instructedit.types import ConfigError
from tests.eval.annotation.made import PUBLISHED, as_published


def test_answers_that_give_the_papers_percentages() -> None:
    found = {p.baseline: p for p in preferences(checked_answers(as_published(), "answers"))}
    assert list(found) == ["mdp", "instruct_pix2pix", "diffedit", ALL]
    for name, percent in PREFERENCES.items():
        p = found[name]
        assert f"{100 * p.rate:.1f}" == f"{percent:.1f}"
        assert (p.n, p.preferred) == PUBLISHED[name]
        for interval in (p.by_participant, p.by_image):
            assert interval.low is not None
            assert interval.high is not None
            assert 0.5 < interval.low < p.rate < interval.high < 0.8
        assert binomtest(p.preferred, p.n).pvalue <= p.p_value <= 3 * binomtest(p.preferred, p.n).pvalue
    assert found[ALL].n == 780
    assert found[ALL].p_value == binomtest(538, 780).pvalue


def test_the_paper_stands_beside_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = checked_answers(as_published(), "answers")
    failed = checked_answers(as_published().head(30).assign(participant="careless", passed="false"), "answers")
    render_preferences(Console(width=80), pd.concat([table, failed]))
    out = capsys.readouterr().out
    assert "780 answers of 26 participants on 30 images; 1 more failed the attention checks" in " ".join(out.split())
    for title, percent in (("MDP-εt", 72.7), ("InstructPix2Pix", 68.3), ("DiffEdit", 66.2)):
        (line,) = (line for line in out.splitlines() if line.startswith(title))
        assert line.split()[2] == line.split()[-1] == f"{percent}"


def test_a_habit_of_one_side_is_shown() -> None:
    table = checked_answers(as_published().assign(choice="left"), "answers")
    left = left_share(table)
    assert left is not None
    assert (left.mean, left.low, left.high) == (1, 1, 1)
    assert abs(preferences(table)[-1].rate - 0.5) < 0.06


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"choice": "middle"}, "row 2, column choice: 'middle'; accepted are left, right"),
        ({"participant": ""}, "row 2, column participant: ''; accepted are any text"),
        ({"passed": "perhaps"}, "row 2, column passed: 'perhaps'; accepted are true"),
        ({"sample_id": "s0", "participant": "w", "baseline": "mdp"}, "participant 'w' answered sample 's0' more than"),
    ],
)
def test_a_wrong_table_is_named(change: dict[str, str], said: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    as_published().assign(**change).to_csv(path, index=False)
    with pytest.raises(ConfigError) as caught:
        read_answers(path)
    assert said in str(caught.value)


def test_a_table_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,x\n1,2\n")
    with pytest.raises(ConfigError, match="lacks the columns participant, sample_id"):
        read_answers(tmp_path / "a.csv")
    as_published().head(0).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(ConfigError, match="has no answers"):
        read_answers(tmp_path / "b.csv")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_answers(tmp_path / "c.csv")


OBSERVED = [
    [0, 1, 0, 0, 0, 0, 0, 0, 1, 0],
    [1, 1, 1, 0, 0, 1, 0, 0, 0, 0],
]
"""Krippendorff (2011), section A: two observers, ten units, two values; alpha is 0.095."""


def judgements(rows: list[list[int | None]]) -> pd.DataFrame:
    cells = [(f"r{r}", i, v) for r, row in enumerate(rows) for i, v in enumerate(row)]
    return pd.DataFrame(cells, columns=["rater", "item", "value"]).astype({"value": "boolean"})


def test_agreement_of_two_is_that_of_the_literature() -> None:
    found = agreement(judgements([list(row) for row in OBSERVED]), ["item"], "rater", "value")
    assert found is not None
    assert found.alpha == pytest.approx(0.095, abs=5e-4)
    assert (found.raters, found.items, found.observed, found.kappa_title) == (2, 10, 0.6, "Cohen's κ")
    a, b = np.array(OBSERVED)
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    assert found.kappa == pytest.approx((0.6 - chance) / (1 - chance))


def test_agreement_of_many() -> None:
    random = np.random.default_rng(0)
    rows = (random.random((5, 40)) < np.linspace(0.1, 0.9, 40)).astype(int)
    found = agreement(judgements(rows.tolist()), ["item"], "rater", "value")
    assert found is not None
    ones = rows.sum(0)
    observed = ((ones * (ones - 1) + (5 - ones) * (4 - ones)) / 20).mean()
    p = rows.mean()
    chance = p * p + (1 - p) * (1 - p)
    assert found.observed == pytest.approx(observed)
    assert found.kappa == pytest.approx((observed - chance) / (1 - chance), abs=1e-5)
    assert found.kappa_title == "Fleiss' κ"
    assert found.alpha == pytest.approx(1 - (1 - observed) / (1 - chance) * (199 / 200), abs=1e-6)
    assert len(pairs(judgements(rows.tolist()), ["item"], "rater", "value")) == 10


def test_missing_judgements_and_certain_agreement() -> None:
    assert agreement(judgements([[1, None], [None, 0]]), ["item"], "rater", "value") is None
    same = agreement(judgements([[1, 1, None], [1, 1, 0]]), ["item"], "rater", "value")
    assert same is not None
    assert (same.observed, same.alpha, same.items) == (1, None, 2)
    some = agreement(judgements([[1, 0, 1, None], [1, 0, 0, 1], [1, None, 1, 0]]), ["item"], "rater", "value")
    assert some is not None
    assert (some.raters, some.items, some.kappa_items) == (3, 4, 2)


def test_the_majority_decides_and_a_tie_does_not() -> None:
    table = pd.DataFrame(
        [("a", None, "x", True, None), ("a", None, "y", True, None), ("a", None, "z", False, True),
         ("b", "r", "x", True, False), ("b", "r", "y", False, False)],
        columns=["id", "run", "who", "one", "two"],
    ).astype({"one": "boolean", "two": "boolean"})  # fmt: skip
    found = majority(table, ["id", "run"], ["one", "two"])
    assert found["id"].tolist() == ["a", "b"]
    assert [None if pd.isna(v) else bool(v) for v in found["one"]] == [True, None]
    assert [bool(v) for v in found["two"]] == [True, False]
