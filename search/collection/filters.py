"""Checks a user's filter before it reaches the SQL engine, and rewrites it in terms of the stored columns.

Some expressions can end or freeze the engine. A function such as `array_repeat` can ask for more memory than there is, which ends the
process. Nested CASTs take exponential time to parse. Long chains overflow the stack of the planner. So only comparisons of columns and
literals are allowed, joined by AND, OR and NOT.
"""

import re
from collections.abc import Mapping

from media.file_names import escape
from search.collection.identity import below
from search.collection.lance_tables import quoted
from search.errors import QueryError

MAX_LENGTH = 100_000  # characters
MAX_DEPTH = 16  # nested parentheses
MAX_OPERATORS = 200
_WORDS = frozenset(["AND", "OR", "NOT", "IN", "LIKE", "ILIKE", "IS", "NULL", "BETWEEN", "TRUE", "FALSE", "ESCAPE"])
_FUNCTIONS = frozenset(["LOWER", "ARRAY_HAS"])  # harmless, also nested
_BEFORE_PARENTHESIS = frozenset(["AND", "OR", "NOT", "IN", "LIKE", "ILIKE", "BETWEEN", "ESCAPE"])
_VALUES = frozenset(["NULL", "TRUE", "FALSE"])
_TYPES = frozenset(["TIMESTAMP", "DATE"])  # as in: timestamp '2021-01-01 00:00:00'
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>'(?:[^']|'')*')
    |(?P<quoted>"[^"]+"|`[^`]+`)
    |(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)?)
    |(?P<open>\()|(?P<close>\))|(?P<comma>,)
    |(?P<operator><=|>=|<>|!=|\|\||[=<>+*%]|/(?!\*)|-(?!-))""",
    re.VERBOSE,
)


def sql_of(where: str, roots: Mapping[str, str]) -> str:
    """A user's filter over the columns of `search.schema.Row` as SQL that Lance can plan. `roots`: folder of each root by its id.

    Raises:
        QueryError: anything but comparisons of columns and literals.
    """
    check_filter(where)
    return " ".join(_uri(roots) if text.strip('"`').lower() == "uri" else text for _, text in tokens(where))


def check_filter(where: str) -> None:
    """Raises QueryError, which shows the part that is not allowed, for anything but comparisons of columns and literals."""
    if len(where) > MAX_LENGTH:
        raise QueryError(f"It is too long ({len(where)} characters). At most {MAX_LENGTH:,} are allowed.")
    depth = num_operators = 0
    before, word = "", ""  # the kind of the token before, and its text in capitals if it is a name
    for kind, text in tokens(where):
        upper = text.upper() if kind == "name" else ""
        if kind == "open" and before in {"name", "quoted"} and word not in _BEFORE_PARENTHESIS | _FUNCTIONS:
            advice = "Compare columns with values. Allowed are lower(column), and array_has(keywords, 'lake') for lists."
            raise QueryError(f"Functions and casts are not allowed ({word.lower() or 'a quoted name'}(...)). {advice}")
        is_value = kind in {"string", "quoted", "number", "open"} or (kind == "name" and upper not in _WORDS - _VALUES)
        after_value = before in {"string", "quoted", "number", "close"} or (before == "name" and word not in _WORDS - _VALUES)
        is_call = kind == "open" and word in _FUNCTIONS
        if is_value and after_value and not is_call and not (kind == "string" and word in _TYPES):
            raise QueryError(f"Two values follow each other, at {text[:40]!r}. Put a comparison, AND or OR between them.")
        depth += (kind == "open") - (kind == "close")
        num_operators += kind == "operator" or upper in _WORDS - _VALUES
        if depth > MAX_DEPTH:
            raise QueryError(f"Its parentheses are nested too deeply. At most {MAX_DEPTH} levels are allowed.")
        if depth < 0:
            raise QueryError("A parenthesis is closed that was not opened.")
        if num_operators > MAX_OPERATORS:
            raise QueryError(f"It has too many operators. At most {MAX_OPERATORS} are allowed; IN takes a list of values.")
        before, word = kind, upper
    if depth:
        raise QueryError("A parenthesis is not closed.")


def tokens(where: str) -> list[tuple[str, str]]:
    """The tokens of a filter without spaces, as (kind, text). Raises QueryError for characters that are not allowed, such as ; or --."""
    found, position = [], 0
    while position < len(where):
        match = _TOKEN.match(where, position)
        if match is None:
            rest = where[position : position + 20]
            what = "A quotation mark is not closed" if rest[0] in "'\"`" else "This is not allowed"
            raise QueryError(f"{what}, at {rest!r}. Allowed are columns, values, comparisons, IN, LIKE, IS NULL, AND, OR, NOT.")
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match[0]))
        position = match.end()
    return found


def _uri(roots: Mapping[str, str]) -> str:
    """The column `uri`, which is not stored, as SQL: the folder of the root, and the path. Lance has no CASE."""
    folder = "replace('|' || root_id || '|', '||', '')"  # without a root, the path is the whole path or address
    for root_id, location in roots.items():
        folder = f"replace({folder}, '|{root_id}|', {quoted(escape(below(location)))})"
    return f"({folder} || path)"
