"""Ranks and the measures computed from them, compared with scikit-learn and with figures counted by hand."""

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score

from evaluation.measures.ranking import best_first, measures, ranks_of_right, recall_curve


def unit(*rows):
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_vectors(count, seed, width=16):
    return unit(*np.random.default_rng(seed).normal(size=(count, width)))


def values(ranks, **kwargs):
    return {name: round(measure.value, 4) for name, measure in measures(ranks, **kwargs).items()}


def test_planted_pairs_are_found_exactly():
    vectors = random_vectors(101, 0)  # 101 is prime, so the last block is smaller for any block size
    ranks = ranks_of_right(vectors, vectors, [[i] for i in range(101)])
    assert values(ranks) == {"R@1": 100, "R@5": 100, "R@10": 100, "median rank": 1, "MRR": 100, "mAP": 100}


def test_planted_mistakes_give_the_value_counted_by_hand():
    gallery = np.eye(12, dtype=np.float32)
    queries = np.array([gallery[0], gallery[1], 0.9 * gallery[2] + gallery[3], np.arange(12, 0, -1)], np.float32)
    ranks = ranks_of_right(queries, gallery, [[0], [1], [2], [11]])  # ranks 1, 1, 2, 12
    assert [int(rank[0]) for rank in ranks] == [1, 1, 2, 12]
    expected = {"R@1": 50, "R@5": 75, "R@10": 75, "median rank": 1.5, "MRR": 64.5833, "mAP": 64.5833}
    assert values(ranks) == pytest.approx(expected)


def test_several_right_items_count_in_mrr_and_map():
    gallery = np.eye(5, dtype=np.float32)
    query = np.array([[0.5, 0.4, 0.3, 0.2, 0.1]], np.float32)
    (ranks,) = ranks_of_right(query, gallery, [[4, 1]])
    assert ranks.tolist() == [2, 5]
    assert values([ranks])["mAP"] == pytest.approx(100 * (1 / 2 + 2 / 5) / 2)
    assert values([ranks])["MRR"] == 50


@pytest.mark.parametrize("twins", [1, 2, 37])
def test_a_tie_counts_as_an_error(twins):
    own = random_vectors(1, 1)
    gallery = np.concatenate([own] * (twins + 1) + [random_vectors(3, 2)])
    for index in range(twins + 1):
        (ranks,) = ranks_of_right(own, gallery, [[index]])
        assert ranks.tolist() == [twins + 1]


def test_equal_vectors_tie_at_any_position():
    gallery = np.repeat(random_vectors(1, 3, 384), 1000, axis=0)
    queries = random_vectors(7, 4, 384)
    assert {int(rank[0]) for rank in ranks_of_right(queries, gallery, [[q * 100] for q in range(7)])} == {1000}


def test_right_items_that_tie_with_each_other_do_not_count_against_each_other():
    gallery = np.concatenate([random_vectors(1, 5)] * 2)
    (ranks,) = ranks_of_right(random_vectors(1, 5), gallery, [[0, 1]])
    assert ranks.tolist() == [1, 2]


def test_nan_vectors_get_the_worst_rank():
    gallery = np.full((20, 4), np.nan, np.float32)
    ranks = ranks_of_right(random_vectors(3, 6, 4), gallery, [[0], [1], [2]])
    assert [int(rank[0]) for rank in ranks] == [20, 20, 20]


def test_recall_agrees_with_scikit_learn_on_random_input():
    queries, gallery, own = random_vectors(203, 7), random_vectors(50, 8), np.random.default_rng(9).integers(0, 50, 203)
    found = values(ranks_of_right(queries, gallery, own[:, None].tolist()))
    for k in (1, 5, 10):
        assert found[f"R@{k}"] == pytest.approx(100 * top_k_accuracy_score(own, queries @ gallery.T, k=k, labels=range(50)), abs=1e-3)


def test_average_precision_agrees_with_scikit_learn_on_random_input():
    queries, gallery = random_vectors(61, 10), random_vectors(40, 11)
    right = np.random.default_rng(12).random((61, 40)) < 0.1
    right[:, 0] = True
    found = values(ranks_of_right(queries, gallery, [np.flatnonzero(row) for row in right]))
    assert found["mAP"] == pytest.approx(100 * label_ranking_average_precision_score(right, queries @ gallery.T), abs=1e-3)


def test_measures_agree_with_a_sorted_ranking_on_random_input():
    queries, gallery, own = random_vectors(31, 13), random_vectors(17, 14), np.random.default_rng(15).integers(0, 17, 31)
    ranks = [
        sorted(range(17), key=lambda item: -float(query @ gallery[item])).index(right) + 1
        for query, right in zip(queries, own, strict=True)
    ]
    found = values(ranks_of_right(queries, gallery, own[:, None].tolist()))
    assert found["median rank"] == np.median(ranks)
    assert found["MRR"] == pytest.approx(100 * np.mean([1 / rank for rank in ranks]), abs=1e-3)
    assert recall_curve(ranks_of_right(queries, gallery, own[:, None].tolist()), (3,)) == (100 * np.mean([rank <= 3 for rank in ranks]),)


def test_best_first_returns_the_nearest_items_in_order():
    gallery = np.eye(4, dtype=np.float32)
    order, cosines = best_first(np.array([[0.1, 0.4, 0.2, 0.3]], np.float32), gallery, [[0]], 3)
    assert order.tolist() == [[1, 3, 2]]
    assert cosines[0].tolist() == pytest.approx([0.4, 0.3, 0.2])


def test_the_size_of_blocks_does_not_change_the_ranks(monkeypatch):
    queries, gallery, right = random_vectors(23, 16), random_vectors(9, 17), [[i % 9] for i in range(23)]
    whole = ranks_of_right(queries, gallery, right)
    monkeypatch.setattr("evaluation.measures.ranking._BLOCK", 45)  # five queries at a time, three in the last
    assert [rank.tolist() for rank in ranks_of_right(queries, gallery, right)] == [rank.tolist() for rank in whole]


def test_best_first_puts_wrong_items_before_right_ones_in_a_tie():
    gallery = np.ones((3, 2), np.float32)
    order, _ = best_first(np.ones((2, 2), np.float32), gallery, [[0], [1]], 3)
    assert order.tolist() == [[1, 2, 0], [0, 2, 1]]


def test_ranks_increase_when_one_right_item_is_nan():
    gallery = np.array([[np.nan], [1.0], [0.5], [0.4]], np.float32)
    (ranks,) = ranks_of_right(np.ones((1, 1), np.float32), gallery, [[0, 1]])
    assert ranks.tolist() == [1, 4]  # NaN compares false with everything, so it gets the worst rank and does not affect the others
