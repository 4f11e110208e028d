"""What participants see is balanced, and nobody can predict the sides."""

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from eval.annotation.assignment import LEFT, RIGHT, SIDES, Item, assign

BASELINES = {s: {m: 10 * s + i for i, m in enumerate(("mdp", "ip2p", "diffedit"))} for s in range(12)}


def everyone(count: int, checks: int = 2, samples: int | None = None, seed: int = 0) -> list[list[Item]]:
    """Assign participants one after the other, all of whom answer everything."""
    random, shown, people = Random(seed), Counter[tuple[int, int, str]](), []
    for _ in range(count):
        people.append(assign(BASELINES, shown, samples, checks, random))
        shown.update((i.sample, i.baseline, i.reference_side) for i in people[-1] if i.check_side is None)
    return people


def triplets_of(items: list[Item]) -> list[Item]:
    return [item for item in items if item.check_side is None]


def test_each_participant_sees_each_sample_once_and_half_on_each_side() -> None:
    for items in everyone(20):
        assert sorted(i.sample for i in triplets_of(items)) == list(range(12))
        assert Counter(i.reference_side for i in triplets_of(items)) == {LEFT: 6, RIGHT: 6}


def test_baselines_and_sides_are_balanced_over_participants() -> None:
    people = everyone(30)
    pairs = Counter((i.sample, i.baseline) for items in people for i in triplets_of(items))
    assert set(pairs.values()) == {10}
    sides = Counter((i.sample, i.baseline, i.reference_side) for items in people for i in triplets_of(items))
    assert all(abs(sides[(*pair, LEFT)] - sides[(*pair, RIGHT)]) <= 2 for pair in pairs)
    for items in people:
        methods = Counter(i.baseline % 10 for i in triplets_of(items))
        assert max(methods.values()) - min(methods.get(m, 0) for m in range(3)) <= 6


def test_with_fewer_samples_than_there_are_all_are_shown_equally_often() -> None:
    people = everyone(24, samples=5)
    assert {len(triplets_of(items)) for items in people} == {5}
    samples = Counter(i.sample for items in people for i in triplets_of(items))
    assert set(samples.values()) == {10}
    lefts = sum(i.reference_side == LEFT for items in people for i in triplets_of(items))
    assert 48 <= lefts <= 72  # of 120: two or three of five each


def test_checks_are_never_first_and_ask_for_either_side() -> None:
    people = everyone(60, checks=3)
    assert all(items[0].check_side is None for items in people)
    assert all(sum(i.check_side is not None for i in items) == 3 for items in people)
    asked = Counter(i.check_side for items in people for i in items if i.check_side)
    assert binomtest(asked[LEFT], 180).pvalue > 0.001
    places = Counter(place for items in people for place, i in enumerate(items) if i.check_side)
    assert set(places) == set(range(1, 15))


def test_sides_are_unpredictable() -> None:
    """Neither the place, the sample, the side before, nor the same place of the person before tells a side."""
    people = [triplets_of(items) for items in everyone(400, checks=0)]
    left = np.array([[i.reference_side == LEFT for i in items] for items in people])
    for place in range(12):
        assert binomtest(int(left[:, place].sum()), len(left)).pvalue > 0.0005
    by_sample = np.array(
        [[i.reference_side == LEFT for i in sorted(items, key=lambda i: i.sample)] for items in people]
    )
    assert all(binomtest(int(by_sample[:, s].sum()), len(left)).pvalue > 0.0005 for s in range(12))
    same_as_before = int((left[1:] == left[:-1]).sum())
    assert binomtest(same_as_before, left[1:].size).pvalue > 0.0005
    # Half of each participant's items are left, so that a side follows itself in 5 of 11 cases.
    repeated = int((left[:, 1:] == left[:, :-1]).sum())
    assert binomtest(repeated, left[:, 1:].size, 5 / 11).pvalue > 0.0005


def test_orders_differ_and_depend_on_the_generator_alone() -> None:
    orders = {tuple(i.sample for i in items) for items in everyone(50)}
    assert len(orders) == 50
    assert everyone(3, seed=7) == everyone(3, seed=7)
    assert everyone(3, seed=7) != everyone(3, seed=8)


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(st.integers(0, 30), st.integers(1, 4), min_size=1, max_size=12),
    st.one_of(st.none(), st.integers(1, 20)),
    st.integers(0, 4),
    st.integers(0, 1000),
)
def test_any_study_can_be_assigned(sizes: dict[int, int], samples: int | None, checks: int, seed: int) -> None:
    baselines = {s: {f"m{i}": 100 * s + i for i in range(n)} for s, n in sizes.items()}
    items = assign(baselines, {}, samples, checks, Random(seed))
    shown = triplets_of(items)
    assert len(shown) == min(len(sizes), samples or len(sizes))
    assert len({i.sample for i in shown}) == len(shown)
    assert all(i.baseline in baselines[i.sample].values() for i in items)
    assert len(items) == len(shown) + checks
    lefts = sum(i.reference_side == LEFT for i in shown)
    assert abs(2 * lefts - len(shown)) <= 1


@pytest.mark.parametrize("side", SIDES)
def test_a_side_that_was_rare_is_preferred(side: str) -> None:
    shown = {(s, b, side): 5 for s in range(6) for b in BASELINES[s].values()}
    shown |= {(s, b, {LEFT: RIGHT, RIGHT: LEFT}[side]): 5 for s in range(6, 12) for b in BASELINES[s].values()}
    items = assign(BASELINES, shown, None, 0, Random(0))
    assert all((i.reference_side == side) == (i.sample >= 6) for i in items)
