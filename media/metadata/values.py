"""The values of columns from the tags that hold them: camera, lens, texts, keywords, stars."""

import math
import re
from typing import Any

from media.metadata.texts import clean, distinct, is_machine_text

Found = list[tuple[str, Any]]  # the tags of a column that a file has, in order of trust

_SEPARATORS = {"Exif.Image.XPKeywords": ";", "PNG.Keywords": ",", "QuickTime.keywords": ",", "QuickTime.com.apple.quicktime.keywords": ","}
_HIERARCHIES = {"Xmp.lr.hierarchicalSubject": "|", "Xmp.digiKam.TagsList": "/", "Xmp.MicrosoftPhoto.LastKeywordXMP": "/"}
_NO_LENS = re.compile(r"[-0. ]*(mm)?[-0. f/]*|\d+|unknown\b.*|n/?a|none", re.IGNORECASE)
_MAX_MILLIMETRES, _MAX_F_NUMBER = 10_000, 200


def first_text(found: Found) -> str | None:
    return next((text for _, value in found if (text := clean(_first(value)))), None)


def description(found: Found) -> str | None:
    """The first text that is not the same for all pictures of a camera."""
    texts = (clean(_first(value)) for _, value in found)
    return next((text for text in texts if text and not is_machine_text(text)), None)


def names(found: Found) -> tuple[str, ...] | None:
    """The texts of all tags. Of a hierarchy such as `Places|Europe|Paris`, the last part."""
    texts: list[str] = []
    for name, value in found:
        for text in (each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, str)):
            if name in _HIERARCHIES:
                texts.append(text.rsplit(_HIERARCHIES[name], 1)[-1])
            else:
                texts += text.split(_SEPARATORS[name]) if name in _SEPARATORS else [text]
    return distinct(texts) or None


def stars(found: Found) -> int | None:
    """0 to 5. -1 is a rejected picture, so no rating. More than 5 is Windows' per cent: 1, 25, 50, 75, 99."""
    for _, value in found:
        number = next(iter(_numbers(value)), math.nan)
        if 0 <= number <= 100:
            return round(number) if number <= 5 else min(5, round(1 + number / 25))
    return None


def camera(found: Found) -> str | None:
    """Maker and model. The maker is left out if the model begins with it, as in `Canon Canon EOS 5D` or `NIKON CORPORATION NIKON D70`."""
    makers = [each for each in found if each[0].lower().endswith(("make", "manufacturer"))]
    maker, model = first_text(makers) or "", first_text([each for each in found if each not in makers]) or ""
    first_word = re.match(r"[^\W_]+", model)
    repeated = first_word is not None and first_word[0].casefold() in re.split(r"[\W_]+", maker.casefold())
    return (model if repeated else f"{maker} {model}".strip()) or None


def lens(found: Found) -> str | None:
    """The model of the lens, or its focal lengths and apertures, as in `24-70mm f/2.8`."""
    for name, value in found:
        is_specification = name.endswith(("LensSpecification", "LensInfo"))
        text = _lens_of(_numbers(value)) if is_specification else clean(_first(value))
        if text and not _NO_LENS.fullmatch(text):
            return text
    return None


def _lens_of(numbers: list[float]) -> str:
    """`numbers`: shortest and longest focal length in mm, and the smallest f-number at each. EXIF writes n/0 for unknown."""
    if len(numbers) != 4:
        return ""
    lengths = [number for number in numbers[:2] if 1 < number <= _MAX_MILLIMETRES]
    apertures = [number for number in numbers[2:] if 0 < number <= _MAX_F_NUMBER]
    parts = [f"{_span(lengths)}mm" if lengths else "", f"f/{_span(apertures)}" if apertures and lengths else ""]
    return " ".join(part for part in parts if part)


def _span(numbers: list[float]) -> str:
    return "-".join(dict.fromkeys(f"{number:.4g}" for number in numbers))


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def _numbers(value: Any) -> list[float]:
    """Numbers, also as XMP writes them: `24/1 70/1 28/10 0/0`. NaN if they are none."""
    each = value.split() if isinstance(value, str) else value if isinstance(value, tuple) else (value,)
    return [_number(part) for part in each[:8]]


def _number(part: Any) -> float:
    if isinstance(part, int | float):
        return float(part) if math.isfinite(part) else math.nan
    match = re.fullmatch(r"(-?\d{1,12}(?:\.\d{1,12})?)(?:/(\d{1,12}))?", part.strip(), re.ASCII) if isinstance(part, str) else None
    if match is None or (match[2] and int(match[2]) == 0):
        return math.nan
    return float(match[1]) / int(match[2] or 1)
