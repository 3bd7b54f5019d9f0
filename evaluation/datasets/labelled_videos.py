"""Lists of labelled videos -> `LabelledMedia`: the CSV files of Kinetics and of Moments in Time."""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from evaluation.datasets.dataset import LabelledMedia, Medium
from evaluation.datasets.files import MediaFolder, Unique, read_csv, read_text
from evaluation.errors import DatasetError

_Record = tuple[str, str, str]  # where it stands, the video's name, its class
_MOMENTS_FIELDS = 4
_MOST_SECONDS = 1_000_000  # six digits in the name of a file


def read_kinetics(path: Path, folder: Path, *, split: str = "", allow_missing: bool = False, title: str = "") -> LabelledMedia:
    """Read label,youtube_id,time_start,time_end,split; the videos are `<youtube_id>_<start>_<end>.mp4`, six digits each, below `folder`.

    Raises:
        DatasetError: a line is malformed or there twice, or its video is missing; the message names the line.
    """
    return _labelled(path, _kinetics_records(path, split), folder, allow_missing=allow_missing, title=title or f"Kinetics, {path.stem}")


def read_moments_in_time(path: Path, folder: Path, *, allow_missing: bool = False, title: str = "") -> LabelledMedia:
    """Read lines "class/file.mp4,class,votes for,votes against", without a header.

    Raises:
        DatasetError: a line is malformed or there twice, or its video is missing; the message names the line.
    """
    title = title or f"Moments in Time, {path.stem}"
    return _labelled(path, _moments_records(path), folder, allow_missing=allow_missing, title=title)


def _labelled(path: Path, records: Iterable[_Record], folder: Path, *, allow_missing: bool, title: str) -> LabelledMedia:
    videos, unique = MediaFolder(folder, allow_missing=allow_missing), Unique("video")
    media, labels, classes = list[Medium](), list[str](), set[str]()
    for where, name, label in records:
        unique.add(name, where)
        if not label:
            raise DatasetError(f"{where}: the class is empty. Each video needs one.")
        classes.add(label)  # also that of a missing video: train and test sets must agree about the classes
        medium = videos.find(name, "video", where, inside=_inside(folder, name, label))
        if medium is not None:
            media.append(medium)
            labels.append(label)
    if not classes:
        raise DatasetError(f"{path}: no record of a video. Pass the file that lists the videos of a split, and the split's name.")
    places = {label: place for place, label in enumerate(sorted(classes))}
    right = tuple((places[label],) for label in labels)
    return LabelledMedia(title, tuple(media), tuple((label,) for label in places), right, tuple(videos.missing))


def _inside(folder: Path, name: str, label: str) -> str:
    """The subfolder where the video lies: that of its class, or the split's (Moments in Time has class/file.mp4 below it)."""
    if Path(name).name == name or os.path.isfile(folder / name):  # noqa: PTH113 Path.is_file raises where a name is too long
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


def _moments_records(path: Path) -> Iterator[_Record]:
    rows = csv.reader(read_text(path).splitlines(keepends=True), strict=True)
    try:
        for row in rows:
            where = f"{path}: line {rows.line_num}"
            if row and (len(row) != _MOMENTS_FIELDS or not row[0].strip()):
                raise DatasetError(f"{where}: {','.join(row)[:60]!r}. Expected: class/file.mp4,class,votes for,votes against")
            if row:
                yield where, row[0].strip(), row[1].strip()
    except csv.Error as error:
        raise DatasetError(f"{path}: line {rows.line_num}: malformed CSV ({error}).") from error
