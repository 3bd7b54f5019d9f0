"""Converts any Pillow picture to 8-bit RGB in sRGB on a white background.

Pillow's `convert("RGB")` drops transparency, clips values above 255 and ignores the ICC profile and the HDR curve. A Display P3
photograph then looks pale, and an HDR one grey.
"""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFilter

from media import hdr

_MODE_OF_SPACE = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # ICC.1:2022, table 19, to Pillow's modes
_TABLE_SIDE = 65  # colours; the most that Pillow takes
_ALPHA_OFTEN_UNUSED = {"BMP", "DIB", "TGA"}  # many programs leave it at 0
_SRGB_GAMMA, _LEAST_GAMMA = 1 / 2.2, 0.1
_BITS = (8, 10, 12, 14, 16)  # usual depths of cameras, scanners and microscopes


def to_srgb(picture: Image.Image, *, white: float | None = None) -> Image.Image:
    """Any Pillow picture as RGB: deep greys scaled to 8 bits, the ICC profile or HDR curve applied, transparency on white.

    `white` is the value of white in deep greys, see `white_of`, if `picture` is a part of another. The result is a new picture without
    metadata, so opening it again applies no profile or orientation twice.

    Raises:
        ValueError: a mode that Pillow cannot convert.
    """
    colours, alpha = _split(picture, white)
    rgb = _in_srgb(colours, picture.info)
    if alpha is not None:
        paper = Image.new("RGB", rgb.size, "white")
        paper.paste(rgb, mask=alpha)
        rgb = paper
    rgb.info = {}
    return rgb


def white_of(picture: Image.Image) -> float | None:
    """The value that becomes white in a picture of deep greys (mode I, I;16 or F); None for other modes.

    The PNG and TIFF standards say that 65535 is white, but sensors write 10, 12 or 14 bits into the low end, which would look black.
    So white is the maximum of the smallest usual depth that holds the brightest pixel. Nearly every 16-bit photograph has a pixel
    above 16383, so its white is 65535. A darker one is brightened. For floats, white is 1.0 or 255. If neither fits, white is the
    brightest value.
    """
    if not is_deep(picture.mode):
        return None
    top = float(_finite(np.asarray(picture)).max(initial=0))
    if picture.mode == "F":
        return 1.0 if top <= 1 else 255.0 if 64 <= top <= 255 else top
    return next((2.0**bits - 1 for bits in _BITS if top < 2**bits), top)


def is_deep(mode: str) -> bool:
    """Whether the values of a mode are greys of more than 8 bits."""
    return mode.startswith("I") or mode == "F"


def _in_srgb(picture: Image.Image, info: dict[Any, Any]) -> Image.Image:
    """Mode L, RGB, CMYK or LAB -> RGB, by the profile, the HDR curve and primaries, or the gamma of a PNG."""
    profile, coding, gamma = info.get("icc_profile"), info.get("nclx_profile") or {}, info.get("gamma") or _SRGB_GAMMA
    curve, primaries = coding.get("transfer_characteristics", 0), coding.get("color_primaries", 0)
    if profile:
        return _apply_profile(picture, profile)
    rgb = picture.convert("RGB")
    if hdr.is_needed(curve, primaries):
        return rgb.filter(_hdr_table(curve, primaries))
    if "srgb" not in info and not 0.9 < gamma / _SRGB_GAMMA < 1.1 and _LEAST_GAMMA <= gamma <= 1 / _LEAST_GAMMA:
        light = np.linspace(0, 1, 256) ** (1 / gamma)
        srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        return rgb.point(np.rint(255 * srgb).astype(int).tolist() * 3)
    return rgb


def _split(picture: Image.Image, white: float | None) -> tuple[Image.Image, Image.Image | None]:
    """8-bit colours (mode L, RGB, CMYK or LAB) and, if the picture has transparency, alpha (mode L, 0 is transparent)."""
    mode, key, file_format = picture.mode, picture.info.get("transparency"), picture.format
    if is_deep(mode):
        values = np.asarray(picture)
        alpha = None if key is None else Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
        shades = _eight_bits(values, white or white_of(picture) or 1.0)
        return Image.fromarray(255 - shades if picture.info.get("min_is_white") else shades), alpha
    if picture.has_transparency_data and mode != "CMYK":
        picture = picture.convert("LA") if mode == "La" else picture  # Pillow converts La only to LA
        picture = picture.convert("RGBA")
        grey = mode in {"1", "L", "LA", "La"}
        alpha = picture.getchannel("A")
        is_used = file_format not in _ALPHA_OFTEN_UNUSED or alpha.getextrema()[1]
        return picture.getchannel("R") if grey else picture.convert("RGB"), alpha if is_used else None
    if mode == "1":
        return picture.convert("L"), None
    return picture if mode in {"L", "RGB", "CMYK", "LAB"} else picture.convert("RGB"), None


def _eight_bits(values: NDArray[np.generic], white: float) -> NDArray[np.uint8]:
    """Grey values (H, W) of any number type -> uint8 (H, W)."""
    return np.rint(np.multiply(_finite(values).clip(0, white), 255.0 / white, dtype=np.float32)).astype(np.uint8)


def _finite(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Negative, NaN and infinite values as black: height maps use them for the sea and for missing data."""
    return np.nan_to_num(values, posinf=0.0, neginf=0.0).clip(0)


@lru_cache(maxsize=4)
def _hdr_table(curve: int, primaries: int) -> ImageFilter.Color3DLUT:
    """Pillow interpolates between its colours, which is fast and needs no memory beside the picture."""
    levels = np.linspace(0, 65535, _TABLE_SIDE).astype(np.uint16)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    colours = np.stack((red, green, blue), axis=-1).reshape(-1, _TABLE_SIDE, 3)
    return ImageFilter.Color3DLUT(_TABLE_SIDE, hdr.to_srgb(colours, curve, primaries, adapt=False).reshape(-1) / 255)


def _apply_profile(picture: Image.Image, profile: bytes) -> Image.Image:
    """Mode L, RGB, CMYK or LAB -> RGB. A profile is ignored if its channels differ from those of the picture."""
    transform = _transform(profile)
    if transform is not None and transform.input_mode == "RGB" and picture.mode == "L":
        picture = picture.convert("RGB")  # cameras add an RGB profile to their black-and-white pictures
    return transform.apply(picture) if transform is not None and transform.input_mode == picture.mode else picture.convert("RGB")


@lru_cache(maxsize=16)  # a collection holds thousands of pictures, but few cameras and programs
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """The transform from a profile to sRGB; None if it changes nothing, or if the profile is damaged.

    Sample colours show whether the profile is sRGB, because makers name it differently. A damaged profile is ignored, as in browsers:
    the picture is most likely in sRGB.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODE_OF_SPACE[source.profile.xcolor_space]
        target, flags = ImageCms.createProfile("sRGB"), ImageCms.Flags.NOCACHE  # for use by several threads
        transform = ImageCms.buildTransform(source, target, mode, "RGB", flags=flags)
    except (OSError, KeyError, ImageCms.PyCMSError):
        return None
    white = Image.new(mode, (1, 1), 0 if mode == "CMYK" else "white")
    if np.asarray(transform.apply(white)).min() < 128:
        return None  # well formed but damaged: the picture would turn black
    return None if mode == "RGB" and _changes_nothing(transform) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    after = np.asarray(transform.apply(Image.fromarray(colours)), dtype=int)
    return bool(np.abs(after - colours).max() <= 1)
