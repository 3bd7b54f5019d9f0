"""BLEU-4, METEOR, ROUGE-L, CIDEr and SPICE by the reference implementation: the only file that imports pycocoevalcap.

Papers use it. Stanford's tokenizer, METEOR and SPICE need Java. SPICE also needs Stanford CoreNLP 3.6.0, which is in no package
index. SPICE is computed only if these files are installed; nothing is downloaded.
"""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.errors import MetricError
from evaluation.measures.intervals import Measure, mean_interval

METRICS = ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "SPICE")
_CORPUS_WIDE = ("BLEU-4", "METEOR")  # no mean over captions, so no interval
_NO_JAVA = "needs Java: install a Java runtime, such as Debian's default-jre-headless"
_NO_CORENLP = "needs Stanford CoreNLP 3.6.0, on no package index: fetch it with python -m pycocoevalcap.spice.get_stanford_models"
_NO_LIBRARY = "Caption metrics need pycocoevalcap, which is not installed. Install it with: pip install 'coca-search[eval]'"

Captions = dict[int, list[str]]


@dataclass(frozen=True)
class CaptionScores:
    """Scores in percent (the best CIDEr is 1,000), and the reasons why others are missing."""

    measures: dict[str, Measure]
    lacking: dict[str, str]


def score_captions(references: Sequence[Sequence[str]], captions: Sequence[str]) -> CaptionScores:
    """Compare N captions with references: for each picture, at least one sentence that a person wrote.

    Raises MetricError if pycocoevalcap is not installed, ValueError if a caption has no references.
    """
    if len(references) != len(captions) or not all(references):
        raise ValueError(f"{len(captions)} captions have {len(references)} lists of references. Each needs at least one sentence.")
    if shutil.which("java") is None:
        return CaptionScores({}, dict.fromkeys(METRICS, _NO_JAVA))
    words = iter(tokenize([text for texts in references for text in texts]))
    truth = {number: [next(words) for _ in texts] for number, texts in enumerate(references)}
    generated = {number: [caption] for number, caption in enumerate(tokenize(captions))}
    measures, lacking = {}, {}
    for name, score in _SCORERS.items():
        try:
            whole, each = score(truth, generated)
            measures[name] = Measure(100 * whole) if name in _CORPUS_WIDE else mean_interval(np.asarray(each, np.float64))
        except MetricError as error:
            lacking[name] = str(error)
        except (ValueError, OSError, subprocess.CalledProcessError) as error:
            lacking[name] = f"its program failed ({error})"
    return CaptionScores(measures, lacking)


def tokenize(texts: Sequence[str]) -> list[str]:
    """Each text as lower-case words of the Penn Treebank, separated by one space, without punctuation.

    The library's class does the same, but writes a temporary file beside its jar. A system-wide installation forbids this.
    """
    ptb = _library("tokenizer.ptbtokenizer")
    jar = Path(ptb.__file__).parent / ptb.STANFORD_CORENLP_3_4_1_JAR
    command = ["java", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase", "-encoding", "utf-8"]
    lines = "\n".join(" ".join(text.split()) for text in texts) + "\n"
    done = subprocess.run(command, input=lines.encode(), capture_output=True, check=False)
    words = done.stdout.decode().split("\n")[:-1]
    if done.returncode or len(words) != len(texts):
        raise MetricError(f"Java's tokenizer failed (exit status {done.returncode}): {done.stderr.decode()[-300:].strip()}")
    return [" ".join(word for word in line.split() if word not in ptb.PUNCTUATIONS) for line in words]


def _bleu(truth: Captions, generated: Captions) -> tuple[float, Sequence[float]]:
    whole, each = _library("bleu.bleu").Bleu(4).compute_score(truth, generated, verbose=0)
    return whole[3], each[3]


def _meteor(truth: Captions, generated: Captions) -> tuple[float, Sequence[float]]:
    scorer = _library("meteor.meteor").Meteor()
    try:
        whole, each = scorer.compute_score(truth, generated)
        return whole, each
    finally:
        scorer.meteor_p.kill()
        scorer.meteor_p.communicate()  # closes its pipes, which the library leaves open


def _spice(truth: Captions, generated: Captions) -> tuple[float, Sequence[float]]:
    spice = _library("spice.spice")
    if not list((Path(spice.__file__).parent / "lib").glob("stanford-corenlp-*-models.jar")):
        raise MetricError(_NO_CORENLP)
    whole, each = spice.Spice().compute_score(truth, generated)
    return float(whole), [one["All"]["f"] for one in each]


_SCORERS: dict[str, Callable[[Captions, Captions], tuple[float, Sequence[float]]]] = {
    "BLEU-4": _bleu,
    "METEOR": _meteor,
    "ROUGE-L": lambda truth, generated: _library("rouge.rouge").Rouge().compute_score(truth, generated),
    "CIDEr": lambda truth, generated: _library("cider.cider").Cider().compute_score(truth, generated),
    "SPICE": _spice,
}


def _library(module: str) -> Any:
    try:
        return import_module(f"pycocoevalcap.{module}")
    except ModuleNotFoundError as error:
        raise MetricError(_NO_LIBRARY) from error
