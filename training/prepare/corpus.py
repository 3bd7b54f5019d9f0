"""All texts of a training, each once: as tokens, and as the vectors that the sentence teacher makes of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coca_model.tokenizer import Tokenizer, clean_text, train_tokenizer
from training.batches.batch import Texts
from training.examples.example import Example
from training.recipe import Recipe
from training.teachers.classifier import imagenet_classes
from training.teachers.sentences import MiniLM, SentenceTeacher, kept_sentences

_CLASS_SENTENCES = ("{}", "a {}", "a photo of a {}", "a picture of the {}")
_WORD_SENTENCES = ("{}", "a photo of a {}")


@dataclass(frozen=True)
class Corpus:
    """Texts by number.

    Attributes:
        of_example: for each example the numbers of its texts.
        sentences: int64, the numbers of the texts that may be trained on without a picture.
        spoken: bool (N,), the texts that people wrote as sentences, which the decoder may learn to write.
        teacher: float16 (N, E'), or None without a teacher.
    """

    token_ids: tuple[tuple[int, ...], ...]
    of_example: tuple[tuple[int, ...], ...]
    sentences: NDArray[np.int64]
    spoken: NDArray[np.bool_]
    teacher: Tensor | None
    pad: int

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text, int64 (N,)."""
        return np.array([len(ids) for ids in self.token_ids], np.int64)

    def batch(self, numbers: NDArray[np.int64], *, most_tokens: int, decoded: NDArray[np.bool_]) -> Texts:
        """The given texts, cut to `most_tokens`, their end kept; `decoded` bool (B,) says which of them the decoder learns on."""
        rows = [self._cut(self.token_ids[number], most_tokens) for number in numbers]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.pad)
        valid = ids != self.pad  # which hides CLIP's "!" inside words too, as in its training
        teacher = None if self.teacher is None else nn.functional.normalize(self.teacher[torch.from_numpy(numbers)].float(), dim=-1)
        return Texts(ids, valid, torch.from_numpy(decoded), teacher)

    @staticmethod
    def _cut(ids: tuple[int, ...], most: int) -> Tensor:
        return torch.tensor(ids if len(ids) <= most else (*ids[: most - 1], ids[-1]))


def texts_of(examples: Sequence[Example], recipe: Recipe, clean: Callable[[str], str] = clean_text) -> list[tuple[str, ...]]:
    """The texts of each example, a label inside its sentence, cleaned as queries are; what cleaning leaves nothing of is none."""
    shapes = {"label": recipe.label}
    cleaned = [[clean(shapes.get(example.kind, "{}").format(text)) for text in example.texts] for example in examples]
    return [tuple(text for text in texts if text) for texts in cleaned]


def read_corpus(
    examples: Sequence[Example],
    sentences: Sequence[str],
    recipe: Recipe,
    *,
    tokenizer: Tokenizer | None,
    context_length: int,
    teacher: SentenceTeacher | None,
    folder: Path,
) -> tuple[Corpus, Tokenizer]:
    """Gather the texts, those of held-out pictures apart: they get tokens and vectors, and are never trained on.

    Args:
        tokenizer: the model's, or None to learn one from the texts.
    """
    clean = clean_text if tokenizer is None else tokenizer.clean
    described = texts_of(examples, recipe, clean)
    trained = [text for example, texts in zip(examples, described, strict=True) if example.split == "train" for text in texts]
    captions = [example.kind == "caption" and recipe.source(example.source).captions for example in examples]
    asked = {
        text
        for example, texts, caption in zip(examples, described, captions, strict=True)
        if example.split != "train" and caption
        for text in texts
    }
    alone = [text for text in map(clean, sentences) if text and text not in asked]  # what will be asked is in no sentence
    words = teacher.words() if isinstance(teacher, MiniLM) else []
    imitated = [shape.format(word) for word in words for shape in _WORD_SENTENCES]
    if recipe.class_teacher:
        imitated += [shape.format(name) for name in imagenet_classes() for shape in _CLASS_SENTENCES]
    held_out = [text for example, texts in zip(examples, described, strict=True) if example.split != "train" for text in texts]
    number = {text: row for row, text in enumerate(dict.fromkeys([*alone, *trained, *imitated]))}
    num_trained = len(number)
    for text in held_out:
        number.setdefault(text, len(number))
    if tokenizer is None:
        tokenizer = train_tokenizer([*alone, *trained, *words], vocabulary_size=recipe.vocabulary_size, context_length=context_length)
    ids, valid = tokenizer.encode(list(number))
    spoken = np.zeros(len(number), bool)
    spoken[[number[text] for text in alone]] = True
    for example, texts, caption in zip(examples, described, captions, strict=True):
        if example.split == "train" and caption:
            spoken[[number[text] for text in texts]] = True
    vectors = None if teacher is None else kept_sentences(teacher, recipe.sentence_teacher, list(number), folder)
    corpus = Corpus(
        tuple(tuple(row[: _length(mask)].tolist()) for row, mask in zip(ids, valid, strict=True)),
        tuple(tuple(number[text] for text in texts) for texts in described),
        np.arange(num_trained),
        spoken,
        vectors,
        tokenizer.special.pad,
    )
    return corpus, tokenizer


def _length(valid: Tensor) -> int:
    """Up to the last token that counts; valid: bool (T,)."""
    return int(valid.nonzero()[-1]) + 1
