"""Reranking with the decoder: the inputs of the decoder, and how the two scores are combined."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from coca_model import PictureError
from search.collection.thumbnails import thumbnail_of
from search.decoder_rerank import fused, rerank
from tests.fakes import a_hit


class Decoder:
    """A fake decoder. It scores a picture by its brightness; a text alone has a score of -20."""

    logit_scale = 10.0

    def score(self, pictures, texts):
        assert texts == ["a dog"]
        if pictures is None:
            return np.array([-20.0], np.float32)
        return np.array([[-30.0 + np.asarray(Image.open(picture)).mean() / 10] for picture in pictures], np.float32)


@pytest.fixture
def hits(tmp_path):
    found = [a_hit(media_id=n, similarity=similarity) for n, similarity in enumerate((0.5, 0.4, 0.1))]
    found[1] = replace(found[1], kind="shot", frame_seconds=2.5)
    for hit, brightness in zip(found, (0, 100, 250), strict=True):
        path = thumbnail_of(tmp_path, vars(hit))
        path.parent.mkdir(parents=True)
        Image.new("RGB", (32, 32), (brightness,) * 3).save(path, "WEBP", lossless=True)
    return found


@pytest.mark.parametrize(("weight", "order"), [(0.0, [0, 1, 2]), (0.1, [1, 0, 2]), (1.0, [2, 1, 0])])
def test_the_weight_balances_cosine_and_decoder(hits, tmp_path, weight, order):
    assert [hit.media_id for hit in rerank(hits, "a dog", Decoder(), tmp_path, weight=weight)] == order


def test_cosine_and_decoder_score_are_averaged_in_nats():
    assert fused(np.array([0.5]), np.array([-2.0], np.float32), 10.0, weight=0.25).tolist() == [0.75 * 5 - 0.5]


def test_tied_hits_keep_their_order(hits, tmp_path):
    twins = [replace(hits[0], segment_id=n) for n in range(3)]
    assert [hit.segment_id for hit in rerank(twins, "a dog", Decoder(), tmp_path)] == [0, 1, 2]


def test_an_empty_list_of_hits_stays_empty(tmp_path):
    assert rerank([], "a dog", Decoder(), tmp_path) == []


def test_a_missing_thumbnail_is_named(hits, tmp_path, tiny_encoder):
    with pytest.raises(PictureError, match=r"99.*webp"):
        rerank([replace(hits[0], media_id=99)], "a dog", tiny_encoder, tmp_path)


def test_a_real_model_ranks_by_the_scores_of_the_thumbnails(hits, tmp_path, tiny_encoder):
    pictures = [thumbnail_of(tmp_path, vars(hit)) for hit in hits]
    evidence = tiny_encoder.score(pictures, ["a dog"])[:, 0]
    found = rerank(hits, "a dog", tiny_encoder, tmp_path, weight=1.0)
    assert [hit.media_id for hit in found] == np.argsort(-evidence, kind="stable").tolist()
