"""The merged picture of Photoshop's files: depths, compression, stored selections."""

import numpy as np
import pytest
from PIL import Image

from media.errors import PictureError
from media.pictures.picture import open_picture, read_picture
from tests.rare_pictures import photoshop


def test_a_photoshop_file_without_a_merged_picture_says_how_to_save_it():
    picture = Image.new("RGB", (40, 30), "red")
    assert open_picture(photoshop(picture)).getpixel((5, 5)) == (255, 0, 0)
    with pytest.raises(PictureError, match="Maximize compatibility"):
        open_picture(photoshop(picture, merged=False))


@pytest.mark.parametrize("depth", [8, 16, 32])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_photoshop_files_of_all_depths_are_read(mode, big, packed, depth):
    picture = Image.linear_gradient("L").resize((300, 50)).convert(mode)
    read = read_picture(photoshop(picture, big=big, packed=packed, depth=depth))
    assert (read.format, read.damaged) == ("Photoshop", False)
    np.testing.assert_array_equal(np.asarray(read.image), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("layers", "shown"), [(-1, (255, 255, 255)), (1, (10, 200, 90)), (None, (10, 200, 90))])
def test_a_fourth_channel_of_photoshop_may_be_a_selection(layers, shown, packed, depth):
    """The first alpha channel is transparency if the number of layers is negative (Adobe Photoshop File Formats, Layer info)."""
    data = photoshop(Image.new("RGBA", (40, 30), (10, 200, 90, 0)), packed=packed, depth=depth, layers=layers)
    assert open_picture(data).getpixel((5, 5)) == shown


@pytest.mark.parametrize("packed", [False, True])
def test_a_cut_photoshop_file_of_16_bits_is_shown_in_part(packed):
    data = photoshop(Image.new("L", (40, 30), 90), packed=packed, depth=16)
    read = read_picture(data[: len(data) * 2 // 3])
    assert (read.damaged, read.image.getpixel((5, 5))) == (True, (90, 90, 90))


def test_an_indexed_photoshop_file_without_its_colours_fails():
    data = bytearray(photoshop(Image.new("L", (40, 30), 90)))
    data[25] = 2  # the mode
    with pytest.raises(PictureError, match="cannot be decoded"):
        read_picture(bytes(data))
