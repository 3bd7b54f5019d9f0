"""Readers of lists of labelled videos: the CSV files of Kinetics and of Moments in Time."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from evaluation.datasets.dataset import LabelledMedia, Medium
from evaluation.datasets.files import Unique, read_csv
from evaluation.datasets.media_folder import MediaFolder
from evaluation.errors import DatasetError

_Record = tuple[str, str, str]  # file and line, the video's name, its class
_MOMENTS_COLUMNS = ("class/file.mp4", "class", "votes for", "votes against")
_MOST_SECONDS = 1_000_000  # six digits in a file name


def read_kinetics(path: Path, folder: Path, *, split: str = "", allow_missing: bool = False) -> LabelledMedia:
    """Read label,youtube_id,time_start,time_end,split. The videos are `<youtube_id>_<start>_<end>.mp4`, six digits each, below `folder`.

    Raises:
        DatasetError: a line is malformed or appears twice, or its video is missing. The message names the line.
    """
    return _labelled(path, _kinetics_records(path, split), folder, allow_missing=allow_missing, title=f"Kinetics, {path.stem}")


def read_moments_in_time(path: Path, folder: Path, *, allow_missing: bool = False) -> LabelledMedia:
    """Read lines "class/file.mp4,class,votes for,votes against", without a header.

    Raises:
        DatasetError: a line is malformed or appears twice, or its video is missing. The message names the line.
    """
    lines = read_csv(path, _MOMENTS_COLUMNS, header=False)
    records = ((where, row[_MOMENTS_COLUMNS[0]], row[_MOMENTS_COLUMNS[1]]) for where, row in lines)
    return _labelled(path, records, folder, allow_missing=allow_missing, title=f"Moments in Time, {path.stem}")


def _labelled(path: Path, records: Iterable[_Record], folder: Path, *, allow_missing: bool, title: str) -> LabelledMedia:
    videos, unique = MediaFolder(folder, allow_missing=allow_missing), Unique("video")
    media, labels, classes = list[Medium](), list[str](), set[str]()
    for where, name, label in records:
        unique.add(name, where)
        if not name or not label:
            raise DatasetError(f"{where}: the {'class' if name else 'video'} is empty. Each line needs both.")
        classes.add(label)  # also the class of a missing video: training and test set must have the same classes
        medium = videos.find(name, "video", where, inside=_inside(folder, name, label))
        if medium is not None:
            media.append(medium)
            labels.append(label)
    if not classes:
        raise DatasetError(f"{path}: no record of a video. Pass the file that lists the videos of a split, and the split's name.")
    index_of = {label: index for index, label in enumerate(sorted(classes))}
    right = tuple((index_of[label],) for label in labels)
    return LabelledMedia(title, tuple(media), tuple((label,) for label in index_of), right, tuple(videos.missing))


def _inside(folder: Path, name: str, label: str) -> str:
    """The subfolder of the video: the class, or the split (Moments in Time has class/file.mp4 below it)."""
    if Path(name).name == name or os.path.isfile(folder / name):  # noqa: PTH113 Path.is_file raises if a name is too long
        return label
    return next((below.name for below in sorted(folder.iterdir()) if os.path.isfile(below / name)), label)  # noqa: PTH113


def _kinetics_records(path: Path, split: str) -> Iterator[_Record]:
    for where, row in read_csv(path, ("label", "youtube_id", "time_start", "time_end", *(["split"] if split else []))):
        if not split or row["split"] == split:
            start, stop = (_seconds(row[column], f"{where}: {column}") for column in ("time_start", "time_end"))
            yield where, f"{row['youtube_id']}_{start:06d}_{stop:06d}.mp4", row["label"]


def _seconds(text: str, where: str) -> int:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < _MOST_SECONDS:
        raise DatasetError(f"{where} is {text!r:.60}. Expected seconds.")
    return int(seconds)
