"""From whatever a picture file holds to what a screen shows: RGB of 8 bits in sRGB, on white paper.

Pillow's own `convert("RGB")` is the last step, not the whole way: it drops transparency, clips values above 255 and
ignores the ICC profile, so that a Display P3 photograph comes out pale.
"""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_MODE_OF_SPACE = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # ICC.1:2022, table 19, to Pillow's modes
_BITS = (8, 10, 12, 14, 16)  # of cameras, scanners and microscopes


def to_srgb(picture: Image.Image) -> Image.Image:
    """Any Pillow picture as RGB: deep greys scaled to 8 bits, the ICC profile applied, transparency on white.

    The result carries no metadata: whoever reads it again must not apply orientation or profile a second time.

    Raises:
        ValueError: a mode that Pillow cannot convert.
    """
    colours, alpha = _split(picture)
    rgb = _apply_profile(colours, picture.info.get("icc_profile"))
    if alpha is not None:
        paper = Image.new("RGB", rgb.size, "white")
        paper.paste(rgb, mask=alpha)
        rgb = paper
    rgb.info = {}
    return rgb


def _split(picture: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours of 8 bits (mode L, RGB, CMYK or LAB) and, where there is transparency, alpha (mode L, 0 is transparent)."""
    mode, key = picture.mode, picture.info.get("transparency")
    if mode.startswith("I") or mode == "F":
        values = np.asarray(picture)
        alpha = None if key is None else Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
        return Image.fromarray(_eight_bits(values)), alpha
    if picture.has_transparency_data and mode != "CMYK":
        if mode == "La":  # of premultiplied greys Pillow knows this way only
            picture = picture.convert("LA")
        picture = picture.convert("RGBA")
        grey = mode in {"1", "L", "LA", "La"}
        return picture.getchannel("R") if grey else picture.convert("RGB"), picture.getchannel("A")
    if mode == "1":
        return picture.convert("L"), None
    return picture if mode in {"L", "CMYK", "LAB"} else picture.convert("RGB"), None


def _eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey values (H, W) of any number type to uint8 (H, W), white being what the range of the values says.

    No header says how many of 16 bits are used: by the TIFF and PNG standards all of them, but sensors leave 10, 12 or
    14 bits in the low end, and shown by the standard such a picture is all but black. So white is the full scale of the smallest
    usual depth that holds the brightest pixel: 65535 for a 16-bit picture whose lights reach a quarter of the scale, which
    nearly every photograph's do. A darker one comes out as if exposed longer; none is clipped. Floats follow the same
    rule with the scales 1.0 and 255, and what fits no scale has its brightest pixel white.
    Negative values and holes (NaN, infinity) are black: height maps mark the sea and missing data so.
    """
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0).clip(0)
    top = float(values.max(initial=0))
    if values.dtype.kind == "f":
        white = 1.0 if top <= 1 else 255.0 if 64 <= top <= 255 else top
    else:
        white = next((2.0**bits - 1 for bits in _BITS if top < 2**bits), top)
    return np.rint(np.multiply(values, 255.0 / white, dtype=np.float32)).astype(np.uint8)


def _apply_profile(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """A picture of mode L, RGB, CMYK or LAB to RGB, by its profile where that speaks of the picture's own channels."""
    transform = _transform(profile) if profile else None
    if transform is None:
        return picture.convert("RGB")
    if transform.input_mode == "RGB" and picture.mode == "L":  # cameras tag their black-and-white pictures with an RGB profile
        picture = picture.convert("RGB")
    return transform.apply(picture) if transform.input_mode == picture.mode else picture.convert("RGB")


@lru_cache(maxsize=16)  # a collection holds thousands of pictures, but few cameras and programs
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """The way from a profile to sRGB; None where it changes nothing, or where the profile is broken.

    Whether a profile is sRGB is tried out and not read from its name, which differs from maker to maker. A broken profile is
    passed over, as browsers do: the picture is there, and most probably in sRGB.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODE_OF_SPACE[source.profile.xcolor_space]
        target, flags = ImageCms.createProfile("sRGB"), ImageCms.Flags.NOCACHE  # for use by several threads
        transform = ImageCms.buildTransform(source, target, mode, "RGB", flags=flags)
    except (OSError, KeyError, ImageCms.PyCMSError):
        return None
    paper = Image.new(mode, (1, 1), 0 if mode == "CMYK" else "white")
    if np.asarray(transform.apply(paper)).min() < 128:
        return None  # well formed but damaged: it would black the picture out
    return None if mode == "RGB" and _changes_nothing(transform) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    after = np.asarray(transform.apply(Image.fromarray(colours)), dtype=int)
    return bool(np.abs(after - colours).max() <= 1)
