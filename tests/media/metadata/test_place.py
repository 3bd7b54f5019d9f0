from concurrent.futures import ThreadPoolExecutor

import pytest

from media.metadata.place import place_of


@pytest.mark.parametrize(
    ("latitude", "longitude", "place"),
    [
        (48.8584, 2.2945, "Paris, Île-de-France, France"),  # the Eiffel Tower; the nearest middle of a town is that of Vanves
        (-33.8568, 151.2153, "Sydney, New South Wales, Australia"),
        (52.5163, 13.3777, "Berlin, State of Berlin, Germany"),
        (41.9022, 12.4539, "Vatican City, Holy See (Vatican City State)"),  # not Rome, though near its middle
        (47.5383, -2.8919, "Arzon, Brittany, France"),
        (78.2232, 15.6267, "Longyearbyen, Svalbard, Svalbard and Jan Mayen"),
        (48.8014, 2.1301, "Versailles, Île-de-France, France"),
    ],
)
def test_a_place_is_the_city_that_people_would_name(latitude, longitude, place):
    assert place_of(latitude, longitude) == place


@pytest.mark.parametrize(("latitude", "longitude"), [(0.0, -30.0), (-77.85, 166.67), (89.9, 0.0), (-90.0, 180.0), (33.857, 151.21)])
def test_far_from_any_city_there_is_no_place(latitude, longitude):
    assert place_of(latitude, longitude) is None


def test_threads_get_the_same_places():
    places = [(48.85 + step / 1000, 2.35) for step in range(50)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda where: place_of.__wrapped__(*where), places)) == [place_of(*where) for where in places]
