"""Trains the embedded checkpoint: first the text side alone, then both towers and the decoder together.

Text phase: the unimodal decoder imitates a sentence encoder, and the multimodal decoder learns the language without
pictures. Joint phase: the paper's contrastive and captioning losses over kept stem maps (see `training_data`), with soft
targets for captions that mean the same, and the image teacher's class probabilities as a second opinion.
"""

import copy
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from coca_model import losses
from coca_model.checkpoint import read_checkpoint, save_checkpoint
from coca_model.coca import CoCa
from coca_model.distill import ImageTeacher, TextTeacher
from coca_model.errors import TrainingError
from coca_model.find_checkpoint import find_checkpoint
from coca_model.mobilenet import MobileNetV2
from coca_model.published_configs import embedded_config
from coca_model.retrieval_metrics import recall_at
from coca_model.tokenizer import Tokenizer, clean_text, train_tokenizer
from coca_model.training_data import Example, Views, make_views, read_examples

# How often each source is drawn, and how many views of each of its pictures are kept.
SOURCE_WEIGHT = {
    "flickr8k": 0.46,
    "coco": 0.12,
    "openstax": 0.08,
    "caltech101": 0.12,
    "imagenet-sample-images": 0.06,
    "tiny-imagenet": 0.08,
}
SOURCE_VIEWS = {"flickr8k": 8, "coco": 8, "openstax": 4, "caltech101": 4, "imagenet-sample-images": 6}
OTHER_WEIGHT, OTHER_VIEWS = 0.016, 2
_CLASS_TEMPLATES = ("{}", "a {}", "a photo of a {}", "a picture of the {}")
_WORD_TEMPLATES = ("{}", "a photo of a {}")


@dataclass(frozen=True)
class TrainOptions:
    """What `coca-search train` needs: folders, lengths in steps, batch sizes in pictures and sentences.

    `start` is a checkpoint to go on from, with the joint phase only.
    """

    data: Path
    teacher: Path
    output: Path
    work: Path
    start: Path | None = None
    text_steps: int = 1200
    joint_steps: int = 420
    batch: int = 448
    caption_batch: int = 192
    text_batch: int = 512
    learning_rate: float = 1e-3
    vocabulary_size: int = 12288
    keep_patches: int = 33
    max_tokens: int = 32
    seed: int = 0


@dataclass(frozen=True)
class Corpus:
    """Sentences with what the sentence encoder makes of them: ids per text, teacher float16 (N, E), sentence bool (N,).

    The first `num_trained` may be trained on; those behind them are held out.
    """

    token_ids: list[list[int]]
    teacher: Tensor
    sentence: NDArray[np.bool_]
    num_trained: int

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """token_ids (B, T), valid (B, T), teacher float32 (B, E) of the given rows."""
        ids = nn.utils.rnn.pad_sequence([torch.tensor(self.token_ids[row]) for row in rows], batch_first=True)
        return ids, ids != 0, self.teacher[torch.from_numpy(rows)].float()


def train(options: TrainOptions) -> dict[str, float]:
    """Train, write the checkpoint to `options.output`, and return what it reaches on the held-out split."""
    torch.manual_seed(options.seed)
    examples = read_examples(options.data)
    image_teacher, text_teacher = ImageTeacher(options.teacher), TextTeacher()
    corpus, tokenizer, text_rows = _read_corpus(options, examples, image_teacher, text_teacher)
    model = CoCa(embedded_config(tokenizer.vocabulary_size)) if options.start is None else _read_start(options.start, tokenizer)
    assert isinstance(model.image_tower.stem, MobileNetV2)
    image_teacher.fill(model.image_tower.stem)
    model.image_tower.stem.requires_grad_(False)
    extractor = copy.deepcopy(model.image_tower)
    views = make_views(examples, SOURCE_VIEWS, tower=extractor, folder=options.work, dtype=torch.bfloat16, default_views=OTHER_VIEWS)
    classes = text_teacher.encode([f"a photo of a {name}" for name in image_teacher.class_names])
    trainer = _Trainer(options, model, corpus)
    recipe = (options.text_steps, options.text_batch, options.learning_rate, options.seed)
    kept = options.work / f"text_phase_{_key([recipe, corpus.token_ids[: corpus.num_trained]])}.pt"
    if options.start is None and kept.exists():
        trainer.load(kept)
    elif options.start is None:
        trainer.text_phase()
        trainer.save(kept)
    trainer.joint_phase(_PictureSampler(examples, views, text_rows, options), image_teacher, classes)
    save_checkpoint(options.output, trainer.average, tokenizer)
    return trainer.validate(examples, views, text_rows)


def _read_start(folder: Path, tokenizer: Tokenizer) -> CoCa:
    """The model to go on from. Raises TrainingError where the texts have given another vocabulary since."""
    model, its_tokenizer, _ = read_checkpoint(find_checkpoint(folder))
    if its_tokenizer.to_json() != tokenizer.to_json():
        raise TrainingError(
            f"{folder}: its tokenizer is not the one of these texts. Train from the start, or with the texts it was trained on."
        )
    return model.requires_grad_(True).train()


def _read_corpus(
    options: TrainOptions, examples: Sequence[Example], image_teacher: ImageTeacher, text_teacher: TextTeacher
) -> tuple[Corpus, Tokenizer, list[list[int]]]:
    """All texts, each once. Returns the corpus, a tokenizer learnt from it, and for each example the rows of its texts."""
    sentences = [clean_text(line) for line in (options.data / "captions.txt").read_text().splitlines()]
    described = [text for example in examples if example.split == "train" for text in example.texts]
    held_out = [text for example in examples if example.split == "val" for text in example.texts]
    names = [template.format(name) for name in image_teacher.class_names for template in _CLASS_TEMPLATES]
    words = [template.format(word) for word in text_teacher.words() for template in _WORD_TEMPLATES]
    unique = {text: row for row, text in enumerate(dict.fromkeys([*sentences, *described, *names, *words]))}
    num_trained = len(unique)
    for text in held_out:
        unique.setdefault(text, len(unique))
    texts = list(unique)
    tokenizer = train_tokenizer(
        [*sentences, *described, *text_teacher.words()],
        vocabulary_size=options.vocabulary_size,
        context_length=embedded_config(0).text.context_length,
    )
    ids, valid = tokenizer.encode(texts)
    rows = [row[mask].tolist() for row, mask in zip(ids, valid, strict=True)]
    options.work.mkdir(parents=True, exist_ok=True)
    cached = options.work / f"teacher_{_key(texts)}.pt"
    teacher = torch.load(cached) if cached.exists() else text_teacher.encode(texts).half()
    torch.save(teacher, cached)
    is_sentence = np.zeros(len(texts), dtype=bool)
    is_sentence[[unique[text] for text in (*sentences, *described)]] = True
    text_rows = [[unique[text] for text in example.texts] for example in examples]
    return Corpus(rows, teacher, is_sentence, num_trained), tokenizer, text_rows


def _key(value: object) -> str:
    """A name for what was computed from `value`, so that nothing stale is taken for it."""
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]


class _PictureSampler:
    """Draws training pictures by source weight, a view and a text of each; those with captions come first."""

    def __init__(self, examples: Sequence[Example], views: Views, text_rows: list[list[int]], options: TrainOptions) -> None:
        self.views, self.text_rows = views, text_rows
        self.random = np.random.default_rng(options.seed)
        self.caption_batch = options.caption_batch
        order = np.argsort(views.example, kind="stable")
        self.rows_of = np.split(order, np.searchsorted(views.example[order], np.arange(1, len(examples))))
        usable = np.array([example.split == "train" and bool(example.texts) for example in examples])
        source = np.array([example.source for example in examples])
        weight = np.zeros(len(examples))
        for name in np.unique(source):
            member = usable & (source == name)
            weight[member] = SOURCE_WEIGHT.get(str(name), OTHER_WEIGHT) / max(member.sum(), 1)
        self.weight = weight / weight.sum()
        self.captioned = np.array([example.kind == "caption" and example.source != "fashion" for example in examples])

    def draw(self, count: int) -> tuple[Tensor, NDArray[np.int64], int]:
        """Returns features (B, P, C), the corpus row of each text int64 (B,), and how many at the front have captions."""
        usable = np.count_nonzero(self.weight)
        if count > usable:
            raise TrainingError(f"A batch of {count} pictures cannot be drawn from {usable} with texts. Choose a smaller batch.")
        chosen = self.random.choice(len(self.weight), count, replace=False, p=self.weight)
        chosen = chosen[np.argsort(~self.captioned[chosen], kind="stable")]
        rows = np.array([self.random.choice(self.rows_of[example]) for example in chosen])
        texts = np.array([self.random.choice(self.text_rows[example]) for example in chosen])
        return self.views.features(rows), texts, min(int(self.captioned[chosen].sum()), self.caption_batch)


class _Trainer:
    def __init__(self, options: TrainOptions, model: CoCa, corpus: Corpus) -> None:
        self.options, self.model, self.corpus = options, model, corpus
        self.average = copy.deepcopy(model).requires_grad_(False).eval()
        self.random = np.random.default_rng(options.seed + 1)
        self.lengths = np.array([len(ids) for ids in corpus.token_ids])
        self.sentences = np.flatnonzero(corpus.sentence[: corpus.num_trained])
        self.trained = np.arange(corpus.num_trained)

    def save(self, path: Path) -> None:
        torch.save([self.model.state_dict(), self.average.state_dict()], path)

    def load(self, path: Path) -> None:
        for module, state in zip((self.model, self.average), torch.load(path), strict=True):
            module.load_state_dict(state)

    def text_phase(self) -> None:
        modules = [self.model.unimodal, self.model.multimodal]
        self._run("text", self.options.text_steps, modules, self._text_loss, average=0.995)

    def joint_phase(self, sampler: _PictureSampler, teacher: ImageTeacher, classes: Tensor) -> None:
        def loss() -> dict[str, Tensor]:
            return self._joint_loss(sampler, teacher, classes)

        self._run("joint", self.options.joint_steps, [self.model], loss, average=0.998, slow=self.model.unimodal)

    def _run(
        self,
        name: str,
        steps: int,
        modules: Sequence[nn.Module],
        loss: Callable[[], dict[str, Tensor]],
        *,
        average: float,
        slow: nn.Module | None = None,
    ) -> None:
        chosen = {id(p): p for module in modules for p in module.parameters() if p.requires_grad}
        slower = {id(p) for p in slow.parameters()} if slow else set()
        groups = [
            {"params": [p for key, p in chosen.items() if key not in slower], "rate": self.options.learning_rate},
            {"params": [p for key, p in chosen.items() if key in slower], "rate": self.options.learning_rate * 0.3},
        ]
        optimizer = torch.optim.AdamW(groups, lr=0.0, weight_decay=0.05, betas=(0.9, 0.98))
        started = time.monotonic()
        for step in range(steps):
            warm, cool = min(1.0, 10 * (step + 1) / steps), 0.5 * (1 + np.cos(np.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * warm * cool
            with sdpa_kernel(SDPBackend.MATH):  # on a CPU the fused backward is slower for sentences this short
                parts = loss()
                optimizer.zero_grad(set_to_none=True)
                torch.stack(list(parts.values())).sum().backward()
            nn.utils.clip_grad_norm_(list(chosen.values()), 1.0)
            optimizer.step()
            decay = min(average, (step + 1) / (step + 10))
            for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
                kept.lerp_(new.detach(), 1 - decay)
            if step % 25 == 24 or step + 1 == steps:
                shown = {key: round(value.item(), 4) for key, value in parts.items()}
                print(json.dumps({"phase": name, "step": step + 1, **shown, "seconds": round(time.monotonic() - started)}), flush=True)

    def _draw_text(self, count: int, *, sentences: bool = False) -> NDArray[np.int64]:
        """Texts of about one length, so that little is computed on padding."""
        pool = self.random.choice(self.sentences if sentences else self.trained, count * 8)
        pool = pool[np.argsort(self.lengths[pool] + self.random.uniform(0, 1, len(pool)))]
        start = self.random.integers(0, len(pool) - count + 1)
        return np.asarray(pool[start : start + count])

    def _text_loss(self) -> dict[str, Tensor]:
        ids, valid, teacher = self.corpus.batch(self._draw_text(self.options.text_batch))
        with torch.autocast("cpu", torch.bfloat16):
            embedding, _ = self.model.encode_text(ids, valid)
        return {"distil": losses.distillation_loss(F.normalize(embedding.float(), dim=-1), teacher), "language": self._language_loss(64)}

    def _language_loss(self, count: int) -> Tensor:
        ids, valid, _ = self.corpus.batch(self._draw_text(count, sentences=True))
        return 0.3 * self._caption_loss(ids, valid, None)

    def _caption_loss(self, ids: Tensor, valid: Tensor, caption_tokens: Tensor | None) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            _, text_tokens = self.model.encode_text(ids, valid)
            hidden = self.model.multimodal.hidden(text_tokens, caption_tokens)
            return losses.captioning_loss(hidden, self.model.multimodal.output, ids, valid)

    def _joint_loss(self, sampler: _PictureSampler, teacher: ImageTeacher, classes: Tensor) -> dict[str, Tensor]:
        options, model = self.options, self.model
        features, texts, captioned = sampler.draw(options.batch)
        ids, valid, meaning = self.corpus.batch(texts)
        ids, valid = ids[:, : options.max_tokens], valid[:, : options.max_tokens]
        keep = torch.randperm(features.shape[1])[: options.keep_patches]
        with torch.autocast("cpu", torch.bfloat16):
            image, caption_tokens = model.poolers(model.image_tower.encode_map(features, keep))
            text, text_tokens = model.encode_text(ids, valid)
            hidden = model.multimodal.hidden(text_tokens[:captioned], caption_tokens[:captioned])
            caption = losses.captioning_loss(hidden, model.multimodal.output, ids[:captioned], valid[:captioned])
        image, text = F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)
        scale = model.log_scale.exp().clamp(max=100.0)
        same = losses.soft_targets(meaning, 0.05)
        class_logits = 20.0 * image @ classes.T  # (B, 1000)
        extra_ids, extra_valid, extra_meaning = self.corpus.batch(self._draw_text(160))
        with torch.autocast("cpu", torch.bfloat16):
            extra, _ = model.encode_text(extra_ids, extra_valid)
        seen = torch.cat([text, F.normalize(extra.float(), dim=-1)])
        return {
            "contrast": losses.CONTRASTIVE_WEIGHT * losses.contrastive_loss(image, text, scale, same),
            "sentence": losses.contrastive_loss(image, meaning, scale, same),
            "caption": losses.CAPTIONING_WEIGHT * caption,
            "distil": losses.distillation_loss(seen, torch.cat([meaning, extra_meaning])),
            "classes": 0.5 * F.cross_entropy(class_logits, teacher.probabilities(features)),
            "language": self._language_loss(32),
        }

    @torch.inference_mode()
    def validate(self, examples: Sequence[Example], views: Views, text_rows: list[list[int]]) -> dict[str, float]:
        """Recall of the averaged model on the held-out pictures, exact ranking, both ways."""
        held_out = [index for index, example in enumerate(examples) if example.split == "val"]
        first_view = np.searchsorted(views.example, held_out)
        rows = np.array([row for index in held_out for row in text_rows[index]])
        owner = np.array([place for place, index in enumerate(held_out) for _ in text_rows[index]])
        ids, valid, _ = self.corpus.batch(rows)
        with torch.autocast("cpu", torch.bfloat16):
            image = torch.cat(
                [
                    self.average.poolers(self.average.image_tower.encode_map(views.features(part)))[0]
                    for part in np.array_split(first_view, 8)
                ]
            )
            text = torch.cat([self.average.encode_text(*pair)[0] for pair in zip(ids.split(500), valid.split(500), strict=True)])
        similarity = F.normalize(text.float(), dim=-1) @ F.normalize(image.float(), dim=-1).T  # (texts, pictures)
        return recall_at(similarity.numpy(), owner)
