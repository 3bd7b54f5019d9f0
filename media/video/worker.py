"""The worker process that decodes videos. If a library aborts or hangs, only this process is lost.

It answers requests over one connection until the parent closes it. It must not import torch, lancedb or
pyarrow, because it must start in a fraction of a second.
"""

from multiprocessing.connection import Connection
from typing import Any

from media.errors import MediaError
from media.video import pyav_reader
from media.video.messages import Request, VideoFrame
from media.video.sampling import sample_times


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
            connection.send(None)
        except MediaError as error:
            connection.send(error)


def answer(request: Request, connection: "Connection[Any, Any]") -> None:
    """Send the metadata of a video, then its frames. Raises MediaError."""
    metadata = pyav_reader.probe(request.path)
    connection.send(metadata)
    times = sample_times(metadata["duration_seconds"], seconds_between=request.seconds_between)[request.skip :]
    if request.backend == "decord":
        from media.video import decord_reader  # it may crash when it is imported, too

        frames = decord_reader.read_frames(request.path, times, size=(metadata["width"], metadata["height"]))
    else:
        frames = pyav_reader.read_frames(request.path, times)
    for pts_seconds, pixels in frames:
        connection.send(VideoFrame(pts_seconds, pixels))
