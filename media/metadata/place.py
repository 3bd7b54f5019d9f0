"""The nearest city to a position, with its region and country, from a table of GeoNames inside the package reverse-geocode."""

import math
import threading
from functools import lru_cache
from typing import Any

_MAX_KILOMETRES = 100  # farther away is the open sea, or a desert
_EARTH_RADIUS_KILOMETRES = 6371
_LARGE_CITY = 100_000  # inhabitants
_INHABITANTS_PER_KM2 = 10_000  # in the middle of a large city
_loading = threading.Lock()


@lru_cache(maxsize=4096)  # people take many pictures at one place
def place_of(latitude: float, longitude: float) -> str | None:
    """`City, Region, Country`; None if no city is near.

    The table also has quarters, such as The Rocks in Sydney, and suburbs, such as Vanves, which is nearer to the Eiffel Tower than the
    middle of Paris. So near the middle of a large city, the city counts.
    """
    with _loading:  # the package loads its table at the first call, and is not made for threads
        import reverse_geocode

        nearest = reverse_geocode.get((latitude, longitude))
        large = reverse_geocode.get((latitude, longitude), _LARGE_CITY)
    same_region = all(nearest.get(key) == large.get(key) for key in ("country_code", "state"))
    in_large = _kilometres(latitude, longitude, large) <= math.sqrt(large["population"] / math.pi / _INHABITANTS_PER_KM2)
    city = large if same_region and in_large else nearest
    if _kilometres(latitude, longitude, city) > _MAX_KILOMETRES:
        return None
    return ", ".join(dict.fromkeys(city[key] for key in ("city", "state", "country") if city.get(key)))


def _kilometres(latitude: float, longitude: float, city: dict[str, Any]) -> float:
    """The distance on a sphere (haversine)."""
    north, east = math.radians(city["latitude"]), math.radians(city["longitude"])
    here_north, here_east = math.radians(latitude), math.radians(longitude)
    half = math.sin((north - here_north) / 2) ** 2
    half += math.cos(north) * math.cos(here_north) * math.sin((east - here_east) / 2) ** 2
    return 2 * _EARTH_RADIUS_KILOMETRES * math.asin(math.sqrt(min(1.0, half)))
