import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from coca_model.config import ImageConfig
from coca_model.errors import TrainingError
from coca_model.image_tower import ImageTower
from coca_model.preprocess import open_picture, to_square
from coca_model.tokenizer import clean_text
from coca_model.training_data import Example, Views, make_views, read_examples, view

CONFIG = ImageConfig(64, 32, "mobilenet_v2", width=16, layers=1, heads=2, mlp_width=16, resize="squash")


def encoded(seed, *, size=(90, 70), file_format="PNG"):
    values = np.random.default_rng(seed).integers(0, 256, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).resize(size, Image.Resampling.BICUBIC).save(buffer, file_format)
    return buffer.getvalue()


def example(source, seed, split="train"):
    return Example(source, split, "caption", ("a dog",), encoded(seed))


EXAMPLES = [example("flickr8k", 0), example("other", 1), example("flickr8k", 2, split="val")]


@pytest.fixture
def tower():
    return ImageTower(CONFIG).requires_grad_(False).eval()


def made(tower, folder, examples=EXAMPLES, **options):
    return make_views(examples, {"flickr8k": 3}, tower=tower, folder=folder, dtype=torch.float32, **options)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("A Dog runs .", "a dog runs"),
        ("  two\n dogs\t\tplay  ", "two dogs play"),
        ("A dog , a cat ; and a bird !", "a dog, a cat; and a bird!"),
        ("the dog 's ball", "the dog's ball"),
        ("What is it ?", "what is it?"),
        ("wait ...", "wait"),
        ("2.5 m", "2.5 m"),
        ("ÇA", "ça"),
        ("", ""),
        (" . ", ""),
    ],
)
def test_captions_become_what_people_type(text, clean):
    assert clean_text(text) == clean


def write_parquet(path, rows):
    columns = ("id", "source", "split", "kind", "texts", "image")
    pq.write_table(pa.table({name: [row[i] for row in rows] for i, name in enumerate(columns)}), path)


def test_examples_are_read_file_by_file_with_clean_texts(tmp_path):
    write_parquet(tmp_path / "b.parquet", [("3", "c101", "val", "label", ["Sea Horse"], b"three")])
    rows = [("1", "flickr8k", "train", "caption", ["A dog .", "Two  dogs"], b"one"), ("2", "web", "train", "unlabelled", [], b"two")]
    write_parquet(tmp_path / "a.parquet", rows)
    assert read_examples(tmp_path) == [
        Example("flickr8k", "train", "caption", ("a dog", "two dogs"), b"one"),
        Example("web", "train", "unlabelled", (), b"two"),
        Example("c101", "val", "label", ("a photo of a sea horse",), b"three"),
    ]


def test_a_folder_without_examples_is_named(tmp_path):
    (tmp_path / "captions.txt").touch()
    with pytest.raises(TrainingError, match=rf"^{re.escape(str(tmp_path))}: no \.parquet file\."):
        read_examples(tmp_path)


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_view_0_is_what_inference_sees(tiny_encoder, resize, file_format):
    data, config = encoded(0, file_format=file_format), ImageConfig(32, 8, width=8, heads=2, resize=resize)
    np.testing.assert_array_equal(view(data, 0, 5, config), to_square(open_picture(data, min_side=64), config))
    if resize == "squash":
        np.testing.assert_array_equal(view(data, 0, 5, config), tiny_encoder.preprocess(data))


def test_other_views_differ_and_are_the_same_each_time():
    data = encoded(0)
    views = [view(data, number, seed, CONFIG) for number, seed in ((0, 7), (1, 7), (2, 7), (1, 8))]
    assert all((one.shape, one.dtype) == ((64, 64, 3), np.uint8) for one in views)
    assert len({one.tobytes() for one in views}) == 4
    np.testing.assert_array_equal(view(data, 1, 7, CONFIG), views[1])


@pytest.mark.parametrize("number", [0, 1])
def test_a_picture_that_cannot_be_read_becomes_grey(number):
    pixels = view(b"Dear Sir or Madam", number, 0, CONFIG)
    assert np.ptp(pixels) == 0
    assert number or pixels[0, 0].tolist() == [128, 128, 128]


def test_maps_are_those_of_the_stem_within_half_a_step_of_a_byte(tower, tmp_path):
    torch.nn.init.normal_(tower.stem.head.bias, mean=3.0, std=3.0)
    views = made(tower, tmp_path, default_views=2)
    assert views.example.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    numbers = [0, 1, 2, 0, 1, 0, 1, 2]
    pixels = [view(EXAMPLES[owner].picture, numbers[row], row, CONFIG) for row, owner in enumerate(views.example)]
    expected = tower.stem_map(torch.from_numpy(np.stack(pixels))) * (255 / 6)
    assert np.ptp(views.maps) == 255
    np.testing.assert_allclose(views.maps, expected.numpy(), rtol=0, atol=0.501)


def test_features_are_the_maps_in_the_range_of_the_stem():
    maps = np.random.default_rng(0).integers(0, 256, (5, 4, 1280), dtype=np.uint8)
    features = Views(maps, np.arange(5)).features(np.array([3, 0, 3]))
    assert features.dtype == torch.bfloat16
    np.testing.assert_allclose(features.float().numpy(), maps[[3, 0, 3]] * (6 / 255), rtol=2**-7)


def test_maps_that_an_earlier_run_finished_are_not_computed_again(tower, tmp_path, monkeypatch):
    first = made(tower, tmp_path)
    monkeypatch.setattr(tower, "stem_map", None)
    again = made(tower, tmp_path)
    np.testing.assert_array_equal(again.maps, first.maps)
    np.testing.assert_array_equal(again.example, first.example)


def test_maps_that_an_earlier_run_left_unfinished_are_computed_anew(tower, tmp_path):
    expected = made(tower, tmp_path).maps.copy()
    (done,) = tmp_path.glob("*.done")
    done.unlink()
    (maps,) = tmp_path.glob("*.u8")
    maps.write_bytes(bytes(maps.stat().st_size // 2))
    np.testing.assert_array_equal(made(tower, tmp_path).maps, expected)
