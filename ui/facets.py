"""The facets of the page: choices beside the search box that restrict a search. To add one, add a row to `FACETS`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from search.request import SearchRequest


@dataclass(frozen=True)
class Facet:
    """One choice of the page.

    Attributes:
        key: its name in the URL of the page, as in `?show=Pictures`.
        label: what a screen reader says.
        choices: what each choice does to a request. The first is the default. The URL leaves it out.
    """

    key: str
    label: str
    choices: Mapping[str, Callable[[SearchRequest], SearchRequest]]

    @property
    def default(self) -> str:
        return next(iter(self.choices))


FACETS = (
    Facet(
        "show",
        "Show",
        {
            "Everything": lambda request: request,
            "Pictures": lambda request: replace(request, kinds=("image",)),
            "Videos": lambda request: replace(request, kinds=("shot",)),
        },
    ),
)
