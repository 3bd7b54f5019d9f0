import json

import pytest

from media.metadata.sidecars import read_sidecars, takeout_tags
from tests.media.metadata.builders import xmp

TAKEOUT = {
    "title": "IMG_1.jpg",
    "description": "At the lake",
    "creationTime": {"timestamp": "1700000000"},
    "photoTakenTime": {"timestamp": "1562236496", "formatted": "Jul 4, 2019"},
    "geoData": {"latitude": 47.5, "longitude": -2.9, "altitude": 0.0},
    "geoDataExif": {"latitude": 0.0, "longitude": 0.0},
    "people": [{"name": "Ada"}, {"name": "Grace"}],
    "favorited": True,
}


def encoded(**changes):
    return json.dumps({name: value for name, value in (TAKEOUT | changes).items() if value is not None}).encode()


def test_the_json_of_takeout_is_read():
    assert takeout_tags(encoded()) == {
        "Takeout.photoTakenTime": "2019-07-04 10:34:56Z",
        "Takeout.description": "At the lake",
        "Takeout.people": ("Ada", "Grace"),
        "Takeout.favorited": 5,
        "Takeout.geoData.latitude": 47.5,
        "Takeout.geoData.longitude": -2.9,
        "Takeout.geoDataExif.latitude": 0.0,
        "Takeout.geoDataExif.longitude": 0.0,
    }


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"photoTakenTime": {"timestamp": "0"}}, "photoTakenTime"),
        ({"photoTakenTime": {"timestamp": "soon"}}, "photoTakenTime"),
        ({"photoTakenTime": {"timestamp": 10**30}}, "photoTakenTime"),
        ({"photoTakenTime": {"timestamp": 1e400}}, "photoTakenTime"),
        ({"photoTakenTime": []}, "photoTakenTime"),
        ({"photoTakenTime": {"timestamp": None}}, "photoTakenTime"),
        ({"description": ""}, "description"),
        ({"description": None}, "description"),
        ({"people": []}, "people"),
        ({"people": "Ada"}, "people"),
        ({"people": [{"name": 5}, "x", None, {}]}, "people"),
        ({"favorited": False}, "favorited"),
        ({"geoData": None}, "geoData.latitude"),
        ({"geoData": [1, 2]}, "geoData.latitude"),
    ],
)
def test_a_value_that_is_no_value_is_left_out(changes, missing):
    found = takeout_tags(encoded(**changes))
    assert f"Takeout.{missing}" not in found
    assert found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no JSON",
        b"[]",
        b"null",
        b'[{"SourceFile": "IMG_1.jpg"}]',
        b'{"title": "of something else"}',
        b'{"photoTakenTime": ' + b"[" * 100_000,
        b'{"photoTakenTime": {"timestamp": ' + b"9" * 10_000 + b"}}",
        b"\xff\xfe\xfd",
        encoded(description="x" * (5 << 20)),
    ],
)
def test_other_json_damaged_and_huge_files_give_no_tags(data):
    assert takeout_tags(data) == {}


@pytest.mark.parametrize("value", [{"a": 1}, ["a"], "\ud800", 5, True])
def test_values_of_other_types_do_no_harm(value):
    changes = dict.fromkeys(("description", "people", "geoData", "geoDataExif", "favorited"), value)
    assert "Takeout.photoTakenTime" in takeout_tags(encoded(**changes))


def test_xmp_comes_first_and_of_two_the_one_with_the_whole_name():
    found = read_sidecars(
        {
            "s3://bucket/IMG_1.jpg.json": encoded(),
            "/pictures/IMG_1.xmp": xmp('xmp:Rating="1"'),
            "C:\\pictures\\IMG_1.jpg.xmp": xmp('xmp:Rating="2"'),
            "/pictures/other.xmp": b"damaged",
        }
    )
    assert [(sidecar.name, sidecar.is_takeout) for sidecar in found] == [
        ("IMG_1.jpg.xmp", False),
        ("IMG_1.xmp", False),
        ("IMG_1.jpg.json", True),
    ]
