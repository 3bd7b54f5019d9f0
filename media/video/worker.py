"""The worker process that decodes videos. If a library aborts or hangs, only this process is lost.

It answers requests over one connection until the parent closes it. It must not import torch, lancedb or
pyarrow, because it must start in a fraction of a second.

Frames are pickled over a socket: 0.4 ms of CPU each for 256 x 455 pixels, where the model needs 50 ms. Shared memory would save nothing.
"""

import queue
import threading
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from media.errors import MediaError
from media.video.film import read_film
from media.video.messages import Request

_AHEAD = 16  # frames that wait while the parent embeds

T = TypeVar("T")


def main(descriptor: int) -> None:
    """Answer requests on a socket that this process has inherited."""
    connection: Connection[Any, Any] = Connection(descriptor)
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        try:
            answer(request, connection)
        except MediaError as error:
            connection.send(error)


def answer(request: Request, connection: "Connection[Any, Any]") -> None:
    """Send the metadata of a video, then its frames and its end. Raises MediaError."""
    for reply in ahead(read_film(request)):
        connection.send(reply)


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, made by a thread while the consumer is busy. Read it to the end."""
    waiting: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(_AHEAD)

    def make() -> None:
        try:
            for item in items:
                waiting.put((item,))
            waiting.put(None)
        except BaseException as error:  # raised again by the consumer
            waiting.put(error)

    threading.Thread(target=make, daemon=True).start()
    while (got := waiting.get()) is not None:
        if isinstance(got, BaseException):
            raise got
        yield got[0]
