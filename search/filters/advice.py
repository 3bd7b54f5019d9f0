"""Why a filter cannot be parsed at a place, and what to write instead."""

import re
from typing import Any

_HERE = (
    (r";|--|/\*|#", "a filter is one expression, without ; and comments. Remove the rest."),
    (r"==|=>|=<", "this is no comparison. Write =, !=, <, <=, > or >=."),
    (r"&&?", "write AND."),
    (r"\|\|?", "write OR."),
    (r"!?~", "write LIKE, where % stands for any characters and _ for one."),
    (r"!", "write NOT or !=."),
    (r"[‘’“”«»´]", "a text is written in straight single quotes, such as 'lake'."),
    (r"'(?:[^']|'')*+\Z", "a text is not closed. End it with a single quote, and write '' for a quote in it."),
    (r"\"[^\"]*+\Z|`[^`]*+\Z", "a quoted name is not closed. Text is written in single quotes, such as 'lake'."),
    (r"::|[+*/%^]|-(?!-)", "arithmetic and casts are not available. Compare a column with a value."),
    (r"[?$@:]", "placeholders are not available. Write the value itself."),
    (r",", "a list must follow IN and contain only values, such as kind IN ('image', 'shot')."),
)
_FUNCTIONS = (
    (r"lower|upper|casefold|trim", "text is compared without regard to case. Write camera = 'canon' or camera LIKE '%canon%'."),
    (r"array_has|array_contains|list_contains|list_has|contains|has", "write keywords = 'lake', which asks for any of the keywords."),
    (
        r"date_part|extract|year|month|day|date_trunc|strftime|date|timestamp|to_timestamp",
        "write taken_at = '2025-09', or taken_at >= '2025-09-01' AND taken_at < '2025-10-01'.",
    ),
    (r"cast|try_cast|convert", "casts are not needed. Compare a column with a value of its type."),
)
_WORDS = (
    (r"regexp|rlike|glob|match|similar", "write LIKE, where % stands for any characters and _ for one."),
    (r"select|exists|case|interval|from|where|order|limit|group", "this word is not available. Compare columns with values."),
)
_VALUES = frozenset(["NAME", "QUOTED", "TEXT", "NUMBER", "LIST", "TRUE", "FALSE", "NULL", "RPAR"])


def why(where: str, at: int, before: Any, depth: int) -> str:  # noqa: PLR0911
    """What is wrong at position `at`. `before`: the token before it, or None. `depth`: the parentheses that are open there."""
    rest, kind = where[at:], before.type if before is not None else ""
    if kind == "NAME" and rest.startswith("("):
        advice = _first(_FUNCTIONS, str(before)[:40]) or "compare a column with a value."
        return f"functions such as {str(before)[:20].lower()}(...) are not available: {advice}"
    if not rest:
        return (
            "a parenthesis is not closed. Add )." if kind in _VALUES and depth > 0 else "it ends too early. Write a value or a condition."
        )
    word = re.match(r"\w+", rest)
    known = _first(_WORDS, word[0] if word else "") or (_first(_WORDS, str(before)) if kind == "NAME" else "") or _matching(rest)
    if known:
        return known
    if kind == "IN":
        return "IN needs a list of values in parentheses, such as ('image', 'shot')."
    if kind == "IS" or re.search(r"\bIS\s+NOT\s*$", where[max(0, at - 40) : at], re.IGNORECASE):
        return "write IS NULL or IS NOT NULL."
    if kind == "NOT" and re.match(r"[<>=]", rest):
        return "write !=, or NOT before the comparison, such as NOT width > 1000."
    if kind == "ESCAPE":
        return "ESCAPE needs one character, such as ESCAPE '!'."
    if rest.startswith(")"):
        return "a value is missing before )." if kind not in _VALUES else "a parenthesis is closed that was not opened."
    if kind in _VALUES and re.match(r"[<>=]", rest):
        return "comparisons cannot be chained. Write width > 1 AND width < 5."
    if kind in _VALUES:
        return "two values follow each other. Put a comparison, AND or OR between them, and text in single quotes."
    return "this is not expected here. Allowed are columns, values, comparisons, IN, LIKE, BETWEEN, IS NULL, AND, OR, NOT."


def _matching(rest: str) -> str:
    return next((advice for pattern, advice in _HERE if re.match(pattern, rest)), "")


def _first(rows: tuple[tuple[str, str], ...], word: str) -> str:
    return next((advice for pattern, advice in rows if re.fullmatch(pattern, word, re.IGNORECASE)), "")
