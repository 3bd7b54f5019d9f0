import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model import losses
from coca_model.coca import CoCa
from coca_model.config import ImageConfig
from coca_model.train import Corpus, TrainOptions, _PictureSampler, _read_corpus, _Trainer
from coca_model.training_data import Example, Views

WIDTH = 16  # E of the tiny model
CLASSES = 10
OPTIONS = TrainOptions(
    Path("data"), Path("teacher"), Path("output"), Path("work"),
    text_steps=30, joint_steps=2, batch=6, caption_batch=3, text_batch=16, learning_rate=0.02, keep_patches=3,
)  # fmt: skip


@pytest.fixture
def corpus(tiny_tokenizer):
    """Sixty texts with a random meaning each; the last ten are no sentences."""
    words = [
        f"{size} {animal}"
        for size in ("a", "two", "red", "brown", "white", "black")
        for animal in ("dog", "cat", "bird", "car", "man", "tree", "boat", "sea", "cup", "book")
    ]
    ids, valid = tiny_tokenizer.encode(words)
    meaning = F.normalize(torch.randn(60, WIDTH), dim=-1).half()
    return Corpus([row[mask].tolist() for row, mask in zip(ids, valid, strict=True)], meaning, np.arange(60) < 50, 60)


@pytest.fixture
def trainer(tiny_config, corpus):
    image = ImageConfig(64, 32, "mobilenet_v2", width=32, layers=1, heads=2, mlp_width=32, resize="squash")
    model = CoCa(dataclasses.replace(tiny_config, image=image))
    model.image_tower.stem.requires_grad_(False)
    return _Trainer(OPTIONS, model, corpus)


def make_examples(count):
    """One in three is held out, one in four has no text, and every second of the others has a label only."""
    examples = []
    for i in range(count):
        split, kind = "val" if i % 3 == 2 else "train", "label" if i % 2 else "caption"
        examples.append(Example("flickr8k" if i % 5 else "other", split, kind, () if i % 4 == 3 else (f"text {i}",), b""))
    return examples


def make_sampler(count=40, views_each=2, **options):
    """Text i, and every value of the maps of example i, is i."""
    owner = np.repeat(np.arange(count), views_each)
    maps = np.broadcast_to(owner[:, None, None], (len(owner), 4, 1280)).astype(np.uint8)
    examples = make_examples(count)
    text_rows = [[i] if example.texts else [] for i, example in enumerate(examples)]
    return _PictureSampler(examples, Views(maps, owner), text_rows, dataclasses.replace(OPTIONS, **options)), examples


def test_corpus_pads_the_rows_that_are_asked_for(corpus):
    ids, valid, teacher = corpus.batch(np.array([59, 3]))
    assert [row[mask].tolist() for row, mask in zip(ids, valid, strict=True)] == [corpus.token_ids[59], corpus.token_ids[3]]
    assert torch.equal(teacher, corpus.teacher[[59, 3]].float())


def test_sampler_draws_every_training_picture_with_a_text_and_no_other():
    sampler, examples = make_sampler()
    expected = [i for i, example in enumerate(examples) if example.split == "train" and example.texts]
    for _ in range(5):
        _, texts, _ = sampler.draw(len(expected))
        assert sorted(texts) == expected


def test_sampler_gives_each_picture_with_its_own_text_and_captions_first():
    sampler, examples = make_sampler()
    features, texts, captioned = sampler.draw(8)
    assert_close(features, torch.from_numpy(texts).to(torch.bfloat16)[:, None, None].expand(-1, 4, 1280) * (6 / 255))
    kinds = [examples[text].kind for text in texts]
    assert kinds == sorted(kinds)  # "caption" before "label"
    assert captioned == min(kinds.count("caption"), OPTIONS.caption_batch)
    assert len(set(texts)) == 8


def test_sampler_draws_sources_by_their_weight(monkeypatch):
    monkeypatch.setattr("coca_model.train.SOURCE_WEIGHT", {"flickr8k": 0.75})
    monkeypatch.setattr("coca_model.train.OTHER_WEIGHT", 0.25)
    sampler, examples = make_sampler()
    usable = [example.split == "train" and bool(example.texts) for example in examples]
    per_source = {name: sum(u and e.source == name for u, e in zip(usable, examples, strict=True)) for name in ("flickr8k", "other")}
    expected = [
        (0.75 if e.source == "flickr8k" else 0.25) / per_source[e.source] if u else 0 for u, e in zip(usable, examples, strict=True)
    ]
    np.testing.assert_allclose(sampler.weight, expected)


def distance(model, corpus):
    ids, valid, teacher = corpus.batch(np.arange(60))
    with torch.inference_mode():
        return losses.distillation_loss(F.normalize(model.encode_text(ids, valid)[0], dim=-1), teacher).item()


def test_text_phase_brings_the_texts_towards_the_teacher(trainer, corpus, capsys):
    before = distance(trainer.model, corpus)
    image_before = trainer.model.poolers.project.weight.clone()
    trainer.text_phase()
    assert distance(trainer.model, corpus) < 0.8 * before
    assert distance(trainer.average, corpus) < 0.9 * before
    assert torch.equal(trainer.model.poolers.project.weight, image_before)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["phase"], line["step"]) for line in lines] == [("text", 25), ("text", 30)]


def test_a_saved_text_phase_goes_on_with_the_same_weights(trainer, corpus, tmp_path):
    trainer.text_phase()
    trainer.save(tmp_path / "kept.pt")
    other = _Trainer(OPTIONS, CoCa(trainer.model.config), corpus)
    other.load(tmp_path / "kept.pt")
    for name in ("model", "average"):
        assert_close(getattr(other, name).state_dict(), getattr(trainer, name).state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("sentences", [False, True])
def test_texts_are_drawn_at_about_one_length(trainer, corpus, sentences):
    rows = trainer._draw_text(16, sentences=sentences)
    assert len(rows) == 16
    lengths = trainer.lengths[rows]
    assert (np.diff(lengths) >= 0).all()
    assert not sentences or corpus.sentence[rows].all()


@pytest.mark.parametrize("with_image", [False, True])
def test_the_caption_loss_is_the_cross_entropy_of_the_words_that_follow(trainer, corpus, with_image):
    ids, valid, _ = corpus.batch(np.arange(0, 60, 7))
    image = torch.randn(len(ids), 4, 32) if with_image else None
    torch.nn.init.normal_(trainer.model.multimodal.blocks[0].cross_attention.output.weight)  # so that the image matters
    logits = trainer.model.caption_logits(trainer.model.encode_text(ids, valid)[1], image)
    expected = F.cross_entropy(logits[:, :-1][valid[:, 1:]], ids[:, 1:][valid[:, 1:]])
    assert_close(trainer._caption_loss(ids, valid, image), expected, rtol=2e-3, atol=0)  # trains in bfloat16


def test_joint_phase_trains_both_towers_and_not_the_stem(trainer, capsys):
    sampler, _ = make_sampler(views_each=1)
    teacher = SimpleNamespace(probabilities=lambda features: torch.full((len(features), CLASSES), 1 / CLASSES))
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.joint_phase(sampler, teacher, F.normalize(torch.randn(CLASSES, WIDTH), dim=-1))
    changed = {name for name, tensor in trainer.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {"image_tower.position", "poolers.project.weight", "unimodal.cls", "multimodal.norm.weight", "log_scale"} <= changed
    assert not [name for name in changed if name.startswith("image_tower.stem")]
    shown = json.loads(capsys.readouterr().out)
    assert set(shown) == {"phase", "step", "contrast", "sentence", "caption", "distil", "classes", "language", "seconds"}


def test_validation_ranks_the_first_view_of_the_held_out_pictures_only(trainer):
    """A stand-in model that knows each held-out picture and text, but not the second views nor the training pictures."""
    examples = [Example("s", "val" if i % 2 else "train", "caption", (f"text {i}",), b"") for i in range(22)]
    owner = np.repeat(np.arange(22), 2)
    maps = np.zeros((44, 1, 30), dtype=np.uint8)
    maps[np.arange(2, 44, 4), 0, np.arange(1, 22, 2)] = 255
    corpus = Corpus([[1, 3 + i] for i in range(22)], torch.zeros(22, WIDTH), np.ones(22, bool), 22)
    trainer.corpus, trainer.average = corpus, SimpleNamespace(
        image_tower=SimpleNamespace(encode_map=lambda features: features),
        poolers=lambda tokens: (tokens[:, 0], None),
        encode_text=lambda ids, valid: (F.one_hot(ids[:, 1] - 3, 30), None),
    )  # fmt: skip
    result = trainer.validate(examples, Views(maps, owner), [[i] for i in range(22)])
    assert set(result.values()) == {100.0}
    assert len(result) == 6


def test_a_held_out_text_is_never_drawn(trainer, corpus):
    trainer = _Trainer(OPTIONS, trainer.model, dataclasses.replace(corpus, num_trained=40))
    drawn = {int(row) for sentences in (False, True) for _ in range(200) for row in trainer._draw_text(8, sentences=sentences)}
    assert drawn == set(range(40))


def test_held_out_texts_are_set_apart_unless_they_were_also_written_of_a_training_picture(tmp_path):
    (tmp_path / "captions.txt").write_text("a dog runs\na cat sleeps\n")
    examples = [
        Example("s", "train", "caption", ("a man sings", "a dog runs"), b""),
        Example("s", "val", "caption", ("a boat sinks", "a man sings"), b""),
    ]
    teacher = SimpleNamespace(class_names=["cup"], words=lambda: ["tree"], encode=lambda texts: torch.zeros(len(texts), WIDTH))
    options = dataclasses.replace(OPTIONS, data=tmp_path, work=tmp_path / "work", vocabulary_size=300)
    corpus, tokenizer, text_rows = _read_corpus(options, examples, teacher, teacher)
    texts = [tokenizer.decode(ids) for ids in corpus.token_ids]
    assert texts[corpus.num_trained :] == ["a boat sinks"]
    assert [[texts[row] for row in rows] for rows in text_rows] == [list(example.texts) for example in examples]
