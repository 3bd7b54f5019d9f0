"""Filters against plain Python over rows of every type."""

import math
import operator
import random
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
    "path": (["a/b.jpg", "A/B.JPG", "Grüße.png", "Gru\u0308ße.png", "日本/a_b", "x%"], pa.string()),
    "root_id": (["r1", "r2", "r3"], pa.string()),
    "format": (TEXTS, pa.string()),
    "size_bytes": (INTS, pa.int64()),
    "latitude": (FLOATS, pa.float64()),
    "longitude": (FLOATS, pa.float64()),
    "width": ([None, 0, 1, 1000, 2**31 - 1, -(2**31)], pa.int32()),
    "taken_at": (TIMES, pa.timestamp("us", "UTC")),
    "taken_local": (TIMES, pa.timestamp("us")),
    "indexed_at": (TIMES, pa.timestamp("us", "UTC")),
    "keywords": (LISTS, pa.list_(pa.string())),
    "people": (LISTS, pa.list_(pa.string())),
    "damaged": ([None, True, False], pa.bool_()),
}
ROOTS = {"r1": "/home/Ünal/", "r2": "/home/unal/"}
MIRRORED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
SIGNS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
# The first microsecond, and the one after the last.
DATES = {"2025-09-10 23:59": (1_757_548_740_000_000, 1_757_548_800_000_000), "1970": (0, 31_536_000_000_000)}
ZONED = {"2025-09-11 01:59+02:00": DATES["2025-09-10 23:59"], "1970-01-01T00:00:00.5Z": (500_000, 600_000)}
NUMBERS = ["0", "-1", "1.5", "1000", "9223372036854775808", "9007199254740993.0", "1e3", "-1e30", "0.1", "5"]


def fold(text):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def quote(text):
    return "'" + text.replace("'", "''") + "'"


def like(pattern, escape):
    parts = re.findall(f"(?s){re.escape(escape)}.|.", pattern)
    return re.compile("".join({"%": ".*", "_": "."}.get(each, re.escape(fold(each[-1]))) for each in parts), re.DOTALL)


def value_of(row, column):
    """What a row has in a column, as SQL sees it."""
    if column == "uri":
        return ROOTS.get(row["root_id"], f"(unknown root {row['root_id']})/") + row["path"]
    value = row.get(column)
    return None if isinstance(value, float) and math.isnan(value) else value


def clock(row):
    """`taken_at` on the clock of the photographer, who was in UTC: the rows have no offset."""
    return row["taken_at"] if row["taken_local"] is None else row["taken_local"]


def null_or(value, test):
    return None if value is None else test(value)


def any_in(values, test):
    return None if values is None else any(test(value) for value in values if value is not None)


@st.composite
def text_tests(draw):
    column = draw(st.sampled_from(["camera", "format", "path", "uri", "kind", "keywords", "people"]))
    is_list = column in {"keywords", "people"}
    text, other = ["image", "Shot"] if column == "kind" else [draw(st.sampled_from(TEXTS[1:])) for _ in range(2)]
    form = draw(st.sampled_from(["=", "!=", "in", "not in"] + ([] if is_list else ["<", ">=", "between", "not between"])))

    def asked(test):
        return lambda row: (any_in if is_list else null_or)(value_of(row, column), lambda value: test(fold(value)))

    if form.endswith("in"):
        among = asked(lambda value: value in {fold(text), fold(other)})
        return f"{column} {form} ({quote(text)}, {quote(other)})", among if form == "in" else opposite(among)
    if form.endswith("between"):
        between = asked(lambda value: fold(text) <= value <= fold(other))
        return f"{column} {form} {quote(text)} AND {quote(other)}", between if form == "between" else opposite(between)
    if form == "!=":
        return f"{column} <> {quote(text)}", opposite(asked(lambda value: value == fold(text)))
    return compared(draw, column, form, quote(text)), asked(lambda value: SIGNS[form](value, fold(text)))


@st.composite
def like_tests(draw):
    column, escape = draw(st.sampled_from(["camera", "path", "uri", "keywords"])), draw(st.sampled_from(["\\", "!", "ß", "%"]))
    parts = draw(st.lists(st.sampled_from(["%", "_", "a", "c", "e", "ß", "日", "GRÜ", "/", escape + "%", escape + escape]), max_size=5))
    ending = "" if escape == "\\" else f" ESCAPE '{escape}'"
    pattern = "".join("a" if part == escape else part for part in parts)
    matches = like(pattern, escape)
    test = lambda row: (any_in if column == "keywords" else null_or)(value_of(row, column), lambda x: bool(matches.fullmatch(fold(x))))  # noqa: E731
    is_negated = draw(st.booleans())
    return f"{column} {'NOT ' * is_negated}LIKE {quote(pattern)}{ending}", opposite(test) if is_negated else test


@st.composite
def number_tests(draw):
    column, form = draw(st.sampled_from(["size_bytes", "latitude", "width"])), draw(st.sampled_from([*SIGNS, "in", "between"]))
    texts = draw(st.lists(st.sampled_from(NUMBERS), min_size=7, max_size=7))
    first, second, *others = [float(text) if column == "latitude" else Fraction(text) for text in texts]

    def asked(test):
        return lambda row: null_or(value_of(row, column), test)

    if form == "in":
        return f"{column} IN ({', '.join(texts)})", asked(lambda value: value in {first, second, *others})
    if form == "between":
        return f"{column} BETWEEN {texts[0]} AND {texts[1]}", asked(lambda value: first <= value <= second)
    return compared(draw, column, form, texts[0]), asked(lambda value: SIGNS[form](value, first))


@st.composite
def time_tests(draw):
    column, form = draw(st.sampled_from(["taken_local", "taken_at", "indexed_at"])), draw(st.sampled_from([*SIGNS, "in", "between"]))
    (text, (start, end)), (text2, (start2, end2)) = (
        draw(st.sampled_from(list((DATES if column == "taken_local" else DATES | ZONED).items()))) for _ in range(2)
    )

    def source(text):
        return clock if column == "taken_at" and text not in ZONED else lambda row: row[column]

    tests = {
        "=": lambda x: start <= x < end,
        "!=": lambda x: not start <= x < end,
        "<": lambda x: x < start,
        "<=": lambda x: x < end,
        ">": lambda x: x >= end,
        ">=": lambda x: x >= start,
    }
    second = {"in": lambda x: start2 <= x < end2, "between": lambda x: x < end2}.get(form)
    if second is None:
        return compared(draw, column, form, quote(text)), lambda row: null_or(source(text)(row), tests[form])
    first = tests["=" if form == "in" else ">="]
    join = "{} IN ({}, {})" if form == "in" else "{} BETWEEN {} AND {}"
    parts = [(text, first), (text2, second)]
    values = lambda row: [null_or(source(text)(row), test) for text, test in parts]  # noqa: E731
    return join.format(column, quote(text), quote(text2)), lambda row: kleene(values(row), form == "in")


@st.composite
def pair_tests(draw):
    sign = draw(st.sampled_from(list(SIGNS)))
    kinds = [["camera", "format", "path", "uri"], ["size_bytes", "width"], ["latitude", "longitude"], ["indexed_at", "taken_at"]]
    columns = draw(st.sampled_from(kinds))
    left, right = draw(st.sampled_from(columns)), draw(st.sampled_from(columns))
    same = fold if columns[0] == "camera" else lambda value: value

    def expected(row):
        values = value_of(row, left), value_of(row, right)
        return None if None in values else SIGNS[sign](*map(same, values))

    return f"{left} {sign} {right}", expected


@st.composite
def other_tests(draw):
    column, form = draw(st.sampled_from([*COLUMNS, "lens", "rating", "uri"])), draw(st.sampled_from(range(6)))
    return [
        ("damaged", lambda row: row["damaged"]),
        ("damaged = false", lambda row: negated(row["damaged"])),
        ("TRUE", lambda row: True),
        ("false", lambda row: False),
        (f"{column} IS NULL", lambda row: value_of(row, column) is None),
        (f'"{column.upper()}" IS NOT NULL', lambda row: value_of(row, column) is not None),
    ][form]


def compared(draw, column, sign, literal):
    """A comparison with the literal on either side."""
    return f"{column} {sign} {literal}" if draw(st.booleans()) else f"{literal} {MIRRORED[sign]} {column}"


def opposite(test):
    return lambda row: negated(test(row))


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


LEAVES = st.one_of(text_tests(), like_tests(), number_tests(), time_tests(), pair_tests(), other_tests())
TESTS = st.recursive(LEAVES, joined, max_leaves=6)
KINDS = st.sampled_from(["image", "shot", "clip"])
ROWS = st.lists(
    st.fixed_dictionaries({"kind": KINDS, **{name: st.sampled_from(values) for name, (values, _) in COLUMNS.items()}}), max_size=8
)


def batch_of(rows):
    arrays = {name: pa.array([row[name] for row in rows], type_) for name, (_, type_) in COLUMNS.items()}
    encoded = {name: arrays[name].dictionary_encode() for name in ("format", "root_id")}
    return pa.record_batch(arrays | encoded | {"kind": pa.array([row["kind"] for row in rows], pa.string()).dictionary_encode()})


@settings(max_examples=250, deadline=None, derandomize=True, database=None)
@given(ROWS, ROWS, TESTS)
def test_a_filter_keeps_the_rows_that_plain_python_keeps(first, second, test):
    where, expected = test
    kept = FilterRows([batch_of(first), batch_of(second)], ROOTS).keep(where)
    assert kept.tolist() == [expected(row) is True for row in first + second], where


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(TEXTS[1:]), min_size=1, max_size=6), TESTS)
def test_a_filter_keeps_the_same_rows_where_few_are_left(texts, test):
    """Many rows, so that a part of a condition is asked only of the rows that are still open."""
    choose = random.Random(repr(texts))
    rows = [{"kind": "shot"} | {name: choose.choice(values) for name, (values, _) in COLUMNS.items()} for _ in range(300)]
    where, expected = f"format IN ({', '.join(map(quote, texts))}) AND ({test[0]})", test[1]
    among = {fold(text) for text in texts}
    kept = FilterRows([batch_of(rows)], ROOTS).keep(where)
    assert kept.tolist() == [row["format"] is not None and fold(row["format"]) in among and expected(row) is True for row in rows], where
