"""The grammar of a filter: from text to a tree, in bounded time and without recursion (LALR, by Lark).

A list of literals is one token, because programs pass lists of thousands of ids.
"""

import re
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, v_args

from search.filters import literals
from search.filters.advice import why
from search.filters.expression import And, Comparison, Expression, In, IsNull, Like, Name, Not, Or
from search.filters.literals import Items, Refused

MAX_LENGTH = 200_000  # characters; also of HTTP
MAX_DEPTH = 32  # nested parentheses
MAX_TOKENS = 1_000  # a list of literals is one
MAX_VALUES = 20_000  # in all lists
_GRAMMAR = rf"""
?start: either
?either: both ("OR"i both)*
?both: negated ("AND"i negated)*
?negated: NOT negated -> negation | test
?test: value
    | value OPERATOR value -> comparison
    | value NOT? "IN"i LIST -> among
    | value NOT? LIKE value ("ESCAPE"i TEXT)? -> like
    | value NOT? "BETWEEN"i value "AND"i value -> between
    | value "IS"i NOT? NULL -> is_null
?value: NAME -> name | QUOTED -> name | TEXT -> literal | NUMBER -> literal | (TRUE | FALSE | NULL) -> literal | LIST -> items
    | "(" either ")"
NOT: "NOT"i
LIKE.2: /I?LIKE\b/i
NULL: "NULL"i
TRUE: "TRUE"i
FALSE: "FALSE"i
OPERATOR: "<=" | ">=" | "<>" | "!=" | /=(?![=<>])/ | /<(?![<>=])/ | />(?![<>=])/
LIST.3: /{literals.LIST}/i
TEXT.2: /{literals.TEXT}/i
NUMBER: /{literals.NUMBER}/i
QUOTED: /"[^"]*"|`[^`]*`/
NAME: /[^\W\d]\w*/i
%ignore /\s+/
"""
_LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # the others stand for bytes of file names


def parse(where: str) -> Expression:
    """The tree of a filter. Raises Refused with the place of the first fault."""
    if len(where) > MAX_LENGTH:
        raise Refused(0, f"it has {len(where):,} characters. At most {MAX_LENGTH:,} are allowed.")
    if lone := _LONE_SURROGATE.search(where):
        raise Refused(lone.start(), "this is no character. Remove it.")
    steps = _parser().parse_interactive(where)
    before: list[Token] = []
    depth = num_values = 0
    try:
        for token in steps.iter_parse():
            before.append(token)
            depth += (token.type == "LPAR") - (token.type == "RPAR")
            if depth > MAX_DEPTH:
                raise Refused(_at(token), f"the parentheses are nested too deeply. At most {MAX_DEPTH} levels are allowed.")
            num_values += len(Items(0, token)) if token.type == "LIST" else 0
            if num_values > MAX_VALUES:
                raise Refused(_at(token), f"there are {num_values:,} values in lists. At most {MAX_VALUES:,} are allowed.")
            if len(before) > MAX_TOKENS:
                raise Refused(_at(token), f"it has too many parts. At most {MAX_TOKENS:,} are allowed; IN takes a list of values.")
        return steps.feed_eof()  # type: ignore[no-untyped-call]
    except UnexpectedInput as error:
        at = error.pos_in_stream if isinstance(error, UnexpectedCharacters) else getattr(getattr(error, "token", None), "start_pos", None)
        at = len(where) if at is None or getattr(getattr(error, "token", None), "type", "") == "$END" else at
        if before and before[-1].start_pos == at:
            before.pop()
        raise Refused(at, why(where, at, before[-1] if before else None, depth)) from None


@v_args(inline=True)
class _Tree(Transformer[Token, Expression]):
    def either(self, *parts: Expression) -> Expression:
        return Or(parts[0].at, parts)

    def both(self, *parts: Expression) -> Expression:
        return And(parts[0].at, parts)

    def negation(self, word: Token, inner: Expression) -> Expression:
        return inner.inner if isinstance(inner, Not) else Not(_at(word), inner)  # so that NOT NOT ... does not nest

    def comparison(self, left: Expression, operator: Token, right: Expression) -> Expression:
        return Comparison(_at(operator), left, "!=" if operator == "<>" else str(operator), right)

    def among(self, left: Expression, *rest: Token) -> Expression:
        return _negated(rest, In(left.at, left, self.items(rest[-1])))

    def like(self, left: Expression, *rest: Any) -> Expression:
        words = [each for each in rest if isinstance(each, Token)]
        pattern = next(each for each in rest if not isinstance(each, Token))
        escape = literals.literal(_at(words[-1]), words[-1]).value if words[-1].type == "TEXT" else "\\"
        if not isinstance(escape, str) or len(escape) != 1:
            raise Refused(_at(words[-1]), "ESCAPE needs one character, such as ESCAPE '!'.")
        return _negated(words, Like(left.at, left, pattern, escape))

    def between(self, left: Expression, *rest: Any) -> Expression:
        low, high = rest[-2:]
        return _negated(rest, And(left.at, (Comparison(left.at, left, ">=", low), Comparison(left.at, left, "<=", high))))

    def is_null(self, left: Expression, *words: Token) -> Expression:
        return _negated(words, IsNull(left.at, left))

    def name(self, token: Token) -> Expression:
        return Name(_at(token), token.strip('"`'), token.type == "QUOTED")

    def literal(self, token: Token) -> Expression:
        return literals.literal(_at(token), token)

    def items(self, token: Token) -> Items:
        return Items(_at(token), str(token))


def _negated(words: tuple[Any, ...] | list[Any], test: Expression) -> Expression:
    return Not(test.at, test) if any(isinstance(word, Token) and word.type == "NOT" for word in words) else test


def _at(token: Token) -> int:
    return int(token.start_pos or 0)


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="basic", transformer=_Tree(), maybe_placeholders=False)
