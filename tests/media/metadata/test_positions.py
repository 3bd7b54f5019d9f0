import math

import pytest

from media.metadata.positions import iso_6709, position

NAN = float("nan")
SYDNEY = (pytest.approx(-33.856944, abs=2e-5), pytest.approx(151.21, abs=2e-5))


@pytest.mark.parametrize(
    ("latitude", "longitude", "refs"),
    [
        ((33.0, 51.0, 25.0), (151.0, 12.0, 36.0), ("S", "E")),
        ((33.0, 51.0, 25.0), (151.0, 12.0, 36.0), ("s", "e")),
        ((33.0, 51.0, 25.0), (151.0, 12.0, 36.0), (" South", "East")),
        ((33, 51, 25), (151, 12, 36), ("S", "E")),
        ((33.0, 51.41664, 0.0), (151.0, 12.6, 0.0), ("S", "E")),
        ((33.0, 51.41664), (151.0, 12.6), ("S", "E")),
        ((33.0, 51.41664, NAN), (151.0, 12.6, NAN), ("S", "E")),
        ((33.856944, NAN, NAN), (151.21, NAN, NAN), ("S", "E")),
        (33.856944, 151.21, ("S", "E")),
        (-33.856944, 151.21, ("S", "E")),
        (-33.856944, 151.21, ("N", "E")),
        (-33.856944, 151.21, ("", "")),
        ((-33.0, -51.0, -25.0), (151.0, 12.0, 36.0), ("", "")),
        ("33 deg 51' 25\" S", "151 deg 12' 36\" E", ("", "")),
        ("33°51'25\"S", "151°12'36\"E", ("", "")),
        ("33° 51′ 25″ S", "151° 12′ 36″ E", ("", "")),
        ("33,51.41664S", "151,12.6E", ("", "")),
        ("33,51,25S", "151,12,36E", ("", "")),
        ("S33.856944", "E151.21", ("", "")),
        ("-33.856944", "151.21", ("", "")),
        ("33.856944", "151.21", ("S", "E")),
    ],
)
def test_a_position_is_read_however_it_is_written(latitude, longitude, refs):
    assert position(latitude, longitude, latitude_ref=refs[0], longitude_ref=refs[1]) == SYDNEY


def test_a_position_without_references_is_north_and_east():
    assert position((33.0, 51.0, 25.0), (151.0, 12.0, 36.0)) == (pytest.approx(33.856944), pytest.approx(151.21))


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        (47.0, None),
        (None, 8.0),
        ("", "8.5"),
        (0.0, 0.0),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((0.0, 0.0, 1.0), (0.0, 0.0, 2.0)),
        ((NAN, NAN, NAN), (NAN, NAN, NAN)),
        ((33.0, NAN, NAN), (151.0, NAN, NAN)),
        ((33.0, NAN, 25.0), (151.0, 12.0, 36.0)),
        ((213.0, 38.0, 24.0), (103.0, 28.0, 48.0)),
        (91.0, 8.0),
        (47.0, 181.0),
        (math.inf, 8.0),
        (1e308, 1e308),
        ((1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0)),
        ((), ()),
        (("a", "b"), ("c", "d")),
        ("48,858N", "2,294E"),
        ("north", "east"),
        ("48.8; DROP TABLE", "2.3"),
        (b"48.8", b"2.3"),
    ],
)
def test_half_impossible_or_no_positions_are_nowhere(latitude, longitude):
    assert position(latitude, longitude) is None


def test_the_equator_and_the_meridian_of_greenwich_are_somewhere():
    assert position(0.0, 103.5) == (0.0, 103.5)
    assert position(51.48, 0.0) == (51.48, 0.0)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("+47.5383-002.8919/", (47.5383, -2.8919)),
        ("+47.5383-002.8919", (47.5383, -2.8919)),
        ("+36.1318-115.1517+621.989/", (36.1318, -115.1517)),
        ("+36.1318-115.1517+621.989CRSWGS_84/", (36.1318, -115.1517)),
        ("-33.8569+151.2100/", (-33.8569, 151.21)),
        ("+47-002/", (47.0, -2.0)),
        ("+4732.298-00253.514/", (47.538300, -2.891900)),
        ("+473217.88-0025330.84+012.3/", (47.5383, -2.8919)),
        ("+473218-0025331/", (47.538333, -2.891944)),
        ("+05.5000+100.5000/", (5.5, 100.5)),
        (" 48.8584, 2.2945 ", (48.8584, 2.2945)),
        ("-33.8569 151.21", (-33.8569, 151.21)),
    ],
)
def test_the_position_of_a_film_is_read(text, wanted):
    assert iso_6709(text) == (pytest.approx(wanted[0], abs=1e-6), pytest.approx(wanted[1], abs=1e-6))


@pytest.mark.parametrize(
    "text",
    ["", "Berlin", "+00.0000+000.0000/", "+91.0000+000.5000/", "+47.5383/", "47.5383-2.8919", "+47538300-2/", "+1" * 5000, None, 47.5],
)
def test_a_film_without_a_possible_position_is_nowhere(text):
    assert iso_6709(text) is None
