import re
import unicodedata
import warnings

import pytest
import torch

from coca_model.errors import CheckpointError
from coca_model.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

SENTENCES = ["a dog jumping into a lake", "two dogs on the beach", "a cat sleeps on a sofa"]


@pytest.fixture
def tokenizer():
    return train_tokenizer(SENTENCES, vocabulary_size=300, context_length=200)


def ids_of(tokenizer, text):
    return tokenizer.encode([text])[0][0].tolist()


@pytest.mark.parametrize(
    "text",
    [
        "a dog jumping into a lake",
        "A Dog, TWICE!",
        "ünïcödé ÇA",
        "日本語の犬",
        "собака на пляже",
        "كلب",
        "🐶🏖️ 👩‍👩‍👧",
        "ﬁne ½",
        "x\ty\nz",
        "",
        "\x00\x7f",
        "𝔡𝔬𝔤",
    ],
)
def test_any_text_comes_back_lower_cased_and_nothing_is_unknown(tokenizer, text):
    expected = unicodedata.normalize("NFKC", text).lower()
    assert tokenizer.decode(ids_of(tokenizer, text)) == expected.strip()


def test_half_a_surrogate_pair_does_not_stop_a_query(tokenizer):
    assert tokenizer.decode(ids_of(tokenizer, "dog \ud83d")) == "dog ?"


@pytest.mark.parametrize("text", ["<pad>", "a <pad> dog", "<start> <end>", "<END>"])
def test_the_name_of_a_special_token_in_a_text_is_text(tokenizer, text):
    ids = ids_of(tokenizer, text)
    assert ids[0] == 1
    assert ids[-1] == 2
    assert not {0, 1, 2} & set(ids[1:-1])
    assert tokenizer.decode(ids) == text.lower()


def test_a_batch_is_padded_to_its_longest_text_with_id_0(tokenizer):
    texts = ["a dog", "", "two dogs on the beach"]
    ids, valid = tokenizer.encode(texts)
    alone = [ids_of(tokenizer, text) for text in texts]
    assert [row[mask].tolist() for row, mask in zip(ids, valid, strict=True)] == alone
    assert alone[1] == [1, 2]
    assert ids.shape == valid.shape == (3, len(alone[2]))
    assert torch.equal(valid, ids != 0)
    assert (ids.dtype, valid.dtype) == (torch.int64, torch.bool)


def test_no_texts_give_no_rows(tokenizer):
    ids, valid = tokenizer.encode([])
    assert ids.shape == valid.shape == (0, 2)


def test_a_text_too_long_is_cut_keeps_its_end_and_warns_once(tokenizer):
    short = Tokenizer(tokenizer._bpe, context_length=6)
    text = "a dog jumping into a lake " * 5
    whole = ids_of(tokenizer, text)
    with pytest.warns(UserWarning, match=rf"A text of {len(whole)} tokens is cut to the model's context of 6\."):
        assert ids_of(short, text) == [*whole[:5], 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ids_of(short, text) == [*whole[:5], 2]


def test_a_text_that_just_fits_is_not_cut(tokenizer):
    whole = ids_of(tokenizer, "two dogs")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ids_of(Tokenizer(tokenizer._bpe, context_length=len(whole)), "two dogs") == whole
    with pytest.warns(UserWarning, match=f"A text of {len(whole)} tokens"):
        assert ids_of(Tokenizer(tokenizer._bpe, context_length=len(whole) - 1), "two dogs") == [*whole[:-2], 2]


def test_a_saved_tokenizer_gives_the_same_ids(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json", 200)
    assert loaded.vocabulary_size == tokenizer.vocabulary_size
    for text in [*SENTENCES, "<pad> 🐶"]:
        assert ids_of(loaded, text) == ids_of(tokenizer, text)


def test_special_tokens_have_the_ids_that_the_model_was_trained_with(tokenizer):
    assert [tokenizer._bpe.id_to_token(i) for i in (tokenizer.pad_id, tokenizer.start_id, tokenizer.end_id)] == [
        "<pad>",
        "<start>",
        "<end>",
    ]
    assert tokenizer.vocabulary_size == 300


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"model": {"type": "Nonsense"}}'])
def test_a_file_that_is_no_tokenizer_is_named(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(path))}: not a tokenizer \(.+\)\. Expected the JSON"):
        load_tokenizer(path, 12)
