"""Writes sample pictures and a sample video: `python data/make_sample_collection.py FOLDER`.

The pictures come from the public API of scikit-image and scikit-learn, so that nothing is downloaded. The video pans over some of them
for a few seconds each. `shots.json` beside it has the time of each.
"""

import json
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_images

FPS = 12
SIZE = (640, 360)  # width, height

# Seconds for which the video shows each picture. They differ, so that equal parts cannot match by chance.
VIDEO = {"chelsea": 4.0, "coffee": 3.5, "rocket": 5.0, "flower": 3.0, "astronaut": 4.5, "coins": 3.5, "motorcycle": 4.0, "china": 4.5}

NAMES = [
    "astronaut", "brick", "camera", "chelsea", "clock", "coffee", "coins", "colorwheel", "grass", "gravel",
    "hubble_deep_field", "immunohistochemistry", "logo", "moon", "page", "retina", "rocket", "horse", "checkerboard", "text",
]  # fmt: skip


def sample_pictures() -> dict[str, Image.Image]:
    """All sample pictures by name, as RGB."""
    arrays = {name: getattr(skimage.data, name)() for name in NAMES}
    arrays["motorcycle"] = skimage.data.stereo_motorcycle()[0]
    china, flower = load_sample_images().images
    return {name: _rgb(array) for name, array in {**arrays, "china": china, "flower": flower}.items()}


def _rgb(array: np.ndarray) -> Image.Image:
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    picture = Image.fromarray(array)
    if picture.mode == "RGBA":
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def write_samples(folder: Path) -> None:
    """Write `pictures/*.jpg`, `film.mp4` and `shots.json` (name -> [start, end) in seconds)."""
    pictures = sample_pictures()
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        picture.save(folder / "pictures" / f"{name}.jpg", quality=92)
    shots = write_video(folder / "film.mp4", {name: pictures[name] for name in VIDEO}, VIDEO)
    (folder / "shots.json").write_text(json.dumps(shots, indent=2) + "\n")


def write_video(path: Path, pictures: dict[str, Image.Image], seconds: dict[str, float], codec: str = "libx264") -> dict[str, list[float]]:
    """Write a film that pans over each picture in turn; returns the `[start, end)` of each in seconds."""
    shots: dict[str, list[float]] = {}
    frame_number = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, FPS)
        for name, picture in pictures.items():
            count = round(seconds[name] * FPS)
            shots[name] = [frame_number / FPS, (frame_number + count) / FPS]
            for step in range(count):
                frame = av.VideoFrame.from_image(pan(picture, step / max(count - 1, 1)))
                frame.pts, frame.time_base = frame_number, Fraction(1, FPS)
                container.mux(stream.encode(frame))
                frame_number += 1
        container.mux(stream.encode())
    return shots


def pan(picture: Image.Image, progress: float) -> Image.Image:
    """A window in the film's proportions that moves over the picture from one end to the other."""
    width, height = SIZE
    scale = 0.92 * min(picture.width / width, picture.height / height)
    box_width, box_height = width * scale, height * scale
    left, top = (picture.width - box_width) * progress, (picture.height - box_height) * progress
    return picture.resize(SIZE, Image.Resampling.BICUBIC, box=(left, top, left + box_width, top + box_height))


if __name__ == "__main__":
    write_samples(Path(sys.argv[1]))
