import random

import pytest

from training.prepare.false_texts import KINDS, false_texts


def changed(kind, text):
    return KINDS[kind](text, random.Random(0))


@pytest.mark.parametrize(
    ("kind", "text", "wrong"),
    [
        ("man or woman", "a man paints .", "a woman paints ."),
        ("adult or child", "two girls hugging .", "two women hugging ."),
        ("left, right", "a dog looks to the left", "a dog looks to the right"),
        ("in front of, behind", "a man behind two chairs", "a man in front of two chairs"),
        ("up, down", "a dog runs up a steep hill", "a dog runs down a steep hill"),
        ("into, out of", "a dog runs into the lake", "a dog runs out of the lake"),
        ("inside, outside", "two women outside", "two women inside"),
        ("who does what", "a young woman walks a brown dog", "a brown dog walks a young woman"),
        ("whose colour", "a man in a red hat and blue coat", "a man in a blue hat and red coat"),
    ],
)
def test_a_rule_changes_one_thing(kind, text, wrong):
    assert changed(kind, text) == wrong


@pytest.mark.parametrize(("kind", "text"), [("counts", "two dogs run"), ("colours", "a red car"), ("dog, cat, horse, bird", "a dog runs")])
def test_a_word_becomes_another_one_of_its_group(kind, text):
    wrong = {changed(kind, text) for _ in range(3)}
    assert len(wrong) == 1
    assert text not in wrong


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("counts", "two dogs and three cats"),
        ("counts", "a three legged dog"),
        ("colours", "a red and blue car"),
        ("colours", "a brown dog"),
        ("man or woman", "a man with his dog"),
        ("left, right", "a man raises his left hand"),
        ("up, down", "a man walks down the street"),
        ("into, out of", "a boy jumps into the air"),
        ("who does what", "a dog and a cat"),
        ("who does what", "a man plays with a dog"),
        ("who does what", "a dog chases a dog"),
        ("whose colour", "a black hat and a white hat"),
        ("whose colour", "a man in a red and white hat with blue shoes"),
    ],
)
def test_a_rule_leaves_out_what_would_be_unclear_or_stay_true(kind, text):
    assert changed(kind, text) is None


def test_a_text_has_the_same_false_texts_in_every_run():
    found = false_texts("two men in front of a car")
    assert found == false_texts("two men in front of a car")
    assert {"two women in front of a car", "two boys in front of a car", "two men behind a car"} < {*found}
    assert any(text.split()[0] in ("three", "four", "five") for text in found)
    assert "two men in front of a car" not in found
    assert false_texts("a boat") == []
