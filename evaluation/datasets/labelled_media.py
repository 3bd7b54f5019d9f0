"""Readers of classification sets with a folder for each class: ImageNet, its V2, A, R and Sketch variants, ObjectNet, a user's."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluation.datasets.dataset import LabelledMedia, Medium
from evaluation.datasets.files import first_line, get
from evaluation.datasets.label_maps import LabelMap, read_label_map, read_object, split_names
from evaluation.datasets.labelled_videos import read_kinetics, read_moments_in_time
from evaluation.datasets.media_folder import is_hidden
from evaluation.errors import DatasetError
from media.formats import kind_of

Among = Literal["folders", "map"]
_NO_MEDIA = "no picture or video"


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

    Args:
        labels: the names of the folders. Without it, the name of a folder is the name of the class.
        among: the possible answers: the classes of the folders on disk (200 of the thousand for ImageNet-A and R, as in their
            papers), or all classes of the map.
        allow_missing: a class folder without media becomes a class without media, and is reported.

    Raises:
        DatasetError: a folder is missing, empty or not in the map. The message names it.
    """
    folders = _class_folders(root)
    entry_of = {folder: labels.folder(folder.name, str(folder)) if labels else folder.name for folder in folders}
    for number, folder in enumerate(folders):
        if entry_of[folder] in [entry_of[other] for other in folders[:number]]:
            raise DatasetError(f"{folder}: the class {entry_of[folder]!r} has another folder too. Each class needs one folder.")
    if among == "map" and labels is None:
        raise DatasetError(f"{root}: no label map. Pass one to search for answers among all its classes.")
    classes, index_of = _classes(labels, labels.names if labels and among == "map" else entry_of.values())
    found, missing = _media_of(folders, root, allow_missing=allow_missing)
    media = tuple(medium for files in found.values() for medium in files)
    right = tuple((index_of[entry_of[folder]],) for folder, files in found.items() for _ in files)
    title = "/".join(root.resolve().parts[-2:])  # "test" alone says little
    return LabelledMedia(title, media, classes, right, missing)


def read_objectnet(root: Path, folder_labels: Path, to_imagenet: Path, *, allow_missing: bool = False) -> LabelledMedia:
    """Read those folders of ObjectNet whose objects ImageNet has too. Other objects are left out, as in the paper.

    The classes are ImageNet's. An object may match several of them: each is a right answer.

    Args:
        folder_labels: folder_to_objectnet_label.json, {"air_freshener": "Air freshener"}.
        to_imagenet: objectnet_to_imagenet_1k.json, {"Alarm clock": "analog clock; digital clock"}.

    Raises:
        DatasetError: a folder is not in the first map, or no folder has a label of the second.
    """
    entries = read_object(folder_labels)
    labels = {folder: get(entries, folder, str, str(folder_labels)) for folder in entries}
    overlap = _overlap(to_imagenet, set(labels.values()), folder_labels)
    folders = _class_folders(root)
    for folder in folders:
        if folder.name not in labels:
            raise DatasetError(
                f"{folder}: the class {folder.name!r} is not in {folder_labels}. Pass the folder that holds the class folders."
            )
    shared = [folder for folder in folders if labels[folder.name] in overlap]
    found, missing = _media_of(shared, root, allow_missing=allow_missing)
    index_of = {name: index for index, name in enumerate(sorted({name for names in overlap.values() for name in names}))}
    classes = tuple(split_names(name, ",", str(to_imagenet)) for name in index_of)
    media = tuple(medium for files in found.values() for medium in files)
    right = tuple(tuple(index_of[name] for name in overlap[labels[folder.name]]) for folder, files in found.items() for _ in files)
    return LabelledMedia("ObjectNet", media, classes, right, missing)


def _overlap(path: Path, labels: set[str], folder_labels: Path) -> dict[str, tuple[str, ...]]:
    """The labels of ObjectNet that ImageNet has, with ImageNet's classes; each class is one text of names with commas."""
    entries, overlap = read_object(path), dict[str, tuple[str, ...]]()
    for label in entries:
        where = f"{path}: entry {label!r}"
        if label not in labels:
            raise DatasetError(f"{where}: no folder has this label in {folder_labels}. Pass the two maps of one data set.")
        overlap[label] = split_names(get(entries, label, str, str(path)), ";", where)
    return overlap


def _class_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder. Pass the folder that holds a folder for each class.")
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not is_hidden(Path(entry.name)))
    if not folders:
        raise DatasetError(f"{root}: no folder in it. Pass the folder that holds a folder for each class.")
    return folders


def _media_of(folders: Iterable[Path], root: Path, *, allow_missing: bool) -> tuple[dict[Path, list[Medium]], tuple[str, ...]]:
    """The media of each folder, and what is missing."""
    found = {folder: _media(folder, root) for folder in folders}
    empty = [folder for folder, files in found.items() if not files]
    if empty and not allow_missing:
        advice = "Pass --allow-missing to keep it as a class without media, or remove the folder."
        raise DatasetError(f"{empty[0]}: {_NO_MEDIA} in this class. {advice}")
    return found, tuple(f"{folder}: {_NO_MEDIA}" for folder in empty)


def _media(folder: Path, root: Path) -> list[Medium]:
    media = []
    for path in sorted(folder.rglob("*")):
        name, kind = path.relative_to(root), kind_of(path)
        if kind and not is_hidden(name) and path.is_file():
            media.append(Medium(name.as_posix(), path, kind, str(folder)))
    return media


def _classes(labels: LabelMap | None, folders: Iterable[str]) -> tuple[tuple[tuple[str, ...], ...], dict[str, int]]:
    """The classes in the order of their folders, and the class of each folder."""
    classes, index_of, first = list[tuple[str, ...]](), dict[str, int](), dict[object, int]()
    for folder in sorted(folders):
        names = labels.names[folder] if labels else (folder,)
        same = names if labels and labels.merged else folder
        if same not in first:
            first[same] = len(classes)
            classes.append(names)
        index_of[folder] = first[same]
    return tuple(classes), index_of
