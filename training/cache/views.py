"""Views of a picture: the plain one, as in inference, and augmented ones: random crops, mirrored or not, with changed colours.

A view depends only on the picture, its number and the seed. It is the same in every run and on every rank.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from coca_model import PictureError, open_picture
from coca_model.architecture.config import ImageConfig
from coca_model.preprocess import OVERSAMPLING, to_square
from training.examples.example import Example

PLAIN = 0
_AREA, _ASPECT, _COLOUR = (0.4, 1.0), (0.75, 4 / 3), (0.8, 1.2)


def view(picture: bytes, number: int, config: ImageConfig, *, seed: tuple[int, ...]) -> NDArray[np.uint8]:
    """View `number` of an encoded picture: uint8 (H, W, 3), RGB, 0..255. Number 0 is the plain view. Raises PictureError."""
    image = open_picture(picture, min_side=OVERSAMPLING * config.image_size)
    if number == PLAIN:
        return to_square(image, config)
    random = np.random.default_rng((*seed, number))
    box = _crop(image, random, square=config.resize == "crop")
    changed = image.resize((config.image_size, config.image_size), Image.Resampling.BICUBIC, box=box)
    if random.random() < 0.5:
        changed = ImageOps.mirror(changed)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        changed = enhance(changed).enhance(random.uniform(*_COLOUR))
    return np.asarray(changed, dtype=np.uint8)


def view_or_reason(example: Example, number: int, config: ImageConfig, *, seed: tuple[int, ...]) -> NDArray[np.uint8] | str:
    """View `number` of an example's picture, or the reason why it cannot be read."""
    try:
        return view(example.read(), number, config, seed=seed)
    except (PictureError, OSError) as error:
        return str(error)


def _crop(image: Image.Image, random: np.random.Generator, *, square: bool) -> tuple[float, float, float, float]:
    """A box with 40 to 100 % of the area (as Szegedy et al. 2015, with smaller cuts) and about the proportions of inference."""
    area, aspect = random.uniform(*_AREA), np.exp(random.uniform(*np.log(_ASPECT)))
    whole = (min(image.size),) * 2 if square else image.size
    width = min(image.width, whole[0] * np.sqrt(area * aspect))
    height = min(image.height, whole[1] * np.sqrt(area / aspect))
    left, top = random.uniform(0, image.width - width), random.uniform(0, image.height - height)
    return left, top, left + width, top + height
