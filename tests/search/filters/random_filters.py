"""Random filters: valid ones from every part of the grammar, and broken ones."""

import random
from itertools import product

PIECES = [
    *("width", "path", "kind", "keywords", "taken_at", "damaged", "latitude", "uri"),
    *("1", "-2.5e3", "'x'", "'2025-09'", "'%a_b%'", "'image'", "true", "null", "(", ")", "(", ")"),
    *("=", "<", ">=", "<>", "+", "||", ",", ";", "--", "'", '"', "lower(", "(1, 2)", "('a', 'b')"),
    *("AND", "OR", "NOT", "IN", "LIKE", "IS", "BETWEEN", "timestamp", "ESCAPE", "CAST(", "\u0130", "\x00", "\ud800", "\udce9"),
]
SIGNS = ["=", "!=", "<", "<=", ">", ">="]
NUMBERS = ["width", "size_bytes", "latitude", "rating"]
TEXTS = ["path", "uri", "camera", "format", "description"]
LISTS = ["keywords", "people"]
DATES = ["'1990'", "'1990-05'", "'1990-05-01'", "'1990-05-01 10:00'", "'1990-05-01T10:00:00.5Z'"]


def random_filter(choose):
    """Half of them are valid, some are valid but for one change, and the others are random words."""
    kind = choose.random()
    if kind < 0.25:
        return " ".join(choose.choices(PIECES, k=choose.randint(1, 12)))
    text = expression(choose, choose.choice([1, 2, 5, 20, 60]))
    if kind < 0.5:
        at = choose.randrange(len(text))
        return text[:at] + choose.choice(PIECES) + text[at + choose.randint(0, 3) :]
    return text


def expression(choose, count):
    if count == 1:
        return choose.choice(["{}", "{}", "NOT {}", "({})"]).format(test(choose))
    left = choose.randint(1, count - 1)
    parts = expression(choose, left), expression(choose, count - left)
    return choose.choice(["{} AND {}", "{} OR {}", "({} OR {})", "NOT ({} AND {})"][: 2 if count > 15 else 4]).format(*parts)


def test(choose):
    make = choose.choice([of_number, of_text, of_text, of_list, of_time, pattern, pattern, pair, other])
    return make(choose)


def of_number(choose):
    column = choose.choice(NUMBERS)
    form = choose.choice(["{0} {1} {2}", "{2} {1} {0}", "{0} BETWEEN {2} AND {3}", "{0} IN ({2}, {3}, 5, 7, 9, 11)"])
    return form.format(column, choose.choice(SIGNS), *(choose.choice(["5", "-1", "2500.5", "1e300", "99999"]) for _ in range(2)))


def of_text(choose):
    form = choose.choice(["{0} {1} {2}", "{2} {1} {0}", "{0} NOT BETWEEN {2} AND {3}", "{0} IN ({2}, {3}, 'a', 'b', 'c')"])
    return form.format(choose.choice(TEXTS), choose.choice(SIGNS), *(f"'{word(choose)}'" for _ in range(2)))


def of_list(choose):
    form = choose.choice(["{} = {}", "{} != {}", "{} NOT IN ({}, 'a', 'b', 'c', 'd')", "{} LIKE {}"])
    return form.format(choose.choice(LISTS), f"'{word(choose)}%'")


def of_time(choose):
    form = choose.choice(["{0} {1} {2}", "{0} BETWEEN {2} AND {3}", "{0} IN ({2}, {3})"])
    return form.format(choose.choice(["taken_at", "indexed_at"]), choose.choice(SIGNS), *choose.choices(DATES, k=2))


def pattern(choose):
    letters = choose.choices(["%", "_", "a", "b", "ab", "ü", "/", "z", "!%", "!_"], k=choose.randint(0, 25))
    return f"{choose.choice(TEXTS)} {choose.choice(['LIKE', 'NOT LIKE'])} '{''.join(letters)}' ESCAPE '!'"


def pair(choose):
    columns = choose.choice([*product(NUMBERS, NUMBERS), *product(TEXTS, TEXTS)])
    return f"{columns[0]} {choose.choice(SIGNS)} {columns[1]}"


def other(choose):
    return choose.choice(["damaged", "true", "false", "kind = 'image'", "{} IS NULL", "{} IS NOT NULL"]).format(choose.choice(TEXTS))


def word(choose):
    return "".join(choose.choices(["a", "b", "ab", "abab", "/", "Ü", "ß"], k=choose.randint(0, 20)))


def random_filters(count, seed=0):
    choose = random.Random(seed)
    return (random_filter(choose) for _ in range(count))
