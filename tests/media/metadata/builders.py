"""Writes metadata as cameras and programs do: EXIF by Pillow and by hand, XMP, IPTC, and pictures with them."""

import io
import struct

from PIL import Image

from media import read_picture

EXIF, GPS = 0x8769, 0x8825
NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "MPRI": "http://ns.microsoft.com/photo/1.2/t/RegionInfo#",
    "MPReg": "http://ns.microsoft.com/photo/1.2/t/Region#",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
}


def with_tags(image=(), photo=(), gps=()):
    """An EXIF block that Pillow writes: {tag number: value} of each group."""
    exif = Image.Exif()
    exif.update(dict(image))
    for pointer, tags in ((EXIF, photo), (GPS, gps)):
        if tags:  # libtiff cannot write an empty group
            exif.get_ifd(pointer).update(dict(tags))
    return exif


def block(*entries, order="<"):
    """An EXIF block with one directory, written by hand: entries of (tag, type, number of values, bytes)."""
    start = 8 + 2 + 12 * len(entries) + 4
    directory, data = struct.pack(order + "H", len(entries)), b""
    for tag, kind, count, value in entries:
        inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(order + "I", start + len(data))
        directory += struct.pack(order + "HHI", tag, kind, count) + inline
        data += value if len(value) > 4 else b""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + mark + struct.pack(order + "I", 8) + directory + bytes(4) + data


def text(tag, value, kind=2):
    """An entry of `block` with bytes."""
    return tag, kind, len(value), value


def xmp(attributes="", inner=""):
    """An XMP packet with one description."""
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    description = f'<rdf:Description rdf:about="" {attributes}>{inner}</rdf:Description>'
    return f'<?xpacket begin="\ufeff"?><x:xmpmeta {spaces}><rdf:RDF>{description}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'.encode()


def xmp_list(name, *items, kind="Bag"):
    return f"<{name}><rdf:{kind}>{''.join(f'<rdf:li>{item}</rdf:li>' for item in items)}</rdf:{kind}></{name}>"


def iim(*datasets):
    """An IPTC block: (number in record 2, text or bytes)."""
    values = [(number, value.encode() if isinstance(value, str) else value) for number, value in datasets]
    return b"".join(struct.pack(">BBBH", 0x1C, 2, number, len(value)) + value for number, value in values)


def photoshop(iptc):
    """Image resources of Photoshop: one with a name of odd length, one of odd size, and IPTC."""
    resources = ((0x03E8, b"abc", b"x"), (0x03F3, b"", bytes(9)), (0x0404, b"", iptc))
    parts = []
    for code, name, data in resources:
        head = b"8BIM" + struct.pack(">H", code) + bytes([len(name)]) + name + bytes((len(name) + 1) % 2)
        parts.append(head + struct.pack(">I", len(data)) + data + bytes(len(data) % 2))
    return b"".join(parts)


def picture(file_format="JPEG", *, size=(80, 40), iptc=b"", **options):
    """The bytes of a picture with metadata. `exif`, `xmp`, `pnginfo` as in Pillow."""
    stream = io.BytesIO()
    Image.new("RGB", size, "green").save(stream, file_format, **options)
    data = stream.getvalue()
    if iptc:
        segment = b"Photoshop 3.0\0" + photoshop(iptc)
        data = data[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    return data


def metadata_of(file_format="JPEG", **options):
    return read_picture(picture(file_format, **options)).metadata


def columns(metadata):
    """The metadata without the raw tags and the size."""
    return {name: value for name, value in metadata.items() if "." not in name and name not in {"width", "height", "duration_seconds"}}
