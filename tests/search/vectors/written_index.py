"""Writes the files of an index, and what tests ask of it."""

import shutil

import numpy as np
import pyarrow as pa

from search.vectors.files import (
    CHANGES,
    FILES_OF_MAIN,
    SLOTS,
    VECTORS,
    write_changes_index,
    write_main_index,
    write_slots,
    write_vectors,
)
from search.vectors.kinds import IndexSettings

WIDTH = 96


def unit_vectors(count, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def batches(vectors):
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), WIDTH)
    return [pa.record_batch({"segment_id": np.arange(len(vectors)), "vector": column})]


KINDS = {
    "exact": IndexSettings(recall=1),
    "flat": IndexSettings(memory=0),
    "flat, fast codes": IndexSettings(),
    "lists": IndexSettings(kind="lists", recall=0.99),
}


def write(folder, vectors, slots, settings=KINDS["flat, fast codes"], queries=None):
    folder.mkdir(exist_ok=True)
    write_vectors(batches(vectors), len(vectors), WIDTH, folder / VECTORS)
    write_slots(slots, folder / SLOTS)
    return write_main_index(folder, settings, lambda: queries)


def write_changed(folder, earlier, slots, changes, info):
    folder.mkdir()
    for name in FILES_OF_MAIN:
        if (earlier / name).exists():
            shutil.copy(earlier / name, folder / name)
    write_vectors(batches(changes), len(changes), WIDTH, folder / CHANGES)
    write_changes_index(folder, info)
    write_slots(slots, folder / SLOTS)
