"""Frames of several files share batches without a deadlock, and an error reaches its file."""

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest

from indexer.batching import BatchingEmbedder


def encode(pixels):
    return pixels.reshape(len(pixels), -1).astype(np.float32)


def frames(*numbers):
    return np.array(numbers, np.uint8).reshape(-1, 1, 1, 1).repeat(3, axis=3)


def test_files_share_batches_up_to_the_batch_size():
    sizes = []

    def counted(pixels):
        sizes.append(len(pixels))
        return encode(pixels)

    embedder = BatchingEmbedder(counted, batch=8, workers=24)
    started = threading.Barrier(24)

    def file(number):
        with embedder.file():
            started.wait(60)  # every file is in progress before the first one waits for its vectors
            return embedder.embed(frames(number))[0, 0]

    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(file, range(24))) == list(range(24))
    embedder.close()
    assert sizes == [8, 8, 8]


def test_files_that_wait_for_vectors_let_others_work():
    embedder = BatchingEmbedder(encode, batch=8, workers=2)

    def file(number):
        with embedder.file():
            return embedder.embed(frames(number))[0, 0]

    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(file, range(24))) == list(range(24))
    embedder.close()


def test_a_file_with_more_frames_than_a_batch_is_embedded_at_once():
    embedder = BatchingEmbedder(encode, batch=4, workers=1)
    with embedder.file():
        assert embedder.embed(frames(*range(10)))[:, 0].tolist() == list(range(10))
    embedder.close()


def test_fewer_files_than_a_batch_do_not_wait_for_others():
    embedder = BatchingEmbedder(encode, batch=100, workers=1)

    def file(number):
        with embedder.file():
            return embedder.embed(frames(number, number))[:, 0].tolist()

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(file, range(3))) == [[0, 0], [1, 1], [2, 2]]
    embedder.close()


def test_an_error_of_the_model_reaches_the_file_and_the_next_batch_runs():
    def fragile(pixels):
        if pixels.max() == 7:
            raise ValueError("seven")
        return encode(pixels)

    embedder = BatchingEmbedder(fragile, batch=1, workers=1)
    with embedder.file(), pytest.raises(ValueError, match="seven"):
        embedder.embed(frames(7))
    with embedder.file():
        assert embedder.embed(frames(8))[0, 0] == 8
    embedder.close()


def test_closing_cancels_waiting_files():
    running = threading.Event()

    def slow(pixels):
        running.set()
        threading.Event().wait(0.2)
        return encode(pixels)

    embedder = BatchingEmbedder(slow, batch=1, workers=2)

    def file(number):
        with embedder.file():
            try:
                return embedder.embed(frames(number))[0, 0]
            except CancelledError:
                return "cancelled"

    with ThreadPoolExecutor(6) as pool:
        results = [pool.submit(file, number) for number in range(6)]
        running.wait(10)
        embedder.close()
        assert "cancelled" in {result.result(10) for result in results}
