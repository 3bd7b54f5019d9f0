import subprocess
import sys
from pathlib import PurePath

import pytest

from media.formats import AMBIGUOUS, FORMATS, KNOWN_UNREADABLE, format_of, suffixes


def test_no_suffix_belongs_to_two_formats():
    listed = [suffix for known in FORMATS for suffix in known.suffixes]
    assert len(listed) == len(set(listed))
    assert set(listed) == suffixes() == suffixes("image") | suffixes("video")
    assert not suffixes("image") & suffixes("video")


def test_media_type_and_kind_agree():
    assert all(known.media_type.startswith(f"{known.kind}/") or known.name == "MXF" for known in FORMATS)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in suffixes() | KNOWN_UNREADABLE)
    assert not suffixes() & KNOWN_UNREADABLE
    assert suffixes() >= AMBIGUOUS


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b.JPEG", "JPEG"),
        (PurePath("b.tar.webp"), "WebP"),
        ("/x.mp4/notes.txt", None),
        ("s3://bucket/film.MTS", "MPEG transport stream"),
        (".png", None),
        ("png", None),
        ("", None),
    ],
)
def test_the_suffix_names_the_format(path, name):
    known = format_of(path)
    assert (known and known.name) == name


def test_browsers_show_the_formats_of_the_web():
    shown = {known.name for known in FORMATS if known.browsers_show}
    pictures, films = (
        {"JPEG", "PNG", "WebP", "GIF", "BMP", "AVIF", "SVG", "Icon"},
        {"MPEG-4", "QuickTime", "Matroska", "WebM", "Ogg", "3GPP"},
    )
    assert shown == pictures | films
    assert {known.name for known in FORMATS if known.animated} == {"GIF", "PNG", "WebP", "AVIF"}


def test_importing_formats_loads_no_other_package():
    program = "import sys; import media.formats; print([name for name in ('PIL', 'numpy', 'av', 'torch') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
