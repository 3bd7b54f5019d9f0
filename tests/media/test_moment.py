"""The picture that a row shows: of a picture, a film, an animated picture, and a motion photo."""

import numpy as np
import pytest
from PIL import Image

from media.errors import MediaError
from media.moment import picture_at
from tests.fakes import COLOURS, write_film, write_picture
from tests.rare_pictures import encoded


def shows(picture, colour):
    return bool(np.abs(np.asarray(picture, dtype=int)[20:, 20:].mean((0, 1)) - COLOURS[colour]).max() < 12)


def test_each_kind_of_file_shows_its_moment(tmp_path):
    film = write_film(tmp_path / "film.mp4", [("red", 2.0), ("blue", 2.0)])
    assert shows(picture_at(film, 1.0), "red")
    assert shows(picture_at(film, 3.0), "blue")
    photo = write_picture(tmp_path / "photo.jpg", "green")
    photo.write_bytes(photo.read_bytes() + film.read_bytes())
    assert shows(picture_at(photo, None), "green")
    assert shows(picture_at(photo, 3.0), "blue")
    frames = [Image.new("RGB", (64, 64), COLOURS[colour]) for colour in ("red", "green", "blue")]
    for frame in frames:
        frame.paste("white", (0, 0, 9, 9))
    for file_format in ("WEBP", "GIF", "PNG"):
        (tmp_path / "moving.mp4").write_bytes(encoded(frames[0], file_format, save_all=True, append_images=frames[1:], duration=1000))
        for seconds, colour in ((0.0, "red"), (1.0, "green"), (2.5, "blue")):
            assert shows(picture_at(tmp_path / "moving.mp4", seconds), colour)


def test_a_picture_without_a_film_has_no_moment(tmp_path):
    with pytest.raises(MediaError, match="without a film"):
        picture_at(write_picture(tmp_path / "a.jpg"), 1.0)
