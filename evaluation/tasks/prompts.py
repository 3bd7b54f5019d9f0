"""One vector for each class, from several sentences about it ("prompt ensembles", Radford et al. 2021, section 3.1.4).

The lists are ours, shorter than those that CLIP's authors published. Accuracies can differ from those with CLIP's lists in the first
decimal. A user can pass another list as a text file.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.files import Unique, read_text
from evaluation.errors import DatasetError

SINGLE = ("a photo of a {}.",)
PICTURES = (
    *SINGLE,
    "a picture of one {}.",
    "a photo that shows the {}.",
    "a close view of a {}.",
    "a {} seen from far away.",
    "a small {}.",
    "a big {}.",
    "part of a {}.",
    "a blurry picture of a {}.",
    "a sharp picture of the {}.",
    "a dark picture of a {}.",
    "a bright picture of the {}.",
    "a picture of a {} in black and white.",
    "an old picture of a {}.",
    "a badly framed picture of the {}.",
    "a {} on a plain background.",
    "a {} among other things.",
    "more than one {}.",
    "a drawn picture of a {}.",
    "a painted {}.",
    "a comic picture of the {}.",
    "a statue of a {}.",
    "a {} as a toy.",
    "a {} made by a computer.",
)
VIDEOS = (
    "a video of a person {}.",
    "a short film of people {}.",
    "someone {} in front of a camera.",
    "a few seconds of {}.",
    "a recording of {} at home.",
    "a recording of {} outdoors.",
    "this clip shows {}.",
    "what happens here is {}.",
)


def read_templates(path: Path) -> tuple[str, ...]:
    """A file with one template a line. Empty lines are ignored. Raises DatasetError that names the line."""
    templates, unique = list[str](), Unique("template")
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if template := line.strip():
            where = f"{path}: line {number}"
            if template.count("{}") != 1:
                raise DatasetError(f"{where}: {template!r:.80} has {{}} {template.count('{}')} times. Write it once, where the name goes.")
            unique.add(template, where)
            templates.append(template)
    if not templates:
        raise DatasetError(f"{path}: holds no template. Write one a line, with {{}} where the name goes.")
    return tuple(templates)


def fill(template: str, name: str) -> str:
    """The sentence about a class. Underscores in the name become spaces."""
    return template.replace("{}", name.replace("_", " "))


def class_vectors(
    classes: Sequence[Sequence[str]], templates: Sequence[str], of_texts: Callable[[Sequence[str]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """The normalised mean over all sentences about a class: templates times names.

    Args:
        classes: the names of each of C classes. templates: sentences with {} in them.
        of_texts: N texts -> float32 (N, E), each row of L2 norm 1.

    Returns:
        float32 (C, E), each row of L2 norm 1.
    """
    sentences = [[fill(template, name) for name in names for template in templates] for names in classes]
    vectors = of_texts([sentence for own in sentences for sentence in own])
    ends = np.cumsum([len(own) for own in sentences])
    means = np.stack([part.mean(0, dtype=np.float64) for part in np.split(vectors, ends[:-1])])
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    return (means / np.maximum(norms, 1e-12)).astype(np.float32)
