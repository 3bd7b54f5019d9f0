import numpy as np
import pytest

from coca_model.retrieval_metrics import recall_at


def recalls(result, direction):
    return [result[f"{direction}_r{k}"] for k in (1, 5, 10)]


def test_planted_pairs_are_found_first_exactly():
    owner = np.repeat(np.arange(33), 5)
    result = recall_at(np.eye(33, dtype=np.float32)[owner], owner)
    assert recalls(result, "text_to_picture") == [100.0, 100.0, 100.0]
    assert recalls(result, "picture_to_text") == [100.0, 100.0, 100.0]


def test_planted_mistakes_give_the_recall_computed_by_hand():
    similarity = np.full((4, 12), 0.0, dtype=np.float32)
    similarity[0, 0] = 1.0  # rank 0
    similarity[1, [1, 5, 6]] = 0.5, 0.9, 0.8  # rank 2
    similarity[2, [2, *range(3, 10)]] = [0.1, *[0.7] * 7]  # rank 7
    similarity[3, 3] = -1.0  # rank 11
    owner = np.arange(4)
    assert recalls(recall_at(similarity, owner), "text_to_picture") == [25.0, 50.0, 75.0]


def test_a_picture_counts_by_the_best_of_its_texts():
    similarity = np.array([[0.9, 0.0, 0.1], [0.1, 0.3, 0.1], [0.2, 0.2, 0.2], [0.95, 0.1, 0.3]], dtype=np.float32)
    owner = np.array([0, 0, 1, 2])  # picture 0: 0.9 behind 0.95; picture 1: 0.2 behind 0.3; picture 2: 0.3 first
    result = recall_at(similarity, owner, ks=(1, 2))
    assert result["picture_to_text_r1"] == pytest.approx(33.3)
    assert result["picture_to_text_r2"] == 100.0


def test_a_tie_counts_against_us():
    result = recall_at(np.ones((12, 12), dtype=np.float32), np.arange(12))
    assert recalls(result, "text_to_picture") == [0.0, 0.0, 0.0]
    assert recalls(result, "picture_to_text") == [0.0, 0.0, 0.0]


def test_texts_of_one_picture_do_not_compete_with_each_other():
    result = recall_at(np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32), np.array([0, 0, 1]))
    assert recalls(result, "picture_to_text") == [100.0, 100.0, 100.0]


def test_a_model_that_diverged_finds_nothing():
    result = recall_at(np.full((20, 20), np.nan, dtype=np.float32), np.arange(20))
    assert set(result.values()) == {0.0}


def test_recall_is_asked_for_by_k():
    assert set(recall_at(np.eye(2, dtype=np.float32), np.arange(2), ks=(3,))) == {"text_to_picture_r3", "picture_to_text_r3"}
