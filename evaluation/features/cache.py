"""Results that are computed once. The key says what they were computed from: model, computation, and the bytes of the input.

The cache is one SQLite file. A killed evaluation continues from the last batch in it. Another evaluation of the same files by the
same model computes nothing. Deleting the file costs only time.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from coca_model import Encoder
from evaluation.errors import EvaluationError

Arrays = dict[str, NDArray[np.generic]]


def space_of(encoder: Encoder, computation: str) -> str:
    """The part of a key that does not depend on the data: weights, preprocessing, arithmetic, and what is computed."""
    weights = encoder.model_id.rsplit("@")[-1]  # the name of the file does not matter
    return f"{weights} {encoder.preprocessing_id} {encoder.dtype} {encoder.device.type} {computation}"


class ResultCache:
    """Named arrays by (space, key). Keys are digests of the input's bytes.

    Any method raises EvaluationError if the file is not a cache, is damaged, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=60)
            self._database.execute("CREATE TABLE IF NOT EXISTS results (space TEXT, key BLOB, value BLOB, PRIMARY KEY (space, key))")

    def known(self, space: str, keys: Sequence[bytes]) -> set[bytes]:
        """The keys that have a result."""
        with self._explained():
            return {key for key, _ in self._select("NULL", space, keys)}

    def get(self, space: str, keys: Sequence[bytes]) -> dict[bytes, Arrays]:
        """The known results by key."""
        with self._explained():
            return {key: load(value) for key, value in self._select("value", space, keys)}

    def put(self, space: str, results: Mapping[bytes, Arrays]) -> None:
        """Store results in one commit."""
        named = {key: {name: np.ascontiguousarray(array) for name, array in arrays.items()} for key, arrays in results.items()}
        with self._explained(), self._database:
            rows = [(space, key, save(arrays)) for key, arrays in named.items()]
            self._database.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, SafetensorError, OSError) as error:
            advice = "Name another file with --cache. Deleting a cache costs only time."
            raise EvaluationError(f"{self.path}: cannot be used as a cache ({error}). {advice}") from error

    def _select(self, column: str, space: str, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for key in keys:
            for (value,) in self._database.execute(f"SELECT {column} FROM results WHERE space = ? AND key = ?", (space, key)):
                yield key, value
