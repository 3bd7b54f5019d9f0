"""An old interface, for `evaluation` only: use `media.video.VideoDecoder` instead."""

from collections.abc import Iterator
from types import SimpleNamespace

from indexer.video_protocol import Facts, FrameReply
from media.video import decoder


class VideoDecoder(decoder.VideoDecoder):
    def frames(self, path: str) -> Iterator[Facts | FrameReply]:
        with self.open(path) as video:
            yield Facts(SimpleNamespace(**video.metadata))
            for frame in video.frames:
                yield FrameReply(frame.pts_seconds, frame.pixels)
