"""Bytes of picture formats that no library here can write, built from their specifications, for tests."""

import io
import struct

import numpy as np
from PIL import Image


def encoded(picture, file_format, **options):
    """A Pillow image in a format of Pillow, HEIC ("HEIF") or JPEG XL ("JXL")."""
    buffer = io.BytesIO()
    if file_format == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()  # writes the orientation into the container, unlike `HeifFile.save`
    if file_format == "JXL":
        import pillow_jxl  # noqa: F401 it registers the format in Pillow

        options = {key: value.tobytes() if isinstance(value, Image.Exif) else value for key, value in options.items()}
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def raw_of_camera(picture, *, orientation=1, preview=True):
    """A DNG 1.4: a JPEG preview in the first directory, and the values of a Bayer sensor in a sub-directory."""
    rgb = np.asarray(picture.convert("RGB")).astype(np.uint16) * 256
    sensor = rgb[..., 1].copy()
    sensor[::2, ::2], sensor[1::2, 1::2] = rgb[::2, ::2, 0], rgb[1::2, 1::2, 2]  # RGGB
    height, width = sensor.shape
    jpeg = encoded(picture, "JPEG", quality=95)
    out = io.BytesIO(b"II*\0" + struct.pack("<I", 8))
    out.seek(0, io.SEEK_END)

    def put(data):
        at = out.seek(0, io.SEEK_END)
        out.write(data + b"\0" * (len(data) % 2))
        return at

    def directory(tags):
        """Write values that need more than 4 bytes, then the directory; return its position."""
        codes = {"B": 1, "s": 2, "H": 3, "I": 4, "R": 5, "r": 10}
        entries = b""
        for tag, (kind, *values) in sorted(tags.items()):
            if kind == "s":
                data, number = values[0] + b"\0", len(values[0]) + 1
            elif kind in "Rr":
                form = "<II" if kind == "R" else "<ii"
                data, number = b"".join(struct.pack(form, value, 10000) for value in values), len(values)
            else:
                data, number = struct.pack(f"<{len(values)}{kind}", *values), len(values)
            field = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<I", put(data))
            entries += struct.pack("<HHI", tag, codes[kind], number) + field
        return put(struct.pack("<H", len(tags)) + entries + bytes(4))

    sensor_at, jpeg_at = put(sensor.tobytes()), put(jpeg)
    strip = lambda at, size: {273: ("I", at), 278: ("I", height), 279: ("I", size)}  # noqa: E731
    raw = directory(
        {254: ("I", 0), 256: ("I", width), 257: ("I", height), 258: ("H", 16), 259: ("H", 1), 262: ("H", 32803), 277: ("H", 1)}
        | {33421: ("H", 2, 2), 33422: ("B", 0, 1, 1, 2), 50717: ("I", 65535)}
        | strip(sensor_at, sensor.nbytes)
    )
    first = {254: ("I", 1), 256: ("I", width), 257: ("I", height), 258: ("H", 8, 8, 8), 259: ("H", 7), 262: ("H", 6), 277: ("H", 3)}
    first |= strip(jpeg_at, len(jpeg)) if preview else {}
    main = directory(
        (first if preview else {254: ("I", 1)})
        | {271: ("s", b"Maker"), 272: ("s", b"Model"), 274: ("H", orientation), 330: ("I", raw), 50706: ("B", 1, 4, 0, 0)}
        | {50721: ("r", *(10000 if i % 4 == 0 else 0 for i in range(9))), 50708: ("s", b"Maker Model"), 50778: ("H", 21)}
        | {50728: ("R", 10000, 10000, 10000)}
    )
    data = bytearray(out.getvalue())
    data[4:8] = struct.pack("<I", main)
    return bytes(data)


def photoshop(picture, *, merged=True, big=False, packed=False, depth=8, layers=None):
    """A PSD or PSB with a merged picture. Photoshop states in resource 1057 whether that picture is real.

    RGBA has a fourth channel. It is transparency if the number of `layers` is negative. A `depth` of 32 bits has floats.
    """
    picture = picture if picture.mode in {"RGBA", "L"} else picture.convert("RGB")
    bands = picture.split()
    version_info = struct.pack(">IB", 1, merged) + bytes(12)
    resources = b"8BIM" + struct.pack(">HHI", 1057, 0, len(version_info)) + version_info + b"\0" * (len(version_info) % 2)
    pixels = np.stack([np.asarray(band) for band in bands])  # (S, H, W)
    pixels = pixels if depth == 8 else (pixels.astype(np.uint16) * 257).astype(">u2") if depth == 16 else (pixels / 255).astype(">f4")
    planes = pixels.tobytes()
    if packed:  # each row as runs of at most 128 bytes that are not repeated, after the lengths of all rows
        width = picture.width * depth // 8
        rows = [planes[at : at + width] for at in range(0, len(planes), width)]
        rows = [b"".join(bytes([len(run) - 1]) + run for run in (row[at : at + 128] for at in range(0, width, 128))) for row in rows]
        planes = struct.pack(f">{len(rows)}{'I' if big else 'H'}", *map(len, rows)) + b"".join(rows)
    mode = 1 if picture.mode == "L" else 3
    header = b"8BPS" + struct.pack(">H6xHIIHH", 2 if big else 1, len(bands), picture.height, picture.width, depth, mode)
    length = ">Q" if big else ">I"
    about_layers = b"" if layers is None else struct.pack(length, 2) + struct.pack(">h", layers)
    about_layers = struct.pack(length, len(about_layers)) + about_layers
    return header + bytes(4) + struct.pack(">I", len(resources)) + resources + about_layers + struct.pack(">H", packed) + planes
