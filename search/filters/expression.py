"""What a filter says, as a tree of small dataclasses. Each part knows its place in the text, so that an error can show it."""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple


class Refused(Exception):  # noqa: N818
    """A part of a filter that cannot be used: `at` is its position in the text, `reason` a sentence about what and what to do."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at, self.reason = at, reason


@dataclass(frozen=True)
class Name:
    """The name of a column as it was written; `quoted` if in double quotes or backticks."""

    at: int
    text: str
    quoted: bool = False


class Literal(NamedTuple):
    """A text, a number, true, false, or null (None). A named tuple, because lists have thousands."""

    at: int
    value: str | int | Decimal | bool | None


@dataclass(frozen=True)
class Items:
    """A list of literals in parentheses."""

    at: int
    items: tuple[Literal, ...]


@dataclass(frozen=True)
class Comparison:
    """`left operator right`; operators are = != < <= > >=."""

    at: int
    left: "Expression"
    operator: str
    right: "Expression"


@dataclass(frozen=True)
class In:
    at: int
    left: "Expression"
    items: tuple[Literal, ...]


@dataclass(frozen=True)
class Like:
    at: int
    left: "Expression"
    pattern: "Expression"
    escape: str = "\\"


@dataclass(frozen=True)
class IsNull:
    at: int
    left: "Expression"


@dataclass(frozen=True)
class Not:
    at: int
    inner: "Expression"


@dataclass(frozen=True)
class And:
    at: int
    parts: tuple["Expression", ...]


@dataclass(frozen=True)
class Or:
    at: int
    parts: tuple["Expression", ...]


Expression = Name | Literal | Items | Comparison | In | Like | IsNull | Not | And | Or
