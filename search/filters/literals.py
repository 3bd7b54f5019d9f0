"""Values in filters: text, numbers, TRUE, FALSE, NULL, and lists of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

TEXT = r"(?:(?:date|timestamp)\s*)?'(?:[^']|'')*+'"
NUMBER = r"(?:[+-]\s*)?(?:\d++(?:\.\d*+)?|\.\d++)(?:e[+-]?\d++)?(?![\w.])"
LITERAL = rf"(?:{TEXT}|{NUMBER}|true\b|false\b|null\b)"
LIST = rf"\(\s*{LITERAL}(?:\s*,\s*{LITERAL})*+\s*\)"
_LARGEST_EXPONENT = 308  # of a float64
_MAX_DIGITS = 400
_ITEM = re.compile(LITERAL, re.IGNORECASE)


class Refused(Exception):  # noqa: N818
    """A part of a filter that cannot be used: `at` is its position in the text, `reason` a sentence about what and what to do."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at, self.reason = at, reason


class Literal(NamedTuple):
    """A text, a number, true, false, or null (None)."""

    at: int
    value: str | int | Decimal | bool | None


@dataclass(frozen=True)
class Items:
    """A list of literals in parentheses. They are made when they are asked for: 15,000 objects that stay start a garbage collection."""

    at: int
    text: str

    def __iter__(self) -> Iterator[Literal]:
        """Raises Refused for a number out of range."""
        return (literal(self.at + found.start(), found[0]) for found in _ITEM.finditer(self.text))

    def __len__(self) -> int:
        return len(_ITEM.findall(self.text)) if "'" in self.text else self.text.count(",") + 1


def literal(at: int, text: str) -> Literal:
    """The value of what matches `LITERAL`. Raises Refused for a number out of range."""
    if text[-1] == "'":
        return Literal(at, text[text.index("'") + 1 : -1].replace("''", "'"))
    if text[0].isalpha():
        return Literal(at, {"true": True, "false": False}.get(text.lower()))
    if text.isdecimal() and len(text) < _LARGEST_EXPONENT:
        return Literal(at, int(text))
    try:
        number = Decimal("".join(text.split())) if len(text) <= _MAX_DIGITS else Decimal("Infinity")
    except InvalidOperation:  # an exponent of more than 18 digits
        number = Decimal("Infinity")
    if not number.is_finite() or (number and abs(number.adjusted()) > _LARGEST_EXPONENT):
        raise Refused(at, "the number is out of range. Write one between -1e308 and 1e308.")
    return Literal(at, number)
