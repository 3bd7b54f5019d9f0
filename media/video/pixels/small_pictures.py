"""A decoded frame as a small picture as shown: square pixels, upright, not mirrored, in sRGB, on white."""

import math
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from media import hdr
from media.video.pixels.interlaced import even_lines

SHORT_SIDE = 256  # pixels; enough for the model and a thumbnail
_MAX_STRETCH = 8.0  # a wider pixel is damage
_MAX_LONG_SIDE = 16 * SHORT_SIDE
_UNKNOWN_MATRIX = 2


def shown_size(frame: Any, stream: Any) -> tuple[int, int]:
    """Width and height in pixels as shown, upright. A player widens or heightens pixels that are not square, and never shrinks."""
    ratio = float(stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1)
    ratio = ratio if 1 / _MAX_STRETCH <= ratio <= _MAX_STRETCH else 1.0
    width, height = (round(frame.width * ratio), frame.height) if ratio > 1 else (frame.width, round(frame.height / ratio))
    return (height, width) if _is_sideways(frame) else (width, height)


class SmallPictures:
    """Makes small pictures of the frames of one film. It keeps the scaler, which is expensive to set up."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._scaler, self._signature_scaler = VideoReformatter(), VideoReformatter()

    def picture(self, frame: Any) -> NDArray[np.uint8]:
        """uint8 (H, W, 3), RGB, as shown; the short side is at most `SHORT_SIDE`."""
        width, height = small_size(*shown_size(frame, self._stream))
        width, height = (height, width) if _is_sideways(frame) else (width, height)
        curve, primaries = int(frame.color_trc), int(frame.color_primaries)
        is_hdr = hdr.is_needed(curve, primaries)
        converted = self._scaler.reformat(
            even_lines(frame),
            width=width,
            height=height,
            format="rgb48" if is_hdr else "rgba" if has_alpha(frame) else "rgb24",
            src_colorspace=_matrix(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.AREA if width < frame.width else Interpolation.BILINEAR,
            threads=1,
        )
        pixels: NDArray[Any] = converted.to_ndarray()
        if is_hdr:
            pixels = hdr.to_srgb(pixels, curve, primaries, adapt=True)
        elif pixels.shape[2] == 4:
            alpha = pixels[..., 3:].astype(np.uint16)
            pixels = ((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
        return np.ascontiguousarray(_upright(pixels, _display_matrix(frame)))

    def signature(self, frame: Any) -> NDArray[np.uint8]:
        """uint8 (3, 36, 64): luma and two colour differences of a very small picture as stored, to compare frames with."""
        small = self._signature_scaler.reformat(
            frame, width=64, height=36, format="yuv444p", interpolation=Interpolation.FAST_BILINEAR, threads=1
        )
        return np.asarray(small.to_ndarray())


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height, with the short side at `SHORT_SIDE` or less, and at least 1 pixel."""
    scale = min(1.0, SHORT_SIDE / min(width, height), _MAX_LONG_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def has_alpha(frame: Any) -> bool:
    return any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8"


def _matrix(frame: Any) -> Colorspace | None:
    """An unknown matrix is that of HD television in large frames, as mpv and Chromium guess; otherwise FFmpeg takes that of SD."""
    unknown = frame.colorspace in {_UNKNOWN_MATRIX, Colorspace.DEFAULT} and not frame.format.is_rgb
    return Colorspace.ITU709 if unknown and (frame.width >= 1280 or frame.height > 576) else None


def _display_matrix(frame: Any) -> NDArray[np.float64]:
    """The linear part ((a, b), (c, d)): a stored point (x, y) is shown at (a x + c y, b x + d y). y points down."""
    data = frame.side_data.get(SideDataType.DISPLAYMATRIX)
    if data is None:
        return np.eye(2)
    matrix = np.frombuffer(bytes(data), np.int32)[[0, 1, 3, 4]].reshape(2, 2) / 65536
    return matrix if math.isfinite(np.linalg.det(matrix)) and abs(np.linalg.det(matrix)) > 1e-6 else np.eye(2)


def _is_sideways(frame: Any) -> bool:
    matrix = abs(_display_matrix(frame))
    return bool(matrix[0, 0] < matrix[0, 1])


def _upright(pixels: NDArray[Any], matrix: NDArray[np.float64]) -> NDArray[Any]:
    """Apply the nearest of the eight orientations that keep pixels whole. FFmpeg gives the matrix of the display to the frame."""
    (a, b), (c, d) = matrix
    if abs(a) < abs(b):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
