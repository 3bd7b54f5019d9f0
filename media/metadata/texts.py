"""Text of a file as clean Unicode, whatever its encoding and whatever follows it.

Files hold text in encodings that nobody declares, with rubbish after the first NUL. PyAV gives bytes that are not UTF-8 as lone
surrogates, which no file, database or JSON accepts. Every text that leaves this package has passed through `clean`.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

MAX_LETTERS = 10_000  # of one text; a longer one is data that some program stored, and is cut
_MAX_NAME_LETTERS, _MAX_NAMES = 500, 1_000  # of a keyword or a person, and of one file
_MAX_TAGS = 1_000  # of one file
_KANA = re.compile("[\u3041-\u30ff]")
_CYRILLIC = re.compile("[\u0400-\u045f]")
_MIXED = re.compile("[a-zA-Z][\u0400-\u045f]|[\u0400-\u045f][a-zA-Z]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
_MAKERS = "olympus|konica minolta|minolta|kodak|samsung|pentax|ricoh|casio|sanyo|fujifilm|nikon|canon|panasonic|polaroid|vivitar|hp"
# What cameras and programs write as the description of every picture. The short words are modes of Huawei's cameras.
_MACHINE_TEXT = re.compile(
    rf"(?i:(({_MAKERS}) )?digital (still )?camera|sony dsc|minolta dsc|samsung( camera pictures)?|<[^>]*samsung[^>]*>"
    r"|exif[_ ]jpeg[_ ]picture|dcim\\\S+|created (with|by) (the )?(gimp|imlib).*"
    r"|file written by adobe photoshop.*|binary comment|charset=ascii|default|untitled|scanner"
    r"|maker:.*,date:.*,ver:.*)"
    r"|(r?hdr(pl)?|dav|mde|edf|cof|sdr|oznor|[frb]bt|ptr|bt[fr]|nor|rpt|qrf|frem|burst|fshbty|bty)(_\w+)?"
)


def decode(data: bytes) -> str:
    """Bytes to text, up to the first NUL: UTF-8, Japanese or Cyrillic if it can hardly be anything else, otherwise Western."""
    data = data.split(b"\0", 1)[0]
    for encoding, is_sure in _ENCODINGS:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if is_sure(text):
            return text
    return data.decode("latin-1")  # cannot fail


def _is_cyrillic(text: str) -> bool:
    """Whether most letters, and at least four, are Cyrillic, and no word mixes them with others, as Western words with accents would."""
    return len(_CYRILLIC.findall(text)) > max(3, sum(map(str.isalpha, text)) / 2) and not _MIXED.search(text)


# cp932 is Shift-JIS: Western text contains none of its kana.
_ENCODINGS: Sequence[tuple[str, Callable[[str], object]]] = (
    ("utf-8", lambda text: True),
    ("cp932", _KANA.search),
    ("cp1251", _is_cyrillic),
    ("cp1252", lambda text: True),
)


def clean(value: object) -> str:
    """Text without NUL, control characters, surrogates and surrounding blanks. Empty if `value` is no text."""
    text = decode(value) if isinstance(value, bytes) else value if isinstance(value, str) else ""
    if text.isprintable():  # so there is nothing to remove
        return text.strip()[:MAX_LETTERS].rstrip()
    text = text.split("\0", 1)[0]
    if _SURROGATES.search(text):
        text = _repair(text)
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()[:MAX_LETTERS].rstrip()


def is_machine_text(text: str) -> bool:
    """Whether a description says nothing about the picture: the same for every picture of a camera, or data of a program."""
    return _MACHINE_TEXT.fullmatch(text) is not None or (text[:1] == "{" and text[-1:] == "}")


def distinct(texts: Iterable[object]) -> tuple[str, ...]:
    """The texts, cleaned, in their order, each once however it is capitalised."""
    found: dict[str, str] = {}
    for each in texts:
        if text := clean(each)[:_MAX_NAME_LETTERS].strip():
            found.setdefault(text.casefold(), text)
        if len(found) == _MAX_NAMES:
            break
    return tuple(found.values())


def plain(tags: Mapping[str, Any]) -> dict[str, Any]:
    """The tags whose values are str, int, finite float, or a tuple of these; at most `_MAX_TAGS`."""
    usable = ((name, value) for name, value in tags.items() if all(map(_is_plain, value if isinstance(value, tuple) else (value,))))
    return dict(itertools.islice(usable, _MAX_TAGS))


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _repair(text: str) -> str:
    """The text whose bytes PyAV passed on as surrogates, or the text without half characters."""
    try:
        return decode(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
