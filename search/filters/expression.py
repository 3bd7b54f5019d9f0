"""What a filter says, as a tree of small dataclasses. Each part knows its place in the text, so that an error can show it."""

from dataclasses import dataclass

from search.filters.literals import Items, Literal


@dataclass(frozen=True)
class Name:
    """The name of a column as it was written; `quoted` if in double quotes or backticks."""

    at: int
    text: str
    quoted: bool = False


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
    items: Items


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
