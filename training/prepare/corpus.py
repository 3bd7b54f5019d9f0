"""All texts of a training run, each once, as tokens and as vectors of the sentence teacher; and the texts of a batch."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coca_model.tokenizer import Tokenizer, clean_text, train_tokenizer
from training.examples.example import Example
from training.prepare.false_texts import HARD_NEGATIVES, false_texts
from training.recipe import Recipe
from training.teachers.classifier import imagenet_classes
from training.teachers.vectors import MiniLM, SentenceTeacher, sentence_vectors

_CLASS_SENTENCES = ("{}", "a {}", "a photo of a {}", "a picture of the {}")
_WORD_SENTENCES = ("{}", "a photo of a {}")
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])[\"”’)]*\s+(?=[A-Z\"“])")


@dataclass(frozen=True)
class Texts:
    """The texts of a batch as tokens."""

    token_ids: Tensor  # int64 (N, T)
    valid: Tensor  # bool (N, T), False on padding
    decoded: Tensor  # bool (N,), the rows on which the decoder learns to write
    meaning: Tensor | None = None  # float32 (N, E'), the sentence teacher's vectors, each of L2 norm 1, or None without a teacher

    def __len__(self) -> int:
        return len(self.token_ids)

    def __getitem__(self, part: slice) -> "Texts":
        """Some of the texts, cut to the longest of them."""
        valid = self.valid[part]
        length = int(valid.sum(1).max()) if len(valid) else 0
        meaning = None if self.meaning is None else self.meaning[part]
        return Texts(self.token_ids[part, :length], valid[:, :length], self.decoded[part], meaning)

    def to(self, device: torch.device) -> "Texts":
        """A copy on another device."""
        return Texts(**{name: part.to(device) for name, part in vars(self).items() if part is not None})


@dataclass(frozen=True)
class Corpus:
    """N texts by number."""

    token_ids: tuple[tuple[int, ...], ...]
    of_example: tuple[tuple[int, ...], ...]  # for each example the numbers of its texts
    sentences: NDArray[np.int64]  # the numbers of the texts that may be trained on without a picture
    written: NDArray[np.bool_]  # (N,), texts that people wrote as sentences. The decoder learns to write only these
    teacher: Tensor | None  # float16 (N, E'), the sentence teacher's vectors, or None without a teacher
    pad: int
    false: Mapping[int, tuple[tuple[int, ...], ...]] = field(default_factory=dict)  # tokens of the false versions of texts, by number

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each text, int64 (N,)."""
        return np.array([len(ids) for ids in self.token_ids], np.int64)

    def batch(self, numbers: NDArray[np.int64], *, most_tokens: int, decoded: NDArray[np.bool_]) -> Texts:
        """The given texts, cut to `most_tokens` without losing the end token. `decoded`: bool (B,), see `Texts`."""
        ids, valid = self._padded([self.token_ids[number] for number in numbers], most_tokens)
        teacher = None if self.teacher is None else nn.functional.normalize(self.teacher[torch.from_numpy(numbers)].float(), dim=-1)
        return Texts(ids, valid, torch.from_numpy(decoded), teacher)

    def false_batch(self, numbers: NDArray[np.int64], draws: NDArray[np.int64], *, most_tokens: int) -> Texts:
        """A false version of each text that has some, chosen by its number in `draws`. The rows of others have no valid token."""
        versions = [self.false.get(number, ((),)) for number in numbers.tolist()]
        chosen = [found[draw % len(found)] for found, draw in zip(versions, draws.tolist(), strict=True)]
        return Texts(*self._padded(chosen, most_tokens), torch.zeros(len(numbers), dtype=torch.bool))

    def _padded(self, texts: Sequence[Sequence[int]], most_tokens: int) -> tuple[Tensor, Tensor]:
        cut = (ids if len(ids) <= most_tokens else (*ids[: most_tokens - 1], ids[-1]) for ids in texts)
        rows = [torch.tensor(ids, dtype=torch.int64) for ids in cut]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.pad)
        return ids, ids != self.pad  # this also hides CLIP's "!" inside words, as in CLIP's training


def texts_of(examples: Sequence[Example], recipe: Recipe, clean: Callable[[str], str] = clean_text) -> list[tuple[str, ...]]:
    """The texts of each example, cleaned as queries are, a label inside the recipe's sentences. Omits texts that are empty then."""
    return [tuple(dict.fromkeys(filter(None, map(clean, _texts_of(one, recipe))))) for one in examples]


def _texts_of(example: Example, recipe: Recipe) -> list[str]:
    source = recipe.source(example.source)
    if example.kind == "label":
        return [in_sentence(sentence, label) for label in example.texts for sentence in source.labels or (recipe.label,)]
    return [each for text in example.texts for each in (text, *(_sentences_of(text) if source.parts else ()))]


def in_sentence(sentence: str, label: str) -> str:
    """The label in a sentence with `{}`, with "an" before a vowel. A label that begins with an article is a sentence already."""
    if label.partition(" ")[0].lower() in ("a", "an", "the"):
        return label
    if label[:1].lower() in tuple("aeiou"):
        sentence = re.sub(r"\b([Aa]) \{\}", r"\1n {}", sentence)
    return sentence.format(label)


def _sentences_of(text: str) -> list[str]:
    """The sentences of a text, if there are several, without those of one or two words."""
    sentences = [each for each in _BETWEEN_SENTENCES.split(text) if len(each.split()) > 2]
    return sentences if len(sentences) > 1 else []


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
    """Collect the texts. Those of held-out pictures get tokens and vectors too, but are never trained on.

    Without the `tokenizer` of a model, trains one on the texts.
    """
    clean = clean_text if tokenizer is None else tokenizer.clean
    of_examples = texts_of(examples, recipe, clean)
    trained, held_out, written, queries = list[str](), list[str](), list[str](), set[str]()
    for example, texts in zip(examples, of_examples, strict=True):
        (trained if example.split == "train" else held_out).extend(texts)
        if example.kind == "caption" and recipe.source(example.source).captions:
            (written.extend if example.split == "train" else queries.update)(texts)
    alone = [text for text in map(clean, sentences) if text and text not in queries]  # validation searches for the queries
    words = teacher.words() if isinstance(teacher, MiniLM) else []
    imitated = [shape.format(word) for word in words for shape in _WORD_SENTENCES]
    if recipe.class_teacher:
        imitated += [shape.format(name) for name in imagenet_classes() for shape in _CLASS_SENTENCES]
    number = {text: row for row, text in enumerate(dict.fromkeys([*alone, *trained, *imitated, *held_out]))}
    if tokenizer is None:
        tokenizer = train_tokenizer([*alone, *trained, *words], vocabulary_size=recipe.vocabulary_size, context_length=context_length)
    is_written = np.zeros(len(number), bool)
    is_written[[number[text] for text in (*alone, *written)]] = True
    corpus = Corpus(
        _tokens(tokenizer, list(number)),
        tuple(tuple(number[text] for text in texts) for texts in of_examples),
        np.arange(len({*alone, *trained, *imitated})),
        is_written,
        None if teacher is None else sentence_vectors(teacher, recipe.sentence_teacher, list(number), folder),
        tokenizer.special.pad,
        _false_versions(trained, number, tokenizer) if any(HARD_NEGATIVES in phase.objectives for phase in recipe.phases) else {},
    )
    return corpus, tokenizer


def _false_versions(texts: Sequence[str], number: Mapping[str, int], tokenizer: Tokenizer) -> dict[int, tuple[tuple[int, ...], ...]]:
    found = {number[text]: false_texts(text) for text in dict.fromkeys(texts)}
    every = list(dict.fromkeys(one for versions in found.values() for one in versions))
    tokens = dict(zip(every, _tokens(tokenizer, every), strict=True))
    return {row: tuple(tokens[one] for one in versions) for row, versions in found.items() if versions}


def _tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """The tokens of each text, without padding."""
    ids, valid = tokenizer.encode(texts)
    return tuple(tuple(row[: int(mask.nonzero()[0][-1]) + 1].tolist()) for row, mask in zip(ids, valid, strict=True))
