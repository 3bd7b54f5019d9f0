"""Sidecars: files beside a picture or film that describe it, found by their names alone.

| For `IMG_1.jpg` | Written by |
|---|---|
| `IMG_1.jpg.xmp` | darktable, digiKam, Immich |
| `IMG_1.xmp` | Lightroom, Bridge, Capture One |
| `IMG_1.jpg.json`, `IMG_1.jpg.supplemental-metadata.json` | Google Takeout |

Google Takeout cuts the part before `.json` to 46 characters, puts the number of `IMG_1(1).jpg` at the end (`IMG_1.jpg(1).json`),
and writes one file for a picture and its edited copy (`IMG_1-edited.jpg`), and for the two parts of a motion photo.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

_LONG = ".supplemental-metadata"
_MOST_CHARACTERS = 46
_NUMBER = re.compile(r"\(\d+\)$")
# Google Takeout marks edited copies in the language of the account.
_EDITED = re.compile("-(edited|effects|smile|mix|edytowane|bearbeitet|bewerkt|編集済み|modificato|modifié|ha editado|editado|editat)$")


def is_sidecar(name: str) -> bool:
    """Whether a file can be a sidecar by its name."""
    return name.lower().endswith((".xmp", ".json"))


def sidecars_of(names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """The sidecars of each file of a folder, by the names of all its files. A file without one is left out.

    XMP files come first, then those of Google Takeout.
    """
    others: list[str] = []
    sidecars: dict[str, list[str]] = defaultdict(list)  # by the name without suffix
    for name in sorted(names):
        if is_sidecar(name):
            stem, _, suffix = name.rpartition(".")
            sidecars[f"{stem}.{suffix.lower()}"].append(name)
        else:
            others.append(name)
    if not sidecars:
        return {}
    found = {name: tuple(_of(name, sidecars)) for name in others}
    twins = _by_stem(found)
    for name, own in found.items():
        if not any(each.lower().endswith(".json") for each in own):
            found[name] = own + twins.get(_stem(name), ())
    return {name: own for name, own in found.items() if own}


def _of(name: str, sidecars: Mapping[str, list[str]]) -> Iterator[str]:
    for xmp in dict.fromkeys((f"{name}.xmp", f"{_stem(name)}.xmp")):
        yield from sidecars.get(xmp, ())
    for title in _titles(name):
        if written := [each for json in _takeout(title) for each in sidecars.get(json, ())]:
            yield from written
            return


def _titles(name: str) -> Iterator[tuple[str, str]]:
    """The names and numbers under which Google Takeout may have described a file, the likeliest first."""
    stem, suffix = _stem(name), name.removeprefix(_stem(name))
    bare = _NUMBER.sub("", stem)
    number = stem.removeprefix(bare)
    yield name, ""
    if number:
        yield bare + suffix, number
    if (original := _EDITED.sub("", bare)) != bare:
        yield original + number + suffix, ""
        yield original + suffix, number


def _takeout(title: tuple[str, str]) -> Iterator[str]:
    """The names of the JSON file of a title, whole and cut. Not all exports cut at the same length."""
    name, number = title
    for length in range(len(_LONG), -1, -1):
        yield f"{name}{_LONG[:length]}{number}.json"
    if (cut := _cut(name)) != name:
        yield f"{cut}{number}.json"


def _cut(name: str) -> str:
    """The first 46 units of UTF-16, without half a character."""
    return name.encode("utf-16-le", errors="surrogatepass")[: 2 * _MOST_CHARACTERS].decode("utf-16-le", errors="ignore")


def _by_stem(found: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    """The JSON files of pictures by their name without suffix: the film of a motion photo has none of its own."""
    twins: dict[str, tuple[str, ...]] = {}
    for name, own in found.items():
        if described := tuple(each for each in own if each.lower().endswith(".json")):
            twins.setdefault(_stem(name), described)
    return twins


def _stem(name: str) -> str:
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name
