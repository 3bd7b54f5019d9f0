"""decord: the fast way to sparse frames. Runs in the worker process only, because it can hang or abort on a broken file."""

from collections.abc import Iterator, Sequence

import decord
import numpy as np
from numpy.typing import NDArray

from media.errors import MediaError
from media.video.pyav_reader import small_size


def read_frames(path: str, times: Sequence[float], *, size: tuple[int, int]) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The frames shown at `times` (rising, in seconds): time in seconds and uint8 (H, W, 3), RGB, upright. Raises MediaError (decode).

    `size` is the width and height of the upright frame, because decord rotates frames. Times are presentation timestamps, not index / fps.
    """
    width, height = small_size(*size)
    try:
        reader = decord.VideoReader(path, width=width, height=height, num_threads=1)
        starts = np.atleast_2d(reader.get_frame_timestamp(range(len(reader))))[:, 0]  # (frames,)
        wanted = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(starts) - 1)
        for index in wanted.tolist():
            yield float(starts[index]), reader[index].asnumpy()
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise MediaError("decode", f"decord: {lines[-1]}") from error
