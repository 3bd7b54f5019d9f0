"""Each kind of refusal says what is wrong, at which character, and what to write instead."""

import pytest

from search.errors import QueryError
from search.filters.check import condition_of
from search.options import all_of

COMPARE, QUOTES, LIKE = "Compare a column with a value", "single quotes", "write LIKE, where % stands for any characters"
LIST, NEEDS_LIST = "a list must follow IN", "IN needs a list of values in parentheses"
NULL, UNEXPECTED = "write IS NULL or IS NOT NULL", "this is not expected here. Allowed are columns, values, comparisons"
REFUSED = [
    # Not a filter of this grammar
    ("", 1, "it ends too early. Write a value or a condition"),
    ("width >", 8, "it ends too early"),
    ("NOT", 4, "it ends too early"),
    ("(width > 1", 11, r"a parenthesis is not closed. Add \)"),
    ("width > 1)", 10, "a parenthesis is closed that was not opened"),
    ("width > )", 9, r"a value is missing before \)"),
    ("width > 1; DROP", 10, "a filter is one expression, without ; and comments. Remove the rest"),
    ("width > 1 -- x", 11, "a filter is one expression"),
    ("width == 1", 7, "this is no comparison. Write =, !=, <, <=, > or >="),
    ("width > 1 && true", 11, "write AND"),
    ("width > 1 || true", 11, "write OR"),
    ("!damaged", 1, "write NOT or !="),
    ("width NOT > 5", 11, "write !=, or NOT before the comparison, such as NOT width > 1000"),
    ("camera = ‘lake’", 10, "a text is written in straight single quotes"),
    ("camera = 'lake", 10, "a text is not closed. End it with a single quote"),
    ('"camera = 1', 1, "a quoted name is not closed. Text is written in single quotes"),
    ("width + 1 > 2", 7, f"arithmetic and casts are not available. {COMPARE}"),
    ("width - 1 > 2", 7, f"arithmetic and casts are not available. {COMPARE}"),
    ("width::int > 2", 6, "arithmetic and casts"),
    ("width = ?", 9, "placeholders are not available. Write the value itself"),
    ("width, height", 6, f"{LIST} and contain only values"),
    ("lower(camera) = 'x'", 6, r"functions such as lower\(...\) are not available: text is compared without regard to case"),
    ("array_has(keywords, 'x')", 10, "write keywords = 'lake', which asks for any of the keywords"),
    ("year(taken_at) = 2020", 5, "write taken_at = '2025-09'"),
    ("CAST(width AS int) > 1", 5, "casts are not needed. Compare a column with a value of its type"),
    ("abs(width) > 1", 4, r"functions such as abs\(...\) are not available: compare a column with a value"),
    ("camera REGEXP 'x'", 8, LIKE),
    ("camera ~ 'x'", 8, LIKE),
    ("camera !~ 'x'", 8, LIKE),
    ("width > 1 ORDER BY width", 11, "this word is not available. Compare columns with values"),
    ("SELECT 1", 8, "this word is not available"),
    ("1 < width < 5", 11, "comparisons cannot be chained. Write width > 1 AND width < 5"),
    ("camera = canon eos", 16, "two values follow each other. Put a comparison, AND or OR between them, and text in single quotes"),
    ("x'ab'", 2, "two values follow each other"),
    ("AND width > 1", 1, UNEXPECTED),
    ("width = 1.2.3", 9, UNEXPECTED),
    # Parts in a wrong place
    ("kind IN ()", 9, NEEDS_LIST),
    ("kind IN 'image'", 9, NEEDS_LIST),
    ('kind IN "image"', 9, NEEDS_LIST),
    ("kind IN (width)", 9, NEEDS_LIST),
    ("width = (1, 2)", 9, LIST),
    ("camera IS 5", 11, NULL),
    ("camera IS NOT 'x'", 15, NULL),
    ("camera LIKE '%x' ESCAPE !", 25, "write NOT or !="),
    ("camera LIKE '%x' ESCAPE lens", 25, "ESCAPE needs one character, such as ESCAPE '!'"),
    ("camera LIKE '%x' ESCAPE '!!'", 25, "ESCAPE needs one character"),
    ("camera LIKE 'x!' ESCAPE '!'", 13, "nothing follows the escape character. Write it twice to find it"),
    ("camera LIKE lens", 13, "LIKE needs a text in single quotes, such as '%lake%'"),
    ("width", 1, "width alone is no condition. Compare it with a value"),
    ("width > 1 OR 5", 14, "a value alone is no condition. Compare a column with it"),
    ("1 = 1", 5, f"two values are compared. {COMPARE}"),
    ("'a' IN ('a')", 1, "a column must stand here, such as width"),
    ("(width > 1) = (height > 1)", 8, "a condition cannot be compared. Join conditions with AND or OR"),
    # Columns and their types
    ("with = 5", 1, r"unknown column with. Did you mean width\?"),
    ("colour = 'red'", 1, "unknown column colour. Text is written in single quotes, such as 'lake'"),
    ("camera = canon", 10, "unknown column canon. Text is written in single quotes"),
    ('camera = "lake"', 10, r"unknown column lake. Did you mean place\? Text is written in single quotes: 'lake'"),
    ("width = '5'", 9, "width is a number. Write a number without quotes, such as 1000"),
    ("width = true", 9, "width is a number"),
    ("width BETWEEN 1 AND 'x'", 21, "width is a number"),
    ("width LIKE '%1'", 1, "LIKE compares text, and width is a number. Write =, < or >"),
    ("camera = 5", 10, "camera is text. Write the value in single quotes, such as '2021'"),
    ("keywords > 'a'", 10, "keywords is a list of texts and has no order. Write = or !="),
    ("keywords = people", 10, "keywords and people are lists. Compare a list with a text"),
    ("keywords = camera", 10, "keywords is a list of texts and camera is text. Compare columns of one type"),
    ("taken_at > taken_local", 10, "taken_at is a time and taken_local is a local time"),
    ("damaged > true", 9, "damaged is true or false and has no order"),
    ("damaged = 1", 11, "damaged is true or false. Write damaged or NOT damaged"),
    ("taken_at = 2020", 12, "taken_at is a time. Write it in single quotes, such as '2025-09'"),
    ("taken_at = '2020-13'", 12, "this is no date. Write a year, month, day or time"),
    ("taken_local = '2020-01-01T10:00Z'", 15, "taken_local is a local time. Leave out the zone, or ask taken_at"),
    ("width IN (1, null)", 14, "nothing is equal to null. Write IS NULL or IS NOT NULL"),
    ("kind = 'video'", 8, "kind is never 'video'. Write 'image', 'shot' or 'clip'"),
    ("kind IN ('image', 'Video')", 19, "kind is never 'video'"),
    ("kind NOT LIKE 'video'", 15, "kind is never 'video'"),
    ("width = 1e400", 9, "the number is out of range. Write one between -1e308 and 1e308"),
    ("camera = '\ud800'", 11, "this is no character. Remove it"),
]


@pytest.mark.parametrize(("where", "character", "reason"), REFUSED)
def test_a_filter_is_refused_with_the_place_and_what_to_write(where, character, reason):
    with pytest.raises(QueryError, match=rf"^The filter cannot be used at character {character} \(.*\): .*{reason}"):
        condition_of(where)


@pytest.mark.parametrize("where", ["kind LIKE 'SHOT'", "kind LIKE '%o%'", "kind < 'video'", "kind != 'Clip'", "camera IS NOT NULL"])
def test_a_filter_of_possible_values_is_allowed(where):
    condition_of(where)


def test_several_conditions_are_joined_as_whole_ones():
    assert all_of(["width > 1 OR height > 1", "kind = 'image'"]) == "(width > 1 OR height > 1) AND (kind = 'image')"
    assert (all_of(["width > 1"]), all_of([]), all_of(None)) == ("width > 1", None, None)


DEEP = "(" * 32 + "damaged" + ")" * 32
PATTERNS = [" OR ".join(f"path LIKE '%a_{letter}'" for letter in letters) for letters in ("abc", "def")]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["width >", "1 = height"], r"character 8 \(width >\): it ends too early"),
        (["width > 1) OR (height > 1", "damaged"], r"character 10 \(width > 1\) OR \(height > 1\): a parenthesis is closed"),
        (["width > 1", "damaged", "colour = 1"], r"character 1 \(colour = 1\): unknown column"),
        (["width > 1", "rating = 'five' OR damaged"], r"character 10 \(rating = 'five' OR damaged\): rating is a number"),
        (["width > 1", "kind = 'video'"], r"character 8 \(kind = 'video'\): kind is never"),
        (["damaged", DEEP], r"character 32 \(.*nested too deeply"),
        (["damaged", *PATTERNS], r"character 41 \(.*up to here it is too much work"),
        ([f"camera = '{'a' * 150_000}'"] * 2, r"character 1 \(.*it has 300,031 characters"),
    ],
)
def test_the_place_is_that_in_its_own_one_of_several_filters(filters, expected):
    with pytest.raises(QueryError, match=expected):
        all_of(filters)
