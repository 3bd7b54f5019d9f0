"""Features are cached: nothing is computed twice, and a killed run continues after its last batch."""

import sqlite3

import numpy as np
import pytest

from evaluation.datasets.dataset import Medium
from evaluation.errors import EvaluationError, UnreadableMediaError
from evaluation.features import MEAN_VECTOR, FeatureSource, ResultCache
from tests.fakes import COLOURS, FakeEncoder, write_film, write_picture


class CountingEncoder(FakeEncoder):
    """Counts the pictures and texts that it encodes, and raises KeyboardInterrupt after a number of pictures."""

    def __init__(self, most=10_000):
        super().__init__()
        self.pictures, self.texts, self._most = 0, 0, most

    def encode_pixels(self, pixels):
        if self.pictures + len(pixels) > self._most:
            raise KeyboardInterrupt
        self.pictures += len(pixels)
        return super().encode_pixels(pixels)

    def encode_texts(self, texts):
        self.texts += len(texts)
        return np.concatenate([FakeEncoder().encode_texts([text]) for text in texts])


@pytest.fixture
def media(tmp_path):
    return [Medium(c, write_picture(tmp_path / f"{c}.png", c), "image", f"record {c}") for c in COLOURS]


def test_a_second_run_computes_nothing(tmp_path, media):
    first, second = CountingEncoder(), CountingEncoder()
    once = FeatureSource(first, ResultCache(tmp_path / "c")).of_media(media, MEAN_VECTOR).vectors()
    again = FeatureSource(second, ResultCache(tmp_path / "c")).of_media(media, MEAN_VECTOR).vectors()
    assert (first.pictures, second.pictures) == (6, 0)
    np.testing.assert_array_equal(once, again)


def test_vectors_equal_the_encoders_in_the_order_of_the_media(tmp_path, media):
    vectors = FeatureSource(FakeEncoder(), ResultCache(tmp_path / "c")).of_media(media[::-1], MEAN_VECTOR).vectors()
    np.testing.assert_allclose(vectors, FakeEncoder().encode_images([medium.path for medium in media[::-1]]), atol=1e-6)


def test_a_killed_run_continues_after_its_last_batch(tmp_path, media):
    with pytest.raises(KeyboardInterrupt):
        FeatureSource(CountingEncoder(most=5), ResultCache(tmp_path / "c")).of_media(media, MEAN_VECTOR)
    after = CountingEncoder()
    FeatureSource(after, ResultCache(tmp_path / "c")).of_media(media, MEAN_VECTOR)
    assert after.pictures == 2  # of six; the first batch of four is cached


def test_another_model_does_not_use_the_cached_features(tmp_path, media):
    other = CountingEncoder()
    other.model_id = "fake@2"
    FeatureSource(CountingEncoder(), ResultCache(tmp_path / "c")).of_media(media, MEAN_VECTOR)
    FeatureSource(other, ResultCache(tmp_path / "c")).of_media(media, MEAN_VECTOR)
    assert other.pictures == 6


def test_a_changed_file_with_the_same_name_is_computed_again(tmp_path, media):
    FeatureSource(CountingEncoder(), ResultCache(tmp_path / "c")).of_media(media, MEAN_VECTOR)
    write_picture(media[0].path, "white", size=(90, 60))
    encoder = CountingEncoder()
    FeatureSource(encoder, ResultCache(tmp_path / "c")).of_media(media, MEAN_VECTOR)
    assert encoder.pictures == 1


def test_equal_files_and_texts_are_computed_once(tmp_path):
    twins = [Medium(n, write_picture(tmp_path / f"{n}.png", "red"), "image", n) for n in "abc"]
    encoder = CountingEncoder()
    source = FeatureSource(encoder, ResultCache(tmp_path / "c"))
    assert len(source.of_media(twins, MEAN_VECTOR).vectors()) == 3
    assert len(source.of_texts(["red", "red", "blue"])) == 3
    assert (encoder.pictures, encoder.texts) == (1, 2)


def test_a_video_is_the_mean_of_sixteen_frames(tmp_path):
    film = write_film(tmp_path / "film.mp4", [("red", 3.0), ("blue", 1.0)], fps=8)
    encoder = CountingEncoder()
    (vector,) = FeatureSource(encoder, ResultCache(tmp_path / "c")).of_media([Medium("f", film, "video", "f")], MEAN_VECTOR).vectors()
    red, blue = FakeEncoder().encode_texts(["red", "blue"])
    mean = (12 * red + 4 * blue) / 16
    assert encoder.pictures == 16
    assert vector @ (mean / np.linalg.norm(mean)) > 0.999


def test_progress_counts_to_the_total(tmp_path, media):
    steps = []
    source = FeatureSource(FakeEncoder(), ResultCache(tmp_path / "c"), on_progress=lambda *step: steps.append(step))
    source.of_media(media, MEAN_VECTOR)
    source.of_texts(["red", "blue"])
    assert steps == [(stage, n, 6) for stage in ("hashes", "media") for n in range(1, 7)] + [("texts", 2, 2)]


@pytest.mark.parametrize(("kind", "name"), [("image", "gone.png"), ("video", "gone.mp4")])
def test_a_missing_file_is_named(tmp_path, kind, name):
    source = FeatureSource(FakeEncoder(), ResultCache(tmp_path / "c"))
    with pytest.raises(UnreadableMediaError, match=f"list.csv: line 3: '{name}' cannot be read"):
        source.of_media([Medium(name, tmp_path / name, kind, "list.csv: line 3")], MEAN_VECTOR)


def test_media_before_a_broken_one_are_cached(tmp_path, media):
    broken = Medium("b", tmp_path / "none.png", "image", "b")
    with pytest.raises(UnreadableMediaError):
        FeatureSource(FakeEncoder(), ResultCache(tmp_path / "c")).of_media([*media, broken], MEAN_VECTOR)
    encoder = CountingEncoder()
    FeatureSource(encoder, ResultCache(tmp_path / "c")).of_media(media, MEAN_VECTOR)
    assert encoder.pictures == 0


def test_a_file_that_is_not_a_cache_is_refused_by_name(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database at all, but long enough to look like one" * 100)
    with pytest.raises(EvaluationError, match=r"notes\.txt: cannot be used as a cache"):
        ResultCache(tmp_path / "notes.txt")


def damaged(path):
    data = bytearray(path.read_bytes())
    data[200:] = bytes(len(data) - 200)
    path.write_bytes(bytes(data))


def with_another_table(path):
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE results (something TEXT)")
    database.close()


def with_a_broken_value(path):
    with sqlite3.connect(path) as database:
        database.execute("UPDATE results SET value = x'00112233'")
    database.close()


@pytest.mark.parametrize("damage", [damaged, with_another_table, with_a_broken_value])
def test_a_damaged_cache_is_refused_by_name(tmp_path, media, damage):
    cache = ResultCache(tmp_path / "c.sqlite")
    FeatureSource(FakeEncoder(), cache).of_media(media, MEAN_VECTOR)
    cache.close()
    damage(tmp_path / "c.sqlite")
    with pytest.raises(EvaluationError, match=r"c\.sqlite: cannot be used as a cache .* Name another file with --cache"):
        FeatureSource(FakeEncoder(), ResultCache(tmp_path / "c.sqlite")).of_media(media, MEAN_VECTOR).vectors()


def test_two_broken_files_with_the_same_bytes_are_both_named(tmp_path, media):
    broken = [Medium(name, tmp_path / name, "image", f"list: line {n}") for n, name in enumerate(("a.png", "b.png"))]
    for medium in broken:
        medium.path.write_bytes(b"x")
    source = FeatureSource(FakeEncoder(), ResultCache(tmp_path / "c"), allow_missing=True)
    failed = source.of_media([broken[0], media[0], broken[1]], MEAN_VECTOR).failed
    assert [(index, reason[:38]) for index, reason in failed.items()] == [
        (0, "list: line 0: 'a.png' cannot be read: "),
        (2, "list: line 1: 'b.png' cannot be read: "),
    ]
