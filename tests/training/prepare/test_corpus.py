import dataclasses
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from coca_model.tokenizer import train_tokenizer
from tests.fakes import FakeEncoder
from training.examples.example import Example
from training.prepare import corpus as corpus_module
from training.prepare.corpus import Corpus, read_corpus, texts_of
from training.recipe import Phase, Recipe, Source

EXAMPLES = (
    Example("1", "s", "train", "caption", ("A Dog runs .", "two  dogs"), bytes),
    Example("2", "s", "train", "label", ("Sea Horse",), bytes),
    Example("3", "s", "val", "caption", ("a boat sinks", "a dog runs"), bytes),
    Example("4", "s", "test", "caption", ("a kite flies",), bytes),
    Example("5", "s", "train", "caption", ("two dogs",), bytes),
    Example("6", "s", "train", "unlabelled", (), bytes),
)
SENTENCES = ("A cat sleeps.", "", "  ", "two dogs", "a cat sleeps")


def read(tmp_path, tokenizer=None, *, teacher=None, examples=EXAMPLES, **settings):
    recipe = Recipe(vocabulary_size=300, sentence_teacher="fake" if teacher else "", **settings)
    return read_corpus(examples, SENTENCES, recipe, tokenizer=tokenizer, context_length=32, teacher=teacher, folder=tmp_path)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([text for example in EXAMPLES for text in example.texts], vocabulary_size=300, context_length=32)


@pytest.fixture
def found(tmp_path, tokenizer):
    return read(tmp_path, tokenizer, teacher=FakeEncoder())


@pytest.fixture
def corpus(found):
    return found[0]


@pytest.fixture
def texts(found):
    """The decoded text of each number."""
    corpus, tokenizer = found
    return [tokenizer.decode(ids) for ids in corpus.token_ids]


def test_every_text_is_cleaned_and_stored_once(texts):
    assert sorted(texts) == ["a boat sinks", "a cat sleeps", "a dog runs", "a kite flies", "a photo of a sea horse", "two dogs"]


def test_each_example_has_the_numbers_of_its_texts(corpus, texts):
    assert [[texts[number] for number in numbers] for numbers in corpus.of_example] == [
        ["a dog runs", "two dogs"],
        ["a photo of a sea horse"],
        ["a boat sinks", "a dog runs"],
        ["a kite flies"],
        ["two dogs"],
        [],
    ]


def test_held_out_texts_are_not_trained_on_unless_a_training_picture_has_them(corpus, texts):
    assert {texts[number] for number in corpus.sentences} == {"a cat sleeps", "a dog runs", "a photo of a sea horse", "two dogs"}
    assert {texts[number] for number in set(range(len(texts))) - set(corpus.sentences.tolist())} == {"a boat sinks", "a kite flies"}


def test_held_out_texts_have_tokens_and_vectors(corpus, texts):
    for text in ("a boat sinks", "a kite flies"):
        number = texts.index(text)
        assert corpus.lengths[number] > 2
        assert_close(corpus.teacher[number].float(), torch.from_numpy(FakeEncoder().encode_texts([text])[0]), rtol=0, atol=1e-3)


def test_only_human_texts_are_decoded_and_class_names_are_only_imitated(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(corpus_module, "imagenet_classes", lambda: ("sea horse", "tench"))
    corpus, _ = read(tmp_path, tokenizer, class_teacher="some_package")
    texts = [tokenizer.decode(ids) for ids in corpus.token_ids]
    written = {text for text, may in zip(texts, corpus.written, strict=True) if may}
    assert written == {"a cat sleeps", "a dog runs", "two dogs"}
    imitated = {shape.format("tench") for shape in ("{}", "a {}", "a photo of a {}", "a picture of the {}")}
    assert imitated <= {texts[number] for number in corpus.sentences} - written


def test_words_of_the_sentence_teacher_are_texts_for_imitation(tmp_path, tokenizer, monkeypatch):
    class Words(FakeEncoder):
        def words(self) -> Sequence[str]:
            return ["tree"]

    monkeypatch.setattr(corpus_module, "MiniLM", Words)
    corpus, _ = read(tmp_path, tokenizer, teacher=Words())
    texts = [tokenizer.decode(corpus.token_ids[number]) for number in corpus.sentences]
    assert {"tree", "a photo of a tree"} <= set(texts)
    assert not corpus.written[[texts.index("tree"), texts.index("a photo of a tree")]].any()


def test_the_tokenizer_is_trained_only_on_training_texts(tmp_path, monkeypatch):
    seen = []
    train = corpus_module.train_tokenizer
    monkeypatch.setattr(corpus_module, "train_tokenizer", lambda texts, **how: seen.extend(texts) or train(texts, **how))
    corpus, tokenizer = read(tmp_path)
    assert tokenizer.vocabulary_size <= 300
    assert (tokenizer.context_length, corpus.pad) == (32, tokenizer.special.pad)
    assert set(seen) == {"a cat sleeps", "two dogs", "a dog runs", "a photo of a sea horse"}
    assert seen.count("two dogs") == 3  # as often as it was written


@pytest.mark.parametrize("label", ["{}", "this is {}, I think"])
def test_a_label_is_put_into_the_template_and_a_caption_is_unchanged(label):
    captions = Example("7", "s", "train", "caption", ("a {brace}",), bytes)
    assert texts_of([EXAMPLES[1], captions], Recipe(label=label)) == [(label.format("sea horse").lower(),), ("a {brace}",)]


def test_a_source_has_sentences_of_its_own_for_labels():
    labels = Example("7", "art", "train", "label", ("horse", "eagle", "a cartoon of a dog"), bytes)
    recipe = Recipe(sources={"art": Source(labels=("{}", "a drawing of a {}"))})
    shapes = ("horse", "a drawing of a horse", "eagle", "a drawing of an eagle", "a cartoon of a dog")
    assert texts_of([labels, replace(labels, source="other")], recipe) == [
        shapes,
        ("a photo of a horse", "a photo of an eagle", "a cartoon of a dog"),
    ]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Two beakers are shown. A third is empty.", ["two beakers are shown", "a third is empty"]),
        ("A sign reads, “Stop here.” A man waits.", ["a sign reads, “stop here", "a man waits"]),
        ("Fig. 2. Two beakers are shown.", []),
        ("It weighs 2.5 kg. of gold", []),
        ("One sentence of a textbook.", []),
    ],
)
def test_each_sentence_of_a_long_text_is_a_text(text, sentences):
    example = Example("7", "book", "train", "caption", (text,), bytes)
    whole, *parts = texts_of([example], Recipe(sources={"book": Source(parts=True)}))[0]
    assert (whole, parts) == (texts_of([example], Recipe())[0][0], sentences)


def test_only_the_texts_of_training_pictures_get_false_versions_and_only_if_an_objective_uses_them(tmp_path, tokenizer):
    examples = (Example("1", "s", "train", "caption", ("A man runs",), bytes), Example("2", "s", "val", "caption", ("two dogs",), bytes))
    assert read(tmp_path, tokenizer, examples=examples)[0].false == {}
    phases = (Phase(objectives={"hard_negatives": 1.0}),)
    corpus, _ = read(tmp_path, tokenizer, examples=examples, phases=phases)
    found = {tokenizer.decode(corpus.token_ids[row]): {*map(tokenizer.decode, versions)} for row, versions in corpus.false.items()}
    assert found == {"a man runs": {"a woman runs", "a boy runs"}}


# --- batches of texts -----------------------------------------------------------------------------------------------------

SMALL = Corpus(((1, 5, 2), (1, 5, 6, 7, 8, 2), (1, 2)), (), np.arange(3), np.ones(3, bool), None, pad=9)


def of(numbers, *, most_tokens=32, corpus=SMALL):
    return corpus.batch(np.array(numbers), most_tokens=most_tokens, decoded=np.array([True] + [False] * (len(numbers) - 1)))


def test_a_false_version_is_drawn_for_texts_that_have_one():
    corpus = dataclasses.replace(SMALL, false={0: ((1, 6, 2), (1, 7, 8, 2))})
    texts = corpus.false_batch(np.array([0, 1, 0]), np.array([2, 2, 3]), most_tokens=3)
    assert texts.token_ids.tolist() == [[1, 6, 2], [9, 9, 9], [1, 7, 2]]
    assert texts.valid.any(1).tolist() == [True, False, True]
    nothing = corpus.false_batch(np.array([1]), np.array([5]), most_tokens=3)
    assert (len(nothing), nothing.valid.any(1).tolist()) == (1, [False])


def test_a_batch_is_padded_to_its_longest_text():
    texts = of([0, 1, 0])
    assert texts.token_ids.tolist() == [[1, 5, 2, 9, 9, 9], [1, 5, 6, 7, 8, 2], [1, 5, 2, 9, 9, 9]]
    assert texts.valid.sum(1).tolist() == [3, 6, 3]
    assert torch.equal(texts.valid, texts.token_ids != 9)
    assert (texts.decoded.tolist(), texts.meaning) == ([True, False, False], None)


@pytest.mark.parametrize(
    ("most", "ids"), [(4, [[1, 5, 6, 2], [1, 2, 9, 9]]), (2, [[1, 2], [1, 2]]), (6, [[1, 5, 6, 7, 8, 2], [1, 2, 9, 9, 9, 9]])]
)
def test_texts_are_cut_to_the_most_tokens_and_keep_their_end(most, ids):
    texts = of([1, 2], most_tokens=most)
    assert texts.token_ids.tolist() == ids
    assert torch.equal(texts.valid, texts.token_ids != 9)


def test_a_padding_token_inside_a_text_is_masked_as_in_the_encoder():
    """CLIP uses id 0 for padding and for a "!" inside a word. The published models were trained with this mask."""
    corpus = dataclasses.replace(SMALL, token_ids=((1, 9, 2), (1, 2)))
    assert of([0, 1], corpus=corpus).valid.tolist() == [[True, False, True], [True, True, False]]


def test_teacher_vectors_are_renormalised_after_half_precision():
    teacher = torch.tensor([[3.0, 4.0], [0.6001, 0.8], [0.0, -2.0]]).half()
    meaning = of([2, 0], corpus=dataclasses.replace(SMALL, teacher=teacher)).meaning
    assert meaning.dtype == torch.float32
    assert_close(meaning, torch.tensor([[0.0, -1.0], [0.6, 0.8]]))
