"""The worker process that opens videos: `python -m indexer.video_worker`.

It reads pickled requests on standard input and writes pickled replies on standard output, so that a library that aborts
or hangs takes only this process with it. It must import neither torch nor lancedb: it starts in a fraction of a second.
"""

import os
import sys
from typing import IO

from indexer import pyav_reader
from indexer.errors import MediaError
from indexer.sample import sample_times
from indexer.video_protocol import End, Facts, FrameReply, Request, receive, send


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer requests until the other side closes."""
    while True:
        try:
            request = receive(requests)
        except EOFError:
            return
        try:
            _answer(request, replies)
            send(replies, End())
        except MediaError as error:
            send(replies, End(error.stage, error.reason))


def _answer(request: Request, replies: IO[bytes]) -> None:
    facts = pyav_reader.probe(request.path)
    send(replies, Facts(facts))
    times = sample_times(facts.duration_seconds, seconds_between=request.seconds_between)[request.skip :]
    if request.backend == "decord":
        from indexer import decord_reader

        frames = decord_reader.read_frames(request.path, times, size=(facts.width, facts.height))
    else:
        frames = pyav_reader.read_frames(request.path, times)
    for pts_seconds, frame in frames:
        send(replies, FrameReply(pts_seconds, frame))


def main() -> None:
    """Give the replies a channel of their own: what a library prints must not fall between them."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
