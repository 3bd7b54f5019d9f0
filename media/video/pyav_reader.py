"""PyAV: the metadata of a video, and the frames that decord cannot give (AV1, some WebM)."""

from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from media.errors import MediaError
from media.metadata import video_metadata

SHORT_SIDE = 256  # pixels; enough for the model and a thumbnail
_ATTACHED_PICTURE = 0x400


def probe(path: str) -> dict[str, Any]:
    """The metadata of a video. Decodes the first frame to learn the upright size. Raises MediaError (probe)."""
    try:
        with av.open(path) as container:
            stream = _video_stream(container)
            first = next(container.decode(stream), None)
            if first is None:
                raise MediaError("probe", "the video stream holds no frame")
            width, height = (first.height, first.width) if first.rotation % 180 else (first.width, first.height)
            tags = {**container.metadata, **stream.metadata}
            return video_metadata(tags, width=width, height=height, duration_seconds=_duration(container, stream))
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise MediaError("probe", f"not a video that can be read ({error})") from error


def read_frames(path: str, times: Sequence[float]) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The frames shown at `times` (rising, in seconds): time in seconds and uint8 (H, W, 3), RGB, upright.

    A time after the last frame gives nothing. Raises MediaError (decode).
    """
    waiting = list(times)
    try:
        with av.open(path) as container:
            stream = _video_stream(container)
            stream.thread_type = "AUTO"
            shown: Any = None
            for frame in container.decode(stream):
                if frame.time is None:
                    continue
                while waiting and shown is not None and frame.time > waiting[0]:
                    waiting.pop(0)
                    yield float(shown.time), _small_rgb(shown)
                if not waiting:
                    return
                shown = frame
            if waiting and shown is not None and waiting[0] >= shown.time:
                yield float(shown.time), _small_rgb(shown)
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise MediaError("decode", f"the video cannot be decoded ({error})") from error


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height, even, with the short side at `SHORT_SIDE` or less."""
    scale = min(1.0, SHORT_SIDE / min(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def _video_stream(container: Any) -> Any:
    streams = [stream for stream in container.streams.video if not int(getattr(stream, "disposition", 0)) & _ATTACHED_PICTURE]
    if not streams:
        raise MediaError("probe", "the file holds no video stream")
    return streams[0]


def _small_rgb(frame: Any) -> NDArray[np.uint8]:
    width, height = small_size(frame.width, frame.height)
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24", width=width, height=height)
    return np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))  # rotation: degrees counter-clockwise to upright


def _duration(container: Any, stream: Any) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration:
        return float(container.duration / av.time_base)
    raise MediaError("probe", "the length of the video is unknown")
