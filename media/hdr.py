"""HDR and wide-gamut colours of frames and pictures to sRGB.

Colours are converted to linear light in candela per square metre (nits), then to the primaries of BT.709. Then highlights are compressed
to the range of a usual screen. It works on small frames, or on the entries of a table, so it costs little. FFmpeg's own conversion
(libswscale 9) computes a table for four seconds and darkens the frame, and the filter zscale is not part of PyAV's wheels.

Curves and primaries are code points of ITU-T H.273, as in films, HEIC and AVIF. Sources: SMPTE ST 2084 (PQ), ITU-R BT.2100 (HLG), BT.2408
(203 nits is the white of a diffuse object), BT.2087 and SMPTE EG 432-1 (primaries).
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

_PQ, _HLG = 16, 18
_BT2020, _DISPLAY_P3 = 9, 12
_WHITE_NITS, _BRIGHTEST_WHITE_NITS = 100.0, 203.0  # the white of SDR, and of a diffuse object in HDR
_PEAK_NITS = 1000.0  # of HLG, and of nearly all PQ
_KNEE = 0.7  # of white; darker tones are not compressed
_GAMMA = 2.4  # BT.1886
_STEPS = (1 << 16) - 1
_TO_BT709 = {
    _BT2020: ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008349), (-0.018151, -0.100579, 1.118730)),
    _DISPLAY_P3: ((1.224940, -0.224940, 0.0), (-0.042057, 1.042057, 0.0), (-0.019638, -0.078636, 1.098274)),
}


def is_needed(curve: int, primaries: int) -> bool:
    """Whether it is an HDR curve, or the primaries are far from those of BT.709."""
    return curve in {_PQ, _HLG} or primaries in _TO_BT709


def to_srgb(pixels: NDArray[np.uint16], curve: int, primaries: int, *, adapt: bool) -> NDArray[np.uint8]:
    """uint16 (H, W, 3), RGB in full range -> uint8 (H, W, 3).

    `adapt`: white and the brightest highlights of HDR are those of these pixels. Otherwise they are 203 and 1000 nits.
    """
    light = _nits(curve)[pixels]  # (H, W, 3)
    if primaries in _TO_BT709:
        light = np.maximum(light @ np.array(_TO_BT709[primaries], np.float32).T, 0)
    light = _compress(light, adapt) if curve in {_PQ, _HLG} else light / _WHITE_NITS
    return _encoded()[(np.clip(light, 0, 1) * _STEPS).astype(np.uint16)]


def _compress(light: NDArray[np.float32], adapt: bool) -> NDArray[np.float32]:
    """Nits to 0..1. If it adapts, white is among the brightest tones, from 100 to 203 nits. Brighter tones are compressed.

    All three channels are scaled by one factor, so that hues stay.
    """
    brightest = light.max(2)  # (H, W)
    bright, peak = np.percentile(brightest, (95, 99.5)).tolist() if adapt else (_BRIGHTEST_WHITE_NITS, _PEAK_NITS)
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
    if curve == _PQ:
        root = code ** (1 / 78.84375)
        light = 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    elif curve == _HLG:
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        light = _PEAK_NITS * scene**1.2
    else:
        light = _WHITE_NITS * code**_GAMMA
    return light.astype(np.float32)


@cache
def _encoded() -> NDArray[np.uint8]:
    """A table from linear light in 16 bits to sRGB values, which saves a slow power for each pixel."""
    return (np.linspace(0, 1, 1 << 16) ** (1 / _GAMMA) * 255 + 0.5).astype(np.uint8)
