"""Both tokenizers: the trained one, and CLIP's as in open_clip 3.3.0.

`golden/clip_tokens.json` holds texts, their ids from `open_clip.get_tokenizer("coca_ViT-B-32")` without padding, and the text
that `open_clip.decode` returns for these ids.
"""

import json
import re
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest

from coca_model.checkpoints.find import CLIP_MERGES, shipped
from coca_model.errors import CheckpointError
from coca_model.tokenizer import clean_text, clip_tokenizer, load_tokenizer, train_tokenizer

SENTENCES = ["a dog jumping into a lake", "two dogs on the beach", "a cat sleeps on a sofa"]
GOLDEN = json.loads((Path(__file__).parent / "golden" / "clip_tokens.json").read_text("utf-8"))


def trained(context_length=200):
    return train_tokenizer(SENTENCES, vocabulary_size=300, context_length=context_length)


def clip(context_length=76):
    return clip_tokenizer(shipped(CLIP_MERGES), context_length)


@pytest.fixture(scope="module")
def tokenizer():
    return trained()


@pytest.fixture(scope="module")
def clips_tokenizer():
    return clip()


def ids_of(tokenizer, text):
    return tokenizer.encode([text])[0][0].tolist()


# --- the trained tokenizer


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
        "",
        "\x00\x7f",
        "𝔡𝔬𝔤",
    ],
)
def test_any_text_is_decoded_to_its_lower_case_without_unknown_tokens(tokenizer, text):
    expected = unicodedata.normalize("NFKC", text).lower()
    assert tokenizer.decode(ids_of(tokenizer, text)) == expected.strip()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("A Dog runs .", "a dog runs"),
        ("  two\n dogs\t\tplay  ", "two dogs play"),
        ("A dog , a cat ; and a bird !", "a dog, a cat; and a bird!"),
        ("the dog 's ball", "the dog's ball"),
        ("What is it ?", "what is it?"),
        ("wait ...", "wait"),
        ("2.5 m", "2.5 m"),
        ("ÇA", "ça"),
        ("", ""),
        (" . ", ""),
    ],
)
def test_clean_text_removes_the_spacing_of_tokenised_captions(text, clean):
    assert clean_text(text) == clean


@pytest.mark.parametrize("text", ["x\ty\nz", " A dog , and  a cat .", "a dog...", "\u3000a dog\u00a0"])
def test_a_text_is_cleaned_before_it_is_encoded(tokenizer, text):
    assert ids_of(tokenizer, text) == ids_of(tokenizer, clean_text(text))
    assert tokenizer.decode(ids_of(tokenizer, text)) == clean_text(text)


def test_special_tokens_have_fixed_ids(tokenizer):
    assert tokenizer.special == (0, 1, 2)
    assert [tokenizer._bpe.id_to_token(i) for i in tokenizer.special] == ["<pad>", "<start>", "<end>"]
    assert tokenizer.vocabulary_size == 300


def test_a_saved_tokenizer_gives_the_same_ids(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json", 200)
    assert (loaded.vocabulary_size, loaded.special) == (tokenizer.vocabulary_size, tokenizer.special)
    for text in [*SENTENCES, "<pad> 🐶", " Two  Dogs ."]:
        assert ids_of(loaded, text) == ids_of(tokenizer, text)


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"model": {"type": "Nonsense"}}'])
def test_a_file_that_is_not_a_tokenizer_is_named(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(path))}: not a tokenizer \(.+\)\. Expected the JSON"):
        load_tokenizer(path, 12)


# --- CLIP's tokenizer


@pytest.mark.filterwarnings("ignore:A text of .+ tokens is cut")
@pytest.mark.parametrize(("text", "ids", "_decoded"), GOLDEN, ids=[ascii(text[:20]) for text, *_ in GOLDEN])
def test_clip_ids_equal_open_clips(clips_tokenizer, text, ids, _decoded):
    assert ids_of(clips_tokenizer, text) == ids


@pytest.mark.parametrize(
    ("ids", "decoded"), [(ids, decoded) for _, ids, decoded in GOLDEN if 0 not in ids]
)  # id 0 is padding and also the "!" of "!("
def test_clip_ids_are_decoded_as_in_open_clip(clips_tokenizer, ids, decoded):
    assert clips_tokenizer.decode(ids) == decoded


@pytest.mark.parametrize("text", [*SENTENCES, "a photo of a golden retriever puppy", "naïve café", "собака на пляже", "日本語の犬", "🐶"])
def test_clip_ids_of_words_are_decoded_to_the_words(clips_tokenizer, text):
    assert clips_tokenizer.decode(ids_of(clips_tokenizer, text)) == text


def test_clip_has_49408_tokens_and_the_last_two_are_start_and_end(clips_tokenizer):
    assert clips_tokenizer.vocabulary_size == 49408
    assert clips_tokenizer.special == (0, 49406, 49407)


# --- both tokenizers


@pytest.fixture(scope="module", params=[trained, clip])
def make(request):
    return request.param


@pytest.fixture(scope="module")
def either(make):
    return make(200)


def test_half_a_surrogate_pair_is_encoded_as_a_question_mark(either):
    assert ids_of(either, "dog \ud83d") == ids_of(either, "dog ?")


@pytest.mark.parametrize("text", ["<pad>", "a <pad> dog", "<start> <end>", "<END>", "<start_of_text>", "<|endoftext|>", "<end_of_text>"])
def test_the_name_of_a_special_token_is_encoded_as_plain_text(either, text):
    start, *inside, end = ids_of(either, text)
    assert (start, end) == (either.special.start, either.special.end)
    assert not set(either.special) & set(inside)
    assert either.decode(inside).replace(" ", "") == text.lower().replace(" ", "")


def test_a_batch_is_padded_to_its_longest_text_with_id_0(either):
    texts = ["a dog", "", "two dogs on the beach"]
    ids, valid = either.encode(texts)
    alone = [ids_of(either, text) for text in texts]
    assert [row[mask].tolist() for row, mask in zip(ids, valid, strict=True)] == alone
    assert alone[1] == [either.special.start, either.special.end]
    assert ids.shape == valid.shape == (3, len(alone[2]))
    assert np.array_equal(valid, ids != 0)
    assert (ids.dtype, valid.dtype) == (np.int64, np.bool_)


def test_an_empty_list_gives_no_rows(either):
    ids, valid = either.encode([])
    assert ids.shape == valid.shape == (0, 2)


def test_a_text_too_long_is_cut_keeps_its_end_and_warns_once(make, either):
    short = make(6)
    text = "a dog jumping into a lake " * 5
    whole = ids_of(either, text)
    with pytest.warns(UserWarning, match=rf"A text of {len(whole)} tokens is cut to the model's context of 6\."):
        assert ids_of(short, text) == [*whole[:5], short.special.end]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ids_of(short, text) == [*whole[:5], short.special.end]


def test_a_text_that_just_fits_is_not_cut(make, either):
    whole = ids_of(either, "two dogs")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ids_of(make(len(whole)), "two dogs") == whole
    with pytest.warns(UserWarning, match=f"A text of {len(whole)} tokens"):
        assert ids_of(make(len(whole) - 1), "two dogs") == [*whole[:-2], either.special.end]


def test_tokens_after_the_end_are_not_decoded(either):
    ids = ids_of(either, "two dogs")
    assert either.decode([*ids, *ids, either.special.pad]) == "two dogs"
