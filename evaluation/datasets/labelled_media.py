"""Readers of classification sets.

A folder for each class (ImageNet, its V2, A, R and Sketch variants, ObjectNet, a user's), or the CSV of Kinetics or Moments in Time.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluation.datasets.dataset import LabelledMedia, Medium
from evaluation.datasets.files import Unique, first_line, read_csv, read_seconds
from evaluation.datasets.label_maps import LabelMap, names_in, read_label_map, read_object
from evaluation.datasets.media_folder import MediaFolder, is_file, media_below
from evaluation.errors import DatasetError

Among = Literal["folders", "map"]
_Record = tuple[str, str, str, str]  # file and line, the video's name, its class, the subfolder to look in first
_MOMENTS_COLUMNS = ("class/file.mp4", "class", "votes for", "votes against")
_MOST_SECONDS = 1_000_000  # six digits in a file name


@dataclass(frozen=True)
class LabelFiles:
    """What goes with class folders: the names of the classes, and for ObjectNet the matching classes of ImageNet."""

    labels: Path | None = None
    to_imagenet: Path | None = None
    among: Among = "folders"


def read_labelled(data: Path, media: Path | None, files: LabelFiles, *, split: str = "", allow_missing: bool = False) -> LabelledMedia:
    """A folder of class folders, ObjectNet (if both its maps are given), or the CSV of Kinetics or Moments in Time.

    `media` is the folder of the videos that a CSV lists, by default the folder of the CSV. Raises DatasetError.
    """
    if data.suffix.lower() == ".csv":
        if files != LabelFiles():
            raise DatasetError(f"{data}: a CSV names its classes. Leave out --labels, --to-imagenet and --among.")
        folder = media or data.parent
        if "youtube_id" in first_line(data):
            return read_kinetics(data, folder, split=split, allow_missing=allow_missing)
        return read_moments_in_time(data, folder, allow_missing=allow_missing)
    if not data.is_dir():
        raise DatasetError(f"{data}: no such folder. Pass one with a folder for each class, or the CSV of Kinetics or Moments in Time.")
    if media is not None or split:
        raise DatasetError(f"{data}: a folder of classes holds its media and has no splits. Leave out --media and --split.")
    if files.to_imagenet is not None:
        if files.labels is None:
            raise DatasetError(f"{files.to_imagenet}: needs ObjectNet's other map too. Pass folder_to_objectnet_label.json with --labels.")
        return read_objectnet(data, files.labels, files.to_imagenet, allow_missing=allow_missing)
    labels = read_label_map(files.labels) if files.labels else None
    return read_class_folders(data, labels, among=files.among, allow_missing=allow_missing)


def read_class_folders(
    root: Path, labels: LabelMap | None = None, *, among: Among = "folders", allow_missing: bool = False
) -> LabelledMedia:
    """Read `root/<class>/...`, pictures or videos, at any depth below the folder of the class.

    Without `labels`, the name of a folder is the name of the class. The possible answers are the classes of the folders on disk (200
    of the thousand for ImageNet-A and R, as in their papers), or `among` all classes of the map. With `allow_missing`, a class folder
    without media becomes a class without media, and is reported. Raises DatasetError that names a folder which is missing, empty or
    not in the map.
    """
    unique, entry_of = Unique("class"), dict[Path, str]()
    for folder in _class_folders(root):
        entry_of[folder] = labels.entry(folder) if labels else folder.name
        unique.add(entry_of[folder], str(folder))
    if among == "map" and labels is None:
        raise DatasetError(f"{root}: no label map. Pass one to search for answers among all its classes.")
    classes, index_of = list[tuple[str, ...]](), dict[str, int]()
    for entry in sorted(labels.names if labels and among == "map" else entry_of.values()):
        names = labels.names[entry] if labels else (entry,)
        if labels and not labels.is_imagenet and names in classes:
            index_of[entry] = classes.index(names)
        else:
            index_of[entry] = len(classes)
            classes.append(names)
    title = "/".join(root.resolve().parts[-2:])  # "test" alone says little
    right_of = {folder: (index_of[entry],) for folder, entry in entry_of.items()}
    return _of_folders(title, root, right_of, classes, allow_missing=allow_missing)


def read_objectnet(root: Path, folder_labels: Path, to_imagenet: Path, *, allow_missing: bool = False) -> LabelledMedia:
    """Read those folders of ObjectNet whose objects ImageNet has too. Other objects are left out, as in the paper.

    The classes are ImageNet's. An object may match several of them: each is a right answer. `folder_labels` is
    folder_to_objectnet_label.json, {"air_freshener": "Air freshener"}; `to_imagenet` is objectnet_to_imagenet_1k.json, {"Alarm clock":
    "analog clock; digital clock"}. Raises DatasetError if a folder is not in the first map, or no folder has a label of the second.
    """
    labels, overlap = read_label_map(folder_labels), dict[tuple[str, ...], tuple[str, ...]]()
    for label, matching in read_object(to_imagenet).items():
        where = f"{to_imagenet}: entry {label!r}"
        if (label,) not in labels.names.values():
            raise DatasetError(f"{where}: no folder has this label in {folder_labels}. Pass the two maps of one data set.")
        overlap[label,] = names_in(matching, where, separator=";")
    index_of = {name: index for index, name in enumerate(sorted({name for names in overlap.values() for name in names}))}
    label_of = {folder: labels.names[labels.entry(folder)] for folder in _class_folders(root)}
    right_of = {folder: tuple(index_of[name] for name in overlap[label]) for folder, label in label_of.items() if label in overlap}
    classes = [names_in(name, str(to_imagenet), separator=",") for name in index_of]
    return _of_folders("ObjectNet", root, right_of, classes, allow_missing=allow_missing)


def read_kinetics(path: Path, folder: Path, *, split: str = "", allow_missing: bool = False) -> LabelledMedia:
    """Read label,youtube_id,time_start,time_end,split. The videos are `<youtube_id>_<start>_<end>.mp4`, six digits each, below `folder`.

    Raises DatasetError that names the line if it is malformed or appears twice, or its video is missing.
    """

    def records() -> Iterator[_Record]:
        for where, row in read_csv(path, ("label", "youtube_id", "time_start", "time_end", *(["split"] if split else []))):
            if not split or row["split"] == split:
                start, stop = (read_seconds(row[name], f"{where}: {name}", limit=_MOST_SECONDS) for name in ("time_start", "time_end"))
                yield where, f"{row['youtube_id']}_{int(start):06d}_{int(stop):06d}.mp4", row["label"], row["label"]

    return _of_list(f"Kinetics, {path.stem}", path, records(), MediaFolder(folder, allow_missing=allow_missing))


def read_moments_in_time(path: Path, folder: Path, *, allow_missing: bool = False) -> LabelledMedia:
    """Read lines "class/file.mp4,class,votes for,votes against", without a header. `folder` or a folder in it holds the classes.

    Raises DatasetError that names the line if it is malformed or appears twice, or its video is missing.
    """
    videos = MediaFolder(folder, allow_missing=allow_missing)
    folders = sorted(folder.iterdir())

    def records() -> Iterator[_Record]:
        for where, row in read_csv(path, _MOMENTS_COLUMNS, header=False):
            name = row[_MOMENTS_COLUMNS[0]]
            inside = "" if is_file(folder / name) else next((below.name for below in folders if is_file(below / name)), "")
            yield where, name, row["class"], inside

    return _of_list(f"Moments in Time, {path.stem}", path, records(), videos)


def _of_list(title: str, path: Path, records: Iterable[_Record], videos: MediaFolder) -> LabelledMedia:
    unique, media, labels, classes = Unique("video"), list[Medium](), list[str](), set[str]()
    for where, name, label, inside in records:
        unique.add(name, where)
        if not name or not label:
            raise DatasetError(f"{where}: the {'class' if name else 'video'} is empty. Each line needs both.")
        classes.add(label)  # also the class of a missing video: training and test set must have the same classes
        if medium := videos.find(name, "video", where, inside=inside):
            media.append(medium)
            labels.append(label)
    if not classes:
        raise DatasetError(f"{path}: no record of a video. Pass the file that lists the videos of a split, and the split's name.")
    index_of = {label: index for index, label in enumerate(sorted(classes))}
    right = tuple((index_of[label],) for label in labels)
    return LabelledMedia(title, tuple(media), tuple((label,) for label in index_of), right, tuple(videos.missing))


def _class_folders(root: Path) -> list[Path]:
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")) if root.is_dir() else []
    if not folders:
        wrong = "no folder in it" if root.is_dir() else "no such folder"
        raise DatasetError(f"{root}: {wrong}. Pass the folder that holds a folder for each class.")
    return folders


def _of_folders(
    title: str, root: Path, right_of: Mapping[Path, tuple[int, ...]], classes: list[tuple[str, ...]], *, allow_missing: bool
) -> LabelledMedia:
    """The media of each folder, all with its right classes."""
    media, right, missing = list[Medium](), list[tuple[int, ...]](), list[str]()
    for folder, right_classes in right_of.items():
        found = [Medium(path.relative_to(root).as_posix(), path, kind, str(folder)) for path, kind in media_below(folder, root)]
        if not found and not allow_missing:
            advice = "Pass --allow-missing to keep it as a class without media, or remove the folder."
            raise DatasetError(f"{folder}: no picture or video in this class. {advice}")
        missing += [] if found else [f"{folder}: no picture or video"]
        media += found
        right += [right_classes] * len(found)
    return LabelledMedia(title, tuple(media), tuple(classes), tuple(right), tuple(missing))
