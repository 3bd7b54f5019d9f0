"""Filters against plain Python over rows of every type."""

import math
import operator
import re
import unicodedata
from fractions import Fraction

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from search.filters.evaluate import FilterRows

TEXTS = [
    None,
    "",
    "Canon",
    "CANON eos",
    "Grüße",
    "GRÜSSE",
    "Gru\u0308ße",
    "İstanbul",
    "a%b",
    "a_b",
    "a\\b",
    "line\nbreak",
    "日本",
    "x.*",
    "it's",
]
INTS = [None, 0, 1, -1, 1000, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]
FLOATS = [None, math.nan, 0.0, -1.5, 1e300, math.inf, -math.inf, 0.1, 5.0]
TIMES = [None, 0, 2**62, -(2**62), 1_757_548_740_000_000, 1_757_548_799_999_999, 1_757_548_800_000_000]
LISTS = [None, [], ["Lake"], ["LAKE", "sea"], [None, "Grüße"], [None]]
COLUMNS = {
    "camera": (TEXTS, pa.string()),
    "format": (TEXTS, pa.string()),
    "size_bytes": (INTS, pa.int64()),
    "latitude": (FLOATS, pa.float64()),
    "taken_local": (TIMES, pa.timestamp("us")),
    "keywords": (LISTS, pa.list_(pa.string())),
    "damaged": ([None, True, False], pa.bool_()),
}
SIGNS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
DATES = {"2025-09-10 23:59": (1_757_548_740_000_000, 1_757_548_800_000_000), "1970": (0, 31_536_000_000_000)}
NUMBERS = ["0", "-1", "1.5", "1000", "9223372036854775808", "9007199254740993.0", "1e3", "-1e30", "0.1", "5"]


def fold(text):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def quote(text):
    return "'" + text.replace("'", "''") + "'"


def like(pattern):
    return re.compile("".join({"%": ".*", "_": "."}.get(c, re.escape(fold(c))) for c in pattern), re.DOTALL)


def null_or(value, test):
    return None if value is None else test(value)


def any_in(values, test):
    return None if values is None else any(test(value) for value in values if value is not None)


@st.composite
def text_tests(draw):
    column, text = (
        draw(st.sampled_from(["camera", "format", "keywords"])),
        draw(st.sampled_from(TEXTS[1:])),
    )
    every = any_in if column == "keywords" else null_or
    form = draw(st.sampled_from(["=", "!=", "in", "like"] + ([] if column == "keywords" else ["<", ">="])))
    if form == "in":
        return f"{column} IN ({quote(text)}, 'lake')", lambda row: every(row[column], lambda value: fold(value) in {fold(text), "lake"})
    if form == "like":
        pattern = draw(st.text("%_aceß日g", max_size=5)).replace("g", "GRÜ")
        return f"{column} LIKE {quote(pattern)}", lambda row: every(row[column], lambda value: bool(like(pattern).fullmatch(fold(value))))
    if form == "!=":
        return f"{column} <> {quote(text)}", lambda row: negated(every(row[column], lambda value: fold(value) == fold(text)))
    return f"{column} {form} {quote(text)}", lambda row: every(row[column], lambda value: SIGNS[form](fold(value), fold(text)))


@st.composite
def number_tests(draw):
    column, sign, text = (
        draw(st.sampled_from(["size_bytes", "latitude"])),
        draw(st.sampled_from(list(SIGNS))),
        draw(st.sampled_from(NUMBERS)),
    )
    number = Fraction(text) if column == "size_bytes" else float(text)
    return f"{column} {sign} {text}", lambda row: null_or(nan_is_null(row[column]), lambda value: SIGNS[sign](value, number))


@st.composite
def time_tests(draw):
    sign, text = draw(st.sampled_from(list(SIGNS))), draw(st.sampled_from(list(DATES)))
    start, end = DATES[text]
    tests = {
        "=": lambda x: start <= x < end,
        "!=": lambda x: not start <= x < end,
        "<": lambda x: x < start,
        "<=": lambda x: x < end,
        ">": lambda x: x >= end,
        ">=": lambda x: x >= start,
    }
    return f"taken_local {sign} '{text}'", lambda row: null_or(row["taken_local"], tests[sign])


@st.composite
def other_tests(draw):
    column = draw(st.sampled_from([*COLUMNS, "lens", "rating"]))
    if draw(st.booleans()):
        return "damaged", lambda row: row["damaged"]
    return f"{column} IS NULL", lambda row: nan_is_null(row.get(column)) is None


def nan_is_null(value):
    return None if isinstance(value, float) and math.isnan(value) else value


def negated(value):
    return None if value is None else not value


def both(tests):
    return lambda row: kleene([test(row) for _, test in tests], False)


def either(tests):
    return lambda row: kleene([test(row) for _, test in tests], True)


def kleene(values, decides):
    return decides if decides in values else None if None in values else not decides


def joined(inner):
    lists = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(
        lists.map(lambda tests: (" AND ".join(f"({text})" for text, _ in tests), both(tests))),
        lists.map(lambda tests: (" or ".join(f"({text})" for text, _ in tests), either(tests))),
        inner.map(lambda test: (f"NOT ({test[0]})", lambda row: negated(test[1](row)))),
    )


TESTS = st.recursive(st.one_of(text_tests(), number_tests(), time_tests(), other_tests()), joined, max_leaves=5)
ROWS = st.lists(st.fixed_dictionaries({name: st.sampled_from(values) for name, (values, _) in COLUMNS.items()}), max_size=8)


def batch_of(rows):
    arrays = {name: pa.array([row[name] for row in rows], type_) for name, (_, type_) in COLUMNS.items()}
    return pa.record_batch(arrays | {"format": arrays["format"].dictionary_encode()})


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(ROWS, ROWS, TESTS)
def test_a_filter_keeps_the_rows_that_plain_python_keeps(first, second, test):
    where, expected = test
    kept = FilterRows([batch_of(first), batch_of(second)], {}).keep(where)
    assert kept.tolist() == [expected(row) is True for row in first + second], where
