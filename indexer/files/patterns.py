"""Patterns of paths. `*`, `?` and `[...]` stay within a name, and `**` stands for any folders. Case does not matter."""

import fnmatch
import re
from collections.abc import Sequence


class PathPattern:
    """A pattern for a whole path, name by name."""

    def __init__(self, names: Sequence[str]) -> None:
        self._parts = [None if name == "**" else re.compile(expression(name)) for name in names]

    def fits(self, names: Sequence[str]) -> bool:
        """Whether a path matches. Its names are in lower case."""
        return _fits(self._parts, names)

    def can_fit_below(self, names: Sequence[str]) -> bool:
        """Whether a path in the given folder, or in one below it, can match."""
        if None in self._parts:
            return True
        return all(part is not None and part.fullmatch(name) for part, name in zip(self._parts, names, strict=False))


def expression(pattern: str) -> str:
    """A pattern of a name as a regular expression for a name in lower case."""
    return fnmatch.translate(pattern.lower())


def _fits(parts: Sequence[re.Pattern[str] | None], names: Sequence[str]) -> bool:
    if not parts or not names:
        return not names and all(part is None for part in parts)
    if parts[-1] is None:
        return any(_fits(parts[:-1], names[:count]) for count in range(len(names), -1, -1))
    return parts[-1].fullmatch(names[-1]) is not None and _fits(parts[:-1], names[:-1])
