"""HDR and wide-gamut frames to sRGB.

A frame is converted to linear light in candela per square metre (nits), then to the primaries of BT.709. Then its highlights are compressed
to the range of a usual screen. It works on small pictures, so it costs little. FFmpeg's own conversion (libswscale 9) computes a table for
four seconds and darkens the frame, and the filter zscale is not part of PyAV's wheels.

Sources: SMPTE ST 2084 (PQ), ITU-R BT.2100 (HLG), BT.2408 (203 nits is the white of a diffuse object), BT.2087 and SMPTE EG 432-1
(primaries).
"""

from functools import cache
from typing import Any

import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

LINEAR_INPUT = "rgb48"  # the pixel format that `to_srgb` takes
_HDR = {ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67}
_WHITE_NITS, _BRIGHTEST_WHITE_NITS = 100.0, 203.0  # the white of SDR, and of a diffuse object in HDR
_HLG_PEAK_NITS = 1000.0
_KNEE = 0.7  # of white; darker tones are not compressed
_GAMMA = 2.4  # BT.1886
_STEPS = (1 << 16) - 1
_TO_BT709 = {
    ColorPrimaries.BT2020: ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008349), (-0.018151, -0.100579, 1.118730)),
    ColorPrimaries.SMPTE432: ((1.224940, -0.224940, 0.0), (-0.042057, 1.042057, 0.0), (-0.019638, -0.078636, 1.098274)),
}


def is_needed(frame: Any) -> bool:
    """Whether the frame has an HDR curve, or primaries far from those of BT.709."""
    return frame.color_trc in _HDR or frame.color_primaries in _TO_BT709


def to_srgb(pixels: NDArray[np.uint16], frame: Any) -> NDArray[np.uint8]:
    """uint16 (H, W, 3), RGB in full range with the frame's curve and primaries -> uint8 (H, W, 3)."""
    light = _nits(int(frame.color_trc))[pixels]  # (H, W, 3)
    if frame.color_primaries in _TO_BT709:
        light = np.maximum(light @ np.array(_TO_BT709[ColorPrimaries(frame.color_primaries)], np.float32).T, 0)
    light = _compress(light) if frame.color_trc in _HDR else light / _WHITE_NITS
    return _encoded()[(np.clip(light, 0, 1) * _STEPS).astype(np.uint16)]


def _compress(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Nits to 0..1. White is among the brightest tones of the frame, from 100 to 203 nits; brighter tones are compressed.

    All three channels are scaled by one factor, so that hues stay.
    """
    brightest = light.max(2)  # (H, W)
    bright, peak = np.percentile(brightest, (95, 99.5)).tolist()
    white = min(max(bright, _WHITE_NITS), _BRIGHTEST_WHITE_NITS)
    tone, top = brightest / white, max(peak / white, 1.0)
    # above the knee: a curve that starts with slope 1 and reaches 1 at the peak (Moebius transform, as FFmpeg's tonemap=mobius)
    span, room = top - _KNEE, 1 - _KNEE
    over = np.clip(tone - _KNEE, 0, span)
    curved = _KNEE + over * span * room / (span * room + over * (span - room)) if span > room else tone
    return light / white * (np.where(tone > _KNEE, curved, tone) / np.maximum(tone, 1e-6))[..., None]


@cache
def _nits(curve: int) -> NDArray[np.float32]:
    """A table from 16-bit code values to nits. The gamma of an HLG display, 1.2, is applied to each channel, as zimg does."""
    code = np.linspace(0, 1, 1 << 16)
    if curve == ColorTrc.SMPTE2084:
        root = code ** (1 / 78.84375)
        light = 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    elif curve == ColorTrc.ARIB_STD_B67:
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        light = _HLG_PEAK_NITS * scene**1.2
    else:
        light = _WHITE_NITS * code**_GAMMA
    return light.astype(np.float32)


@cache
def _encoded() -> NDArray[np.uint8]:
    """A table from linear light in 16 bits to sRGB values, which saves a slow power for each pixel."""
    return (np.linspace(0, 1, 1 << 16) ** (1 / _GAMMA) * 255 + 0.5).astype(np.uint8)
