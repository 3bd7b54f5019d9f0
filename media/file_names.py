"""File names that are not valid UTF-8, as text that tables, JSON and HTTP accept.

Linux takes any bytes as a name. Python shows a byte that is not UTF-8 as a lone surrogate (PEP 383), which Arrow and JSON refuse.
`escape` writes such a byte as a character of the private use area: U+EF00 plus the byte. `unescape` gives the name back. A name that
already has characters from U+EF80 to U+EFFF is written in the same way, byte by byte, so two names never give the same text.
"""

import re

_RAW = re.compile("[\udc80-\udcff\uef80-\uefff]+")
_ESCAPED = re.compile("[\uef80-\uefff]+")


def escape(name: str) -> str:
    """A path or name as valid Unicode. Other names do not change."""
    return name if name.isascii() else _RAW.sub(lambda found: _as_text(found[0].encode(errors="surrogateescape")), name)


def unescape(text: str) -> str:
    """The path or name that `escape` was given."""
    return text if text.isascii() else _ESCAPED.sub(lambda found: _as_bytes(found[0]).decode(errors="surrogateescape"), text)


def _as_text(raw: bytes) -> str:
    return "".join(chr(0xEF00 + byte) for byte in raw)


def _as_bytes(text: str) -> bytes:
    return bytes(ord(character) - 0xEF00 for character in text)
