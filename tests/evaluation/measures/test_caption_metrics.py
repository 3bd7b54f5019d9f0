"""Caption metrics compared with reference code on random sentences, and the messages when a metric cannot be computed."""

import math
import os
import random
import shutil
from collections import Counter

import numpy as np
import pytest

from evaluation.errors import MetricError
from evaluation.measures import caption_metrics
from evaluation.measures.caption_metrics import score_captions, tokenize

WORDS = ("a", "dog", "cat", "runs", "sits", "on", "in", "grass")  # few words, so that many 4-grams match


@pytest.fixture(autouse=True)
def java():
    if shutil.which("java") is None:
        if os.environ.get("REQUIRE_JAVA") == "1":
            pytest.fail("REQUIRE_JAVA=1, and there is no Java")
        pytest.skip("needs Java")


@pytest.fixture(scope="module")
def sentences():
    draw = random.Random(0)
    sentence = lambda: " ".join(draw.choices(WORDS, k=draw.randint(4, 12)))  # noqa: E731
    return [[sentence() for _ in range(draw.randint(1, 5))] for _ in range(40)], [sentence() for _ in range(40)]


@pytest.fixture(scope="module")
def scores(sentences):
    return score_captions(*sentences)


def grams(words, n):
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def written_out_bleu4(references, captions):
    """Papineni et al. 2002, with the closest reference length."""
    right, total, length, closest = [0] * 4, [0] * 4, 0, 0
    for texts, caption in zip(references, captions, strict=True):
        words, others = caption.split(), [text.split() for text in texts]
        length += len(words)
        closest += min((abs(len(other) - len(words)), len(other)) for other in others)[1]
        for n in range(4):
            most = Counter()
            for other in others:
                most |= grams(other, n + 1)
            right[n] += sum((grams(words, n + 1) & most).values())
            total[n] += max(0, len(words) - n)
    precision = math.exp(sum(math.log(r / t) for r, t in zip(right, total, strict=True)) / 4)
    return precision * min(1.0, math.exp(1 - closest / length))


def written_out_rouge_l(references, captions, beta=1.2):
    """Lin 2004: longest common subsequence, with the best recall and the best precision over the references."""

    def common(a, b):
        row = [0] * (len(b) + 1)
        for x in a:
            before = row[:]
            for j, y in enumerate(b):
                row[j + 1] = before[j] + 1 if x == y else max(row[j], before[j + 1])
        return row[-1]

    values = []
    for texts, caption in zip(references, captions, strict=True):
        words = caption.split()
        lengths = [(common(words, text.split()), len(text.split())) for text in texts]
        p, r = max(c / len(words) for c, _ in lengths), max(c / n for c, n in lengths)
        values.append((1 + beta**2) * p * r / (r + beta**2 * p) if p and r else 0.0)
    return np.mean(values)


def written_out_cider_d(references, captions, sigma=6.0):
    """Vedantam et al. 2015, CIDEr-D: clipped tf-idf cosines with a length penalty, times 10."""
    documents = [set().union(*(set(grams(text.split(), n)) for text in texts for n in range(1, 5))) for texts in references]
    idf = {gram: math.log(len(references)) - math.log(count) for gram, count in Counter(g for d in documents for g in d).items()}

    def vector(text, n):
        return {gram: count * idf.get(gram, math.log(len(references))) for gram, count in grams(text.split(), n).items()}

    def norm(weights):
        return math.sqrt(sum(w * w for w in weights.values()))

    values = []
    for texts, caption in zip(references, captions, strict=True):
        total = 0.0
        for text in texts:
            # the reference implementation measures length in bigrams
            penalty = math.exp(-((len(caption.split()) - len(text.split())) ** 2) / (2 * sigma**2))
            for n in range(1, 5):
                a, b = vector(caption, n), vector(text, n)
                product = sum(min(a[gram], b.get(gram, 0)) * b.get(gram, 0) for gram in a)
                total += penalty * product / (norm(a) * norm(b)) / 4 if norm(a) and norm(b) else 0
        values.append(10 * total / len(texts))
    return np.mean(values)


@pytest.mark.parametrize(
    ("name", "written_out"), [("BLEU-4", written_out_bleu4), ("ROUGE-L", written_out_rouge_l), ("CIDEr", written_out_cider_d)]
)
def test_a_metric_agrees_with_its_reference_on_random_sentences(sentences, scores, name, written_out):
    assert scores.measures[name].value == pytest.approx(100 * written_out(*sentences), rel=1e-4)


def test_a_caption_equal_to_its_reference_scores_100(sentences):
    references, _ = sentences
    measures = score_captions(references, [texts[0] for texts in references]).measures
    assert [measures[name].value for name in ("BLEU-4", "METEOR", "ROUGE-L")] == pytest.approx([100, 100, 100], abs=0.01)


def test_meteor_of_random_sentences_is_in_a_plausible_range(scores):
    assert 10 < scores.measures["METEOR"].value < 60


def test_spice_is_computed_or_says_what_it_needs(scores):
    assert "SPICE" in scores.measures or "Stanford CoreNLP 3.6.0" in scores.lacking["SPICE"]


def test_tokens_equal_those_of_pycocoevalcap(sentences):
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    texts = ["A Dog's toy, isn't it?", "\u201cquoted\u201d -- (and) more...", "two  spaces ", "", "na\u00efve caf\u00e9", *sentences[1]]
    theirs = PTBTokenizer().tokenize({n: [{"caption": text}] for n, text in enumerate(texts)})
    assert tokenize(texts) == [theirs[n][0] for n in range(len(texts))]


def test_unusual_line_breaks_do_not_shift_the_captions():
    assert tokenize(["a\u2028b", "c\r\nd", "e\x0bf", "g"]) == ["a b", "c d", "e f", "g"]


def test_an_empty_caption_scores_nothing():
    measures = score_captions([["a dog runs"], ["a cat sits"]], ["", "a cat sits"]).measures
    assert measures["ROUGE-L"].value == pytest.approx(50)


def test_without_java_every_metric_says_that_it_needs_java(monkeypatch):
    monkeypatch.setattr(caption_metrics.shutil, "which", lambda _: None)
    scores = score_captions([["a"]], ["a"])
    assert not scores.measures
    assert all("needs Java" in scores.lacking[name] for name in caption_metrics.METRICS)


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocoevalcap.tokenizer.ptbtokenizer", None)
    with pytest.raises(MetricError, match=r"pip install 'coca-search\[eval\]'"):
        score_captions([["a"]], ["a"])


@pytest.mark.parametrize("references", [[["a"], []], [["a"]]])
def test_every_caption_needs_references(references):
    with pytest.raises(ValueError, match="2 captions have"):
        score_captions(references, ["a", "b"])
