"""Reads XMP, of a picture, a film or a sidecar, into exiv2's names, such as `Xmp.dc.description`.

defusedxml refuses entities, which could make a small file huge, or read others. Structures are left out, except the names of people.
"""

import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from media.metadata.texts import clean, distinct

MAX_BYTES = 4 << 20  # Lightroom's records of edits reach one MiB
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_PREFIXES = {  # exiv2's, by namespace
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
    "http://cipa.jp/exif/1.0/": "exifEX",
    "http://ns.adobe.com/lightroom/1.0/": "lr",
    "http://ns.google.com/photos/1.0/panorama/": "GPano",
    "http://ns.adobe.com/xmp/1.0/DynamicMedia/": "xmpDM",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "iptc",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "iptcExt",
    "http://ns.microsoft.com/photo/1.0": "MicrosoftPhoto",
    "http://ns.microsoft.com/photo/1.0/": "MicrosoftPhoto",
    "http://ns.microsoft.com/photo/1.2/": "MP",
    "http://ns.microsoft.com/photo/1.2/t/RegionInfo#": "MPRI",
    "http://ns.microsoft.com/photo/1.2/t/Region#": "MPReg",
    "http://www.metadataworkinggroup.com/schemas/regions/": "mwg-rs",
    "http://www.digikam.org/ns/1.0/": "digiKam",
    "http://ns.acdsee.com/iptc/1.0/": "acdsee",
}
# A packet without its wrapping, padding, or the parts that a program cut off wrongly.
_PACKET = re.compile(rb"<(\w+:xmpmeta|\w+:xapmeta|rdf:RDF)\b.*</\1\s*>", re.DOTALL)
_REGIONS = {"Xmp.mwg-rs.Regions": "Xmp.mwg-rs.Name", "Xmp.MP.RegionInfo": "Xmp.MPReg.PersonDisplayName"}  # structure: name in it


def xmp_tags(data: bytes) -> dict[str, Any]:
    """The tags of a packet: str, or a tuple of str. Of a text in several languages, the default. Nothing if it is no XMP or too large."""
    root = _parse(data)
    tags: dict[str, Any] = {}
    for description in () if root is None else _descriptions(root):
        for name, value in _properties(description):
            if value:
                tags.setdefault(name, value)
    return tags


def _parse(data: bytes) -> Element | None:
    import defusedxml.ElementTree

    if len(data) > MAX_BYTES:
        return None
    if data.startswith(_UTF_16):
        data = data.decode("utf-16", "replace").encode()
    packet = _PACKET.search(data)
    for part in (data.strip(b"\0 \r\n\t"), packet and packet[0]):
        try:
            if part:
                return defusedxml.ElementTree.fromstring(part)
        except (ParseError, ValueError, LookupError):  # LookupError: an unknown encoding
            pass
    return None


def _descriptions(root: Element) -> Iterator[Element]:
    for rdf in root.iter(f"{_RDF}RDF"):
        yield from rdf.iterfind(f"{_RDF}Description")


def _properties(element: Element, *, nested: bool = True) -> Iterator[tuple[str, Any]]:
    """The properties of a description or a structure: written as attributes, as elements, or nested in one more description."""
    for key, value in element.attrib.items():
        if name := _name(key):
            yield name, clean(value)
    for child in element:
        if child.tag == f"{_RDF}Description" and nested:
            yield from _properties(child, nested=False)
        elif name := _name(child.tag):
            yield name, _people(child, _REGIONS[name]) if name in _REGIONS else _value(child)


def _name(tag: object) -> str:
    namespace, _, name = tag[1:].partition("}") if isinstance(tag, str) and tag.startswith("{") else ("", "", "")
    return f"Xmp.{_PREFIXES[namespace]}.{name}" if namespace in _PREFIXES else ""


def _value(element: Element) -> Any:
    """A text; of a list, a tuple of texts; of alternatives, the default one."""
    for kind in ("Alt", "Bag", "Seq"):
        if (items := element.find(f"{_RDF}{kind}")) is not None:
            texts = [(item.get(_LANGUAGE), clean(item.text)) for item in items if not len(item)]
            default = [text for language, text in texts if language == "x-default" and text]
            several = distinct(default + [text for _, text in texts])
            return several[0] if kind == "Alt" and several else several
    return clean(element.text) or clean(element.get(f"{_RDF}resource")) or clean(element.findtext(f"{_RDF}value"))


def _people(regions: Element, name: str) -> tuple[str, ...]:
    """The names of the faces among the regions of a picture. Other regions are pets, bar codes or where the camera focused."""
    found = [dict(_properties(item)) for item in regions.iter(f"{_RDF}li")]
    return distinct(each.get(name) for each in found if each.get("Xmp.mwg-rs.Type", "Face") == "Face")
