"""Intervals, tests and verdicts: exact where they can be, and not fooled by noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.evaluate.statistics import compare, holm, mean_interval, randomisation_test, verdict

values = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=25)


def test_exact_p_by_hand() -> None:
    assert randomisation_test([0, 0, 0], [1, 1, 1]) == 2 / 8  # all up or all down, of 8 ways
    assert randomisation_test([0, 0, 0, 5], [1, 1, 1, 5]) == 2 / 8  # equal pairs say nothing
    assert randomisation_test([0, 0, 0], [1, 1, -1]) == 1  # |1| or more: always
    assert randomisation_test([0] * 10, [1] * 10) == 2 / 1024
    assert randomisation_test([0.1, 0.2], [0.3, 0.6]) == randomisation_test([0.3, 0.6], [0.1, 0.2]) == 1 / 2


def test_sampled_p_is_near_the_exact_one() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.random(13), rng.random(13) + 0.15
    exact = randomisation_test(before, after)  # 8,192 ways
    sampled = randomisation_test(before, after, resamples=8_000)
    assert sampled == pytest.approx(exact, abs=0.02)
    assert exact != sampled


def test_it_agrees_with_scipy() -> None:
    from scipy.stats import permutation_test

    rng = np.random.default_rng(1)
    before, after = rng.random(40), rng.random(40) + 0.1
    theirs = permutation_test(
        (after - before,), np.mean, permutation_type="samples", n_resamples=5000, rng=np.random.default_rng(2)
    )
    assert randomisation_test(before, after) == pytest.approx(theirs.pvalue, abs=0.02)


@settings(max_examples=40)
@given(values)
def test_equal_systems_are_never_told_apart(scores: list[float]) -> None:
    found = compare(scores, scores, resamples=200)
    assert (found.p, found.difference, found.low, found.high, found.changed) == (1, 0, 0, 0, 0)
    assert found.verdict == "no difference shown"


@settings(max_examples=40)
@given(values, st.randoms())
def test_the_interval_holds_the_difference(before: list[float], rng: object) -> None:
    after = rng.sample(before, len(before))
    found = compare(before, after, resamples=500)
    assert found.low - 1e-9 <= found.difference <= found.high + 1e-9
    assert found.difference == pytest.approx(np.mean(after) - np.mean(before))
    assert (found.before, found.after, found.n) == (
        pytest.approx(np.mean(before)),
        pytest.approx(np.mean(after)),
        len(after),
    )
    assert 0 < found.p <= 1
    assert found.changed == sum(a != b for a, b in zip(after, before, strict=True))
    again = compare(before, after, resamples=500)
    assert again == found  # seeded
    mirrored = compare(after, before, resamples=500)
    opposite = {"better": "worse", "worse": "better"}
    assert mirrored.verdict == opposite.get(found.verdict, found.verdict)


def test_verdicts() -> None:
    assert verdict(0.1, 0.2, 0.01) == "better"
    assert verdict(-0.2, -0.1, 0.01) == "worse"
    assert verdict(-0.2, -0.1, 0.01, lower_is_better=True) == "better"
    assert verdict(0.1, 0.2, 0.01, lower_is_better=True) == "worse"
    assert verdict(-0.1, 0.2, 0.01) == verdict(0.1, 0.2, 0.06) == verdict(0.0, 0.2, 0.01) == "no difference shown"
    assert verdict(0.1, 0.2, 0.02, level=0.99) == "no difference shown"


def test_few_questions_show_nothing() -> None:
    """The bootstrap alone would: five differences of 1 have an interval of no width."""
    found = compare([0] * 5, [1] * 5)
    assert (found.low, found.high, found.p) == (1, 1, 2 / 32)
    assert found.verdict == "no difference shown"
    assert compare([0] * 6, [1] * 6).verdict == "better"
    assert compare([1] * 6, [0] * 6).verdict == "worse"
    one = compare([0], [1])
    assert (one.low, one.high, one.p, one.verdict) == (1, 1, 1, "no difference shown")


def test_noise_is_called_a_difference_one_time_in_twenty() -> None:
    rng = np.random.default_rng(3)
    told = []
    for _ in range(200):
        before, after = (rng.random((2, 60)) < 0.6).astype(float)
        told.append(compare(before, after, resamples=400).verdict)
    assert told.count("better") + told.count("worse") <= 20
    found = compare(*(rng.random((2, 400)) < np.asarray([[0.5], [0.7]])).astype(float))
    assert found.verdict == "better"


def test_the_interval_is_the_textbook_one() -> None:
    scores = np.random.default_rng(4).normal(0.5, 0.2, 400)
    found = mean_interval(scores)
    half = 1.96 * scores.std() / 20
    assert (found.mean, found.n) == (pytest.approx(scores.mean()), 400)
    assert (found.low, found.high) == pytest.approx((scores.mean() - half, scores.mean() + half), abs=0.002)
    assert mean_interval(scores, level=0.5).high < found.high
    assert mean_interval(scores, seed=1) != found
    alone = mean_interval([0.3])
    assert (alone.mean, alone.low, alone.high) == (0.3, 0.3, 0.3)


def test_alike_questions_count_as_one() -> None:
    """100 questions of 10 articles, all questions of an article alike: as unsure as 10 questions are."""
    rng = np.random.default_rng(5)
    articles = np.repeat(rng.random(10), 10)
    groups = [f"article {i // 10}" for i in range(100)]
    single, grouped = mean_interval(articles), mean_interval(articles, groups=groups)
    assert grouped.mean == pytest.approx(single.mean)
    assert (grouped.high - grouped.low) > 2 * (single.high - single.low)
    before, after = np.zeros(30), np.ones(30)
    assert compare(before, after).verdict == "better"
    assert compare(before, after, groups=["one"] * 30).verdict == "no difference shown"
    assert compare(before, after, groups=[i // 10 for i in range(30)]).p == 2 / 8
    assert compare(before, after, groups=list(range(30))) == compare(before, after)


def test_groups_of_unequal_size_keep_the_mean_over_questions() -> None:
    scores, groups = [1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"]
    found = mean_interval(scores, groups=groups)
    assert (found.mean, found.low, found.high) == (0.75, 0, 1)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


@pytest.mark.parametrize("bad", [[], [0.1, float("nan")], [float("inf")]])
def test_what_is_no_sample(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval(bad)
    with pytest.raises(ValueError, match="at least one value"):
        compare(bad, bad)


def test_pairs_have_to_match() -> None:
    with pytest.raises(ValueError, match="same questions, got 1 and 2"):
        compare([1], [1, 2])
    with pytest.raises(ValueError, match="same questions, got 1 and 2"):
        randomisation_test([1], [1, 2])
    with pytest.raises(ValueError, match="1 groups for 2 values"):
        mean_interval([1, 2], groups=["a"])


def test_ten_thousand_questions_take_seconds() -> None:
    import time

    rng = np.random.default_rng(6)
    before = rng.random(10_000)
    began = time.perf_counter()
    compare(before, before + rng.normal(0.01, 0.1, 10_000))
    assert time.perf_counter() - began < 20  # 2 on a quiet machine
