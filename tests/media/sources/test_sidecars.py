import pytest

from media.sources.sidecars import sidecars_of

LONG = "a" * 60 + ".jpg"


@pytest.mark.parametrize(
    ("media", "sidecar"),
    [
        ("IMG_1.jpg", "IMG_1.jpg.xmp"),
        ("IMG_1.jpg", "IMG_1.xmp"),
        ("IMG_1.CR2", "IMG_1.XMP"),
        ("IMG_1.jpg", "IMG_1.jpg.json"),
        ("IMG_1.jpg", "IMG_1.jpg.supplemental-metadata.json"),
        ("IMG_1(1).jpg", "IMG_1.jpg(1).json"),
        ("IMG_1(1).jpg", "IMG_1.jpg.supplemental-metadata(1).json"),
        ("IMG_1(1).jpg", "IMG_1(1).jpg.json"),
        ("IMG_1-edited.jpg", "IMG_1.jpg.json"),
        ("IMG_1-bearbeitet(2).jpg", "IMG_1.jpg.supplemental-metadata(2).json"),
        ("Screenshot_20230101-120000_Some App.jpg", "Screenshot_20230101-120000_Some App.jpg.supple.json"),
        ("b" * 38 + ".jpeg", "b" * 38 + ".jpeg.su.json"),
        ("b" * 40 + ".jpeg", "b" * 40 + ".jpeg..json"),
        ("b" * 45 + ".jpeg", "b" * 45 + "..json"),
        ("a" * 47 + ".jpg", "a" * 46 + ".json"),
        ("a" * 47 + "(1).jpg", "a" * 46 + "(1).json"),
        ("😀" * 30 + ".jpg", "😀" * 23 + ".json"),
        ("no-suffix", "no-suffix.xmp"),
        (".hidden", ".hidden.xmp"),
    ],
)
def test_a_sidecar_is_found_by_its_name(media, sidecar):
    assert sidecars_of([sidecar, media, "other.jpg"]) == {media: (sidecar,)}


@pytest.mark.parametrize(
    "names",
    [
        ["a.jpg", "b.jpg.xmp", "b.json"],
        ["a.jpg", "metadata.json", "a.jpeg.json"],
        ["a(1).jpg", "a.jpg.json"],
        ["a.jpg", "a.jpg(1).json"],
        ["a.jpg", "a.jpg.metadata.json"],
    ],
)
def test_a_file_of_another_name_is_no_sidecar(names):
    assert sidecars_of(names) == {}


def test_xmp_comes_before_json_and_the_longer_name_first():
    names = ["a.jpg.json", "a.xmp", "a.jpg", "a.jpg.xmp"]
    assert sidecars_of(names) == {"a.jpg": ("a.jpg.xmp", "a.xmp", "a.jpg.json")}


def test_both_parts_of_a_motion_photo_share_the_json_of_the_picture():
    names = ["IMG_2.HEIC", "IMG_2.MP4", "IMG_2.HEIC.supplemental-metadata.json"]
    assert sidecars_of(names) == dict.fromkeys(["IMG_2.HEIC", "IMG_2.MP4"], ("IMG_2.HEIC.supplemental-metadata.json",))


def test_numbered_pictures_each_have_their_own_file():
    names = ["a.jpg", "a(1).jpg", "a.jpg.json", "a.jpg(1).json"]
    assert sidecars_of(names) == {"a.jpg": ("a.jpg.json",), "a(1).jpg": ("a.jpg(1).json",)}
