import itertools
import re
from collections import Counter

import numpy as np
import pytest

from training.batches import PictureOrder, sentences_of_similar_length
from training.errors import TrainingError

# The hundreds digit of a picture's number is its source.
ROWS = {"a": range(100, 107), "b": range(200, 203), "c": range(300, 350)}


def order(shares, *, rows=ROWS, seed=0):
    return PictureOrder(rows, shares, seed=seed)


def drawn(order, steps, size):
    return [order.batch(step, size).tolist() for step in range(steps)]


def of_source(pictures):
    return Counter(picture // 100 for picture in pictures)


@pytest.mark.parametrize("size", [1, 3, 8, 50])
@pytest.mark.parametrize("shares", [(1, 1, 1), (0.5, 0.3, 0.2), (7, 3, 50), (0.45, 0.1, 0.45), (1, 0.01, 1)])
def test_batches_are_full_and_each_source_gets_its_share_over_many_steps(shares, size):
    """300 steps cover whole rounds of the rarest source. A source with share 0.01 of 2.01 needs 603 (three times 201) steps."""
    steps = 603 if 0.01 in shares else 300
    batches = drawn(order(dict(zip(ROWS, shares, strict=True))), steps, size)
    assert {len(batch) for batch in batches} == {size}
    count = of_source(itertools.chain(*batches))
    for number, share in enumerate(shares, 1):
        assert abs(count[number] - steps * size * share / sum(shares)) <= 1


@pytest.mark.parametrize("size", [4, 10, 100])
def test_a_batch_contains_each_source_by_its_share_within_one_picture(size):
    for batch in drawn(order({"a": 0.5, "b": 0.3, "c": 0.2}), 20, size):
        for number, share in enumerate((0.5, 0.3, 0.2), 1):
            assert abs(of_source(batch)[number] - size * share) <= 1


@pytest.mark.parametrize(("size", "steps"), [(10, 60), (7, 70), (61, 60)])
def test_each_pass_uses_every_picture_of_a_source_once_in_a_new_order(size, steps):
    pictures = list(itertools.chain(*drawn(order({"a": 7, "b": 3, "c": 50}), steps, size)))
    for rows in ROWS.values():
        seen = [picture for picture in pictures if picture in rows]
        passes = [seen[start : start + len(rows)] for start in range(0, len(seen) // len(rows) * len(rows), len(rows))]
        assert len(passes) > 3
        assert all(sorted(one) == list(rows) for one in passes)
        assert len({tuple(one) for one in passes}) > 1


def test_a_rare_source_is_spread_evenly_over_the_batches():
    batches = drawn(order({"a": 40, "b": 1}, rows={"a": range(100, 140), "b": range(200, 203)}), 287, 6)
    steps = [step for step, batch in enumerate(batches) for picture in batch if picture >= 200]
    assert len(steps) == 287 * 6 / 41
    assert min(np.diff(steps)) >= 3
    assert max(np.diff(steps)) <= 2 * 41 / 6  # at most one picture late: it has one picture every 41 / 6 steps


def test_the_order_depends_only_on_seed_and_step():
    shares = {"a": 0.5, "b": 0.02, "c": 0.48}
    expected = drawn(order(shares), 60, 5)
    backwards = order(shares)
    for step in reversed(range(60)):
        assert backwards.batch(step, 5).tolist() == expected[step]
    assert order(dict(reversed(shares.items())), rows=dict(reversed(ROWS.items()))).batch(7, 5).tolist() == expected[7]
    assert drawn(order(shares, seed=1), 60, 5) != expected


@pytest.mark.parametrize("shares", [{"a": 0, "b": 1, "c": 1}, {"a": 0.0, "b": 0.5, "c": 0.5}])
def test_a_source_with_share_0_is_never_used(shares):
    assert set(of_source(itertools.chain(*drawn(order(shares), 50, 6)))) == {2, 3}


def test_a_source_without_pictures_leaves_its_share_to_the_others():
    batches = drawn(order({"a": 1, "b": 8, "c": 1}, rows={**ROWS, "b": ()}), 50, 6)
    assert of_source(itertools.chain(*batches)) == {1: 150, 3: 150}


@pytest.mark.parametrize("shares", [{"a": 0, "b": 0, "c": 0}, {"a": 0, "b": 0, "c": 5}])
def test_a_training_without_any_picture_is_refused(shares):
    with pytest.raises(TrainingError, match=re.escape("none has a text, or every source has the share 0")):
        order(shares, rows={**ROWS, "c": ()})


# --- sentences ----------------------------------------------------------------------------------------------------------

LENGTHS = np.random.default_rng(3).integers(2, 33, 5000)


def test_sentences_of_a_step_have_similar_lengths_and_all_lengths_occur():
    random = np.random.default_rng(0)
    drawn = [LENGTHS[sentences_of_similar_length(LENGTHS, 64, random)] for _ in range(200)]
    assert max(np.ptp(lengths) for lengths in drawn) <= 8  # a step is one eighth of a sorted draw with lengths 2 to 32
    assert {int(length) for lengths in drawn for length in lengths} == set(range(2, 33))


def test_sentences_are_sorted_by_length():
    chosen = sentences_of_similar_length(LENGTHS, 64, np.random.default_rng(0))
    assert chosen.shape == (64,)
    assert (np.diff(LENGTHS[chosen]) >= 0).all()


def test_the_random_generator_determines_the_sentences():
    one, same, other = (sentences_of_similar_length(LENGTHS, 64, np.random.default_rng(seed)).tolist() for seed in (0, 0, 1))
    assert one == same != other


@pytest.mark.parametrize(("count", "size"), [(1, 1), (1, 5), (3, 7), (5000, 1)])
def test_the_requested_number_of_sentences_is_drawn_even_from_a_few(count, size):
    chosen = sentences_of_similar_length(LENGTHS[:count], size, np.random.default_rng(0))
    assert chosen.shape == (size,)
    assert set(chosen.tolist()) <= set(range(count))
