"""What was computed once, kept by what it was computed from: the model, the way of computing, and the bytes that went in.

One SQLite file in the user's cache directory. A killed evaluation goes on from the last batch that was put here, and the
next one with the same model over the same files computes nothing. Deleting the file loses nothing but time.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.numpy import load, save

from coca_model import Encoder
from evaluation.errors import EvaluationError

Value = TypeVar("Value")
Arrays = dict[str, NDArray[np.generic]]
_ASK = 500  # keys in one query: SQLite allows some thousand parameters


def default_cache_path() -> Path:
    """Where results are kept when no place is named."""
    return user_cache_path("coca-search") / "evaluation.sqlite"


def space_of(encoder: Encoder, what: str) -> str:
    """The part of a key that does not depend on the data: weights, pixels, arithmetic, and what is computed."""
    weights = encoder.model_id.rsplit("@")[-1]  # a renamed file of the same weights gives the same results
    return f"{weights} {encoder.preprocessing_id} {encoder.dtype} {encoder.device.type} {what}"


class ResultCache:
    """Named arrays by (space, key). Keys are digests of the input's bytes.

    Raises:
        EvaluationError: the file is no cache, is damaged, or cannot be written; here or later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=60)
            self._database.execute("CREATE TABLE IF NOT EXISTS results (space TEXT, key BLOB, value BLOB, PRIMARY KEY (space, key))")

    def known(self, space: str, keys: Sequence[bytes]) -> set[bytes]:
        """Those of the keys that have a result."""
        with self._explained():
            return {key for key, _ in self._select("key, NULL", space, keys)}

    def get(self, space: str, keys: Sequence[bytes]) -> dict[bytes, Arrays]:
        """The results that are there, by key."""
        with self._explained():
            return {key: load(value) for key, value in self._select("key, value", space, keys)}

    def put(self, space: str, results: Mapping[bytes, Arrays]) -> None:
        """Keep results. One commit."""
        rows = [
            (space, key, save({name: np.ascontiguousarray(array) for name, array in arrays.items()})) for key, arrays in results.items()
        ]
        with self._explained(), self._database:
            self._database.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, SafetensorError, OSError) as error:
            advice = "Name another file with --cache. Deleting a cache loses nothing but time."
            raise EvaluationError(f"{self.path}: cannot be used as a cache ({error}). {advice}") from error

    def _select(self, columns: str, space: str, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for some in batches(dict.fromkeys(keys), _ASK):
            places = ", ".join("?" * len(some))
            yield from self._database.execute(f"SELECT {columns} FROM results WHERE space = ? AND key IN ({places})", (space, *some))


def batches(values: Iterable[Value], size: int) -> Iterator[list[Value]]:
    """The values in order, `size` at a time; the last may be fewer."""
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some
