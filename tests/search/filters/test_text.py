"""Texts are folded many at once as one by one; the buffers of Arrow's arrays are read as they are."""

import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from search.filters.bits import as_bool, is_valid, numbers, plain, texts
from search.filters.text import Pattern, fold, folded, pattern_of

# Letters whose case or form depends on their neighbours, or changes their number.
LETTERS = "aAzZ%_ \0\nßẞİıſÅÅ한각ÄäéǅΣσς日ﬃ𐐀\u0300\u0301\u0308\u0323\u0338\u1100\u1161\u11a8\u0345\u0390\u03b0\ufb01\uef80\uefff"
TEXTS = st.lists(st.none() | st.text(LETTERS, max_size=8) | st.text(max_size=8), max_size=30)


def folded_by_definition(text):
    return None if text is None else unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(TEXTS, st.sampled_from([pa.string(), pa.large_string()]))
@example(["\u0301b", None, "ä", "", "a\0ü", "\u0338"], pa.string())
def test_texts_are_folded_many_at_once_as_one_by_one(values, kind):
    expected = [folded_by_definition(text) for text in values]
    assert folded(pa.array(values, kind)).to_pylist() == expected
    assert [text if text is None else fold(text) for text in values] == expected


def test_long_texts_are_folded_in_parts():
    values = [f"Ü{number}" * 100 for number in range(2000)]
    assert folded(pa.array(values)).to_pylist() == [text.lower() for text in values]


def test_every_character_is_folded_as_python_folds_it():
    values = [chr(number) for number in range(0x110000) if not 0xD800 <= number < 0xE000][::7]
    assert folded(pa.array(values)).to_pylist() == [folded_by_definition(text) for text in values]


def test_the_name_of_a_file_as_python_shows_it_is_the_one_that_is_stored():
    assert fold("caf\udce9.JPG") == "caf\uefe9.jpg" == fold("caf\uefe9.JPG")


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.text("%_!ab.ß", max_size=8), st.lists(st.text("ab.%_ß", max_size=6), min_size=1, max_size=8))
def test_a_pattern_matches_what_a_plain_regular_expression_does(pattern, values):
    letters = re.findall("(?s)!.|.", pattern)
    if letters[-1:] == ["!"]:
        with pytest.raises(ValueError, match="!"):
            pattern_of(pattern, "!")
        return
    plainly = "".join({"%": ".*", "_": "."}.get(each, re.escape(fold(each[-1]))) for each in letters)
    expected = [bool(re.fullmatch(plainly, fold(value), re.DOTALL)) for value in values]
    assert pattern_of(pattern, "!").matches(folded(pa.array(values))).to_pylist() == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("Ab", Pattern("equal", "ab", 0)),
        ("ab%", Pattern("prefix", "ab", 1)),
        ("%%ab", Pattern("suffix", "ab", 2)),
        ("%ab%", Pattern("inside", "ab", 2)),
        ("a%b", Pattern("regex", r"(?s)\Aa.*b\z", 1)),
        ("%a%b_%", Pattern("regex", r"(?s)a.*b.", 4)),
        ("_a", Pattern("regex", r"(?s)\A.a\z", 1)),
    ],
)
def test_a_pattern_becomes_the_fastest_test(pattern, expected):
    assert pattern_of(pattern, "\\") == expected


@pytest.mark.parametrize("start", [0, 1, 7, 8, 9, 30])
def test_bits_and_numbers_of_a_slice(start):
    values = [None if number % 5 == 0 else number % 3 == 0 for number in range(40)]
    sliced = pa.array(values)[start : start + 9]
    assert as_bool(sliced).tolist() == [each is True for each in values[start : start + 9]]
    assert is_valid(sliced).tolist() == [each is not None for each in values[start : start + 9]]
    assert plain(pa.array(range(40))[start : start + 9], np.int64).tolist() == list(range(40))[start : start + 9]


def test_arrays_are_made_from_buffers():
    assert numbers(np.array([5, 6, 7], np.int32), np.array([True, False, True])).to_pylist() == [5, None, 7]
    assert texts(["ü", "", "日本"], pa.large_string()).to_pylist() == ["ü", "", "日本"]
    assert as_bool(pa.array([], pa.bool_())).tolist() == is_valid(pa.array([], pa.string())).tolist() == []
