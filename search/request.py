"""`SearchRequest`: a search, with one wire form, for Python, the command line, HTTP and the page."""

import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.errors import QueryError
from search.schema import DEFAULT_KINDS, KINDS, Kind

if TYPE_CHECKING:
    from PIL import Image
    from pydantic import BaseModel

    Query = str | os.PathLike[str] | Image.Image | NDArray[np.float32]

MAX_RESULTS = 10_000
MAX_TEXT = 10_000
MAX_FILTER = 200_000  # programs pass lists of ids
MAX_WIDTH = 65_536
_MAX_ECHO = 60


@dataclass(frozen=True)
class SearchRequest:
    """One search.

    Attributes:
        query: words; a picture as path or Pillow image; or a vector of the model's width, float32 (E,).
        k: how many hits, 1 to `MAX_RESULTS`.
        kinds: the kinds of segments to search: "image", "shot" (a moment of a video), "clip" (a whole video).
        where: a filter, an expression over the columns of docs/collection.md; applied before the search.
        group_by_file: return only the best moment of each video.
        exact: compare the query with every vector, instead of the candidates that the index finds.

    Raises:
        QueryError: an empty query, an unknown kind, or `k` out of range.
    """

    query: "Query"
    k: int = 20
    kinds: tuple[Kind, ...] = DEFAULT_KINDS
    where: str | None = None
    group_by_file: bool = True
    exact: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.query, str) and not self.query.strip():
            raise QueryError("The query is empty. Type what you remember of the picture.")
        if not _is_query(self.query):
            raise QueryError(f"The query cannot be used ({_shortened(repr(self.query))}). Give words, a picture, or an array of numbers.")
        try:
            object.__setattr__(self, "k", operator.index(self.k))  # any type of integer, as an int
        except TypeError:
            raise QueryError(f"k is no whole number ({_shortened(repr(self.k))}). Allowed: 1 to {MAX_RESULTS}.") from None
        if not 1 <= self.k <= MAX_RESULTS:
            raise QueryError(f"k is out of range ({self.k}). Allowed: 1 to {MAX_RESULTS}.")
        if unknown := [str(kind) for kind in self.kinds if kind not in KINDS]:
            raise QueryError(f"Unknown kind ({', '.join(unknown)}). Allowed: {', '.join(KINDS)}.")
        if not self.kinds:
            raise QueryError(f"No kind is given. Allowed: {', '.join(KINDS)}.")
        if not isinstance(self.where, str | None):
            raise QueryError(f"The filter is no text ({_shortened(repr(self.where))}). Write it as text, such as 'width >= 1000'.")

    def to_wire(self) -> dict[str, Any]:
        """The body of `POST /search`. Raises QueryError for a picture, which has no wire form yet."""
        if isinstance(self.query, str):
            asked: dict[str, Any] = {"text": self.query}
        elif isinstance(self.query, np.ndarray):
            asked = {"vector": self.query.astype(float).tolist()}
        else:
            raise QueryError("A picture cannot be sent over HTTP yet. Send words or a vector.")
        settings = {"k": self.k, "kinds": list(self.kinds), "where": self.where, "group_by_file": self.group_by_file, "exact": self.exact}
        return asked | settings

    @staticmethod
    def from_wire(body: Mapping[str, Any]) -> "SearchRequest":
        """Read the body of `POST /search`. Raises QueryError with a sentence for each fault."""
        from pydantic import ValidationError

        try:
            fields = _wire_form().model_validate(body).model_dump()
        except ValidationError as error:
            raise QueryError(" ".join(sentence(problem) for problem in error.errors())) from error
        text, vector = fields.pop("text"), fields.pop("vector")
        if (text is None) == (vector is None):
            raise QueryError("Give text or vector, and not both.")
        return SearchRequest(np.array(vector, np.float32) if text is None else text, **fields)


def _is_query(query: object) -> bool:
    if isinstance(query, np.ndarray):
        return query.dtype.kind in "fiu"
    if isinstance(query, str | bytes | os.PathLike):
        return True
    from PIL import Image

    return isinstance(query, Image.Image)


def sentence(problem: Mapping[str, Any]) -> str:
    """One error of pydantic as a sentence, such as `k: Input should be a valid integer (many).`"""
    where = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int) and part != "body") or "request"
    given = problem["input"]
    echo = f" ({_shortened(str(given))})" if isinstance(given, str | int | float) else ""
    return f"{where}: {problem['msg']}{echo}."


@cache
def _wire_form() -> "type[BaseModel]":
    from pydantic import BaseModel, ConfigDict, Field

    class Wire(BaseModel):
        model_config = ConfigDict(extra="forbid")

        text: str | None = Field(None, max_length=MAX_TEXT)
        vector: list[float] | None = Field(None, max_length=MAX_WIDTH)
        k: int = Field(20, strict=True)
        kinds: tuple[Kind, ...] = DEFAULT_KINDS
        where: str | None = Field(None, max_length=MAX_FILTER)
        group_by_file: bool = Field(True, strict=True)
        exact: bool = Field(False, strict=True)

    return Wire


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_ECHO else text[: _MAX_ECHO - 1] + "…"
