import subprocess
import sys
from pathlib import PurePath

import pytest

from media.formats import FORMATS, format_of, suffixes


def test_no_suffix_belongs_to_two_formats():
    listed = [suffix for known in FORMATS for suffix in known.suffixes]
    assert len(listed) == len(set(listed))
    assert set(listed) == suffixes() == suffixes("image") | suffixes("video")
    assert not suffixes("image") & suffixes("video")


def test_media_type_and_kind_agree():
    assert all(known.media_type.startswith(f"{known.kind}/") for known in FORMATS)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in suffixes())


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


def test_browsers_show_every_picture_but_tiff_and_only_videos_with_known_codecs():
    not_shown = {suffix for known in FORMATS if not known.browsers_show for suffix in known.suffixes}
    assert not_shown == {".tif", ".tiff", ".avi", ".mpg", ".mpeg", ".mts", ".wmv", ".flv"}


def test_importing_formats_loads_no_other_package():
    program = "import sys; import media.formats; print([name for name in ('PIL', 'numpy', 'av', 'torch') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
