import pytest

from media.metadata.iptc import iptc_of_photoshop, iptc_tags
from tests.media.metadata.builders import iim, photoshop


def test_tags_have_exiv2_names_and_repeated_ones_are_tuples():
    data = b"\x1c\x01\x5a\x00\x03\x1b%G" + iim((5, "Title"), (25, "one"), (25, "zwei, drei"), (120, "Café"), (55, "20190704"), (200, "?"))
    assert iptc_tags(data) == {
        "Iptc.Application2.ObjectName": "Title",
        "Iptc.Application2.Keywords": ("one", "zwei, drei"),
        "Iptc.Application2.Caption": "Café",
        "Iptc.Application2.DateCreated": "20190704",
    }


def test_text_that_is_not_utf_8_is_western():
    assert iptc_tags(iim((120, b"Caf\xe9"))) == {"Iptc.Application2.Caption": "Café"}


@pytest.mark.parametrize(
    "data",
    [b"", b"\x1c", b"\x1c\x02\x05", b"rubbish", b"\x1c\x02\x05\xff\xff" + bytes(50), iim((25, "")) * 100_000, iim((25, "x"))[:-1] + b"\0"],
)
def test_damage_gives_no_tags(data):
    assert iptc_tags(data) == {}


def test_what_comes_before_the_damage_is_read():
    assert iptc_tags(iim((5, "Title")) + b"\x1c\x02\x78\x80\x04") == {"Iptc.Application2.ObjectName": "Title"}


def test_the_block_is_found_among_the_resources_of_photoshop():
    assert iptc_of_photoshop(photoshop(b"block")) == b"block"
    start = photoshop(b"block").index(b"block")
    assert {iptc_of_photoshop(photoshop(b"block")[:cut]) for cut in range(start)} == {b""}
