"""Formats told by their first bytes."""

import gzip
import io
import struct

import pytest
from PIL import Image

from media.formats import AMBIGUOUS, KNOWN_UNREADABLE, format_of, other_content, sniff, true_format
from tests.rare_pictures import encoded, raw_of_camera


def box(brand, *others):
    return struct.pack(">I4s4sI", 16 + 4 * len(others), b"ftyp", brand, 0) + b"".join(others) + bytes(64)


def name_of(head):
    known = sniff(head[:4096])
    return known and known.name


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (box(b"heic", b"mif1"), "HEIC"),
        (box(b"mif1", b"heic"), "HEIC"),
        (box(b"mif1", b"miaf", b"avif"), "AVIF"),
        (box(b"mif1", b"miaf") + b"....av01", "AVIF"),
        (box(b"avif", b"mif1"), "AVIF"),
        (box(b"avis", b"avif", b"msf1"), "AVIF"),
        (box(b"msf1", b"hevc"), "HEIC"),
        (box(b"heix"), "HEIC"),
        (box(b"crx ", b"isom"), "Camera raw"),
        (box(b"isom", b"iso2", b"avc1", b"mp41"), "MPEG-4"),
        (box(b"avc1", b"isom"), "MPEG-4"),
        (box(b"mp42", b"mif1"), "MPEG-4"),
        (box(b"M4V "), "MPEG-4"),
        (box(b"M4A "), None),
        (box(b"qt  "), "QuickTime"),
        (box(b"3gp5", b"isom"), "3GPP"),
        (box(b"3g2a"), "3GPP"),
        (b"\0\0\0\x08wide\0\0\1\0mdat", "QuickTime"),
        (b"\0\0\1\0moov\0\0\0\x6cmvhd", "QuickTime"),
        (b"RIFF\0\1\0\0WEBPVP8 ", "WebP"),
        (b"RIFF\0\1\0\0AVI LIST", "AVI"),
        (b"RIFF\0\1\0\0WAVEfmt ", None),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\x82\x84webm", "WebM"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\x82\x88matroska", "Matroska"),
        (b"OggS\0\2" + bytes(22) + b"\x80theora", "Ogg"),
        (b"OggS\0\2" + bytes(22) + b"\x01vorbis", None),
        (b"II*\0\x10\0\0\0CR\2\0", "Camera raw"),
        (b"FUJIFILMCCD-RAW 0201", "Camera raw"),
        (b"IIRO\x08\0\0\0", "Camera raw"),
        (b"MM\0+\0\x08\0\0", "TIFF"),
        (b"\xff\x4f\xff\x51\0\x29", "JPEG 2000"),
        (b"8BPS\0\1", "Photoshop"),
        (b"8BPS\0\2", "Photoshop"),
        (b"G" + bytes(187) + b"G" + bytes(187) + b"G" + bytes(187) + b"G" + bytes(187) + b"G" + bytes(187), "MPEG transport stream"),
        ((bytes(4) + b"G" + bytes(187)) * 6, "MPEG transport stream"),
        (b"G" * 4096, None),
        (b"\0\0\1\xba\x44", "MPEG"),
        (b"\0\0\0\1\x67\x64\0\x1f", "H.264 or H.265 stream"),
        (b"\0\0\0\1\x40\1\x0c\1", "H.264 or H.265 stream"),
        (b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0", "Icon"),
        (b"\0\0\2\0\1\0\x20\x20\0\0\1\0\1\0", "Icon"),
        (b"\0\0\2\0\0\0\0\0\0\0\0\0\x40\0\x40\0\x18\0", None),  # an uncompressed Targa
        (b"BM" + bytes(12) + b"\x28\0\0\0", "BMP"),
        (b"BMW is a maker of cars in Munich, Bavaria.", None),
        (b"P6\n# a comment\n64 40\n255\n", "Netpbm"),
        (b"P.S.: see you", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a\nb --><!DOCTYPE svg [<!ENTITY a 'b'>]>\n<svg:svg ", "SVG"),
        ("<?xml version='1.0' encoding='utf-16'?><svg ".encode("utf-16"), "SVG"),
        (gzip.compress(b"<svg/>", mtime=0), "SVG"),
        (gzip.compress(b"a text", mtime=0), None),
        (b"<!DOCTYPE html><html><svg>", None),
        (b"import { a } from './b';\n", None),
        (b"module example.com/x\n", None),
        (b"%!PS-Adobe-3.0", None),
        (b"", None),
        (b"\xff\xd8\xff", "JPEG"),
    ],
)
def test_the_first_bytes_tell_the_format(head, name):
    assert name_of(head) == name


@pytest.mark.parametrize(
    ("file_format", "name"),
    [
        *(("JPEG", "JPEG"), ("PNG", "PNG"), ("GIF", "GIF"), ("BMP", "BMP"), ("DIB", None), ("TIFF", "TIFF"), ("WEBP", "WebP")),
        *(("AVIF", "AVIF"), ("HEIF", "HEIC"), ("JXL", "JPEG XL"), ("JPEG2000", "JPEG 2000"), ("ICO", "Icon"), ("ICNS", "Apple icon")),
        *(("PPM", "Netpbm"), ("QOI", "QOI"), ("PCX", "PCX"), ("SGI", "SGI"), ("DDS", "DirectDraw"), ("TGA", None)),
    ],
)
def test_what_pillow_writes_is_told(file_format, name):
    assert name_of(encoded(Image.new("RGB", (64, 64), "red"), file_format)) == name


def test_a_raw_file_is_told_from_a_tiff_by_its_tags():
    data = raw_of_camera(Image.new("RGB", (96, 64)))
    moved = data[:4] + struct.pack("<I", 8) + data[int.from_bytes(data[4:8], "little") :]  # the directory at the start, as in cameras
    assert name_of(moved) == "Camera raw"
    assert name_of(encoded(Image.new("RGB", (64, 64)), "TIFF")) == "TIFF"


@pytest.mark.parametrize(
    ("path", "head", "name"),
    [
        ("a.heic", b"\xff\xd8\xff\xe0", "JPEG"),
        ("a.nef", b"II*\0\x08\0\0\0\0\0", "Camera raw"),  # a raw file is a TIFF
        ("a.tif", b"II*\0\x08\0\0\0\0\0", "TIFF"),
        ("a.mjpeg", b"\xff\xd8\xff\xe0", "Motion JPEG"),
        ("a.tga", b"\0\0\2\0", "Targa"),
        ("a.mp4", b"not a film", "MPEG-4"),
        ("a", b"GIF89a", "GIF"),
        ("a.txt", b"not a film", None),
        ("a.jpg_original", b"", "JPEG"),
    ],
)
def test_the_suffix_counts_where_the_bytes_do_not_tell(path, head, name):
    known = true_format(path, head)
    assert (known and known.name) == name


def test_no_text_takes_exponential_time():
    for text in (b"<!---->" * 600, b"<?a?>" * 800, b" " * 4096, b"<!DOCTYPE [" * 300, b"P6 #" * 1000, b"P6\n" + b"#\n" * 2000):
        assert name_of(text) is None


def test_ambiguous_and_unreadable_suffixes_are_apart():
    assert all(format_of(f"a{suffix}") for suffix in AMBIGUOUS)
    assert not any(format_of(f"a{suffix}") for suffix in KNOWN_UNREADABLE)


def test_damaged_heads_are_told_without_an_error():
    whole = [encoded(Image.new("RGB", (64, 64), "red"), file_format)[:300] for file_format in ("TIFF", "WEBP", "AVIF", "ICO")]
    for head in whole:
        for length in range(len(head)):
            sniff(head[:length])
            sniff(io.BytesIO(head[length:]).read())


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (b"", "It is empty."),
        (bytes(4096), "It consists of zeros: the copy or download was not finished."),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>", "It is a web page: the download was refused, or the link is wrong."),
        (b"PK\3\4" + bytes(20), "It is a ZIP archive or an office document."),
        (b"\x89PNG\r\n\x1a\n", ""),
    ],
)
def test_what_is_neither_picture_nor_film_is_named(head, sentence):
    assert other_content(head) == sentence
