"""Data sets with a folder for each class -> `LabelledMedia`: ImageNet, its V2, A, R and Sketch variants, ObjectNet, anyone's own."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from evaluation.datasets.dataset import LabelledMedia, Medium
from evaluation.datasets.files import get
from evaluation.datasets.label_maps import LabelMap, read_object, split_names
from evaluation.errors import DatasetError
from indexer.scan import media_type

Among = Literal["folders", "map"]


def read_class_folders(
    root: Path, labels: LabelMap | None = None, *, among: Among = "folders", allow_missing: bool = False, title: str = ""
) -> LabelledMedia:
    """Read `root/<class>/...`, pictures or videos, at any depth below the folder of their class.

    Args:
        labels: what the folders are called; without it a folder's name is the class's name.
        among: where an answer is looked for: among the classes of the folders that are there (as the papers of ImageNet-A and
            R do, with 200 of the thousand), or among all of the map.
        allow_missing: a class folder without media becomes a class without media, and is reported.

    Raises:
        DatasetError: a folder is missing, empty or not in the map; the message names it.
    """
    folders = _class_folders(root)
    known = {folder: labels.folder(folder.name, str(folder)) if labels else folder.name for folder in folders}
    if len(set(known.values())) < len(known):
        twice = next(folder for folder in folders if list(known.values()).count(known[folder]) > 1)
        raise DatasetError(f"{twice}: the class {known[twice]!r} has another folder too. Each class needs one folder.")
    if among == "map" and labels is None:
        raise DatasetError(f"{root}: no label map. To look for answers among all of its classes, pass one.")
    classes, places = _classes(labels, labels.names if labels and among == "map" else known.values())
    media, right, missing = list[Medium](), list[tuple[int, ...]](), list[str]()
    for folder in folders:
        files = _media(folder, root, allow_missing=allow_missing)
        missing += [] if files else [f"{folder}: no picture or video"]
        media += files
        right += [(places[known[folder]],)] * len(files)
    title = title or "/".join(root.resolve().parts[-2:])  # "test" alone says little
    return LabelledMedia(title, tuple(media), classes, tuple(right), tuple(missing))


def read_objectnet(
    root: Path, folder_labels: Path, to_imagenet: Path, *, allow_missing: bool = False, title: str = "ObjectNet"
) -> LabelledMedia:
    """Read ObjectNet's folders of objects that ImageNet has too; pictures of other objects are left out, as in its paper.

    The classes are ImageNet's counterparts of the objects; an answer is right if it is any of the object's own.

    Args:
        folder_labels: folder_to_objectnet_label.json, {"air_freshener": "Air freshener"}.
        to_imagenet: objectnet_to_imagenet_1k.json, {"Alarm clock": "analog clock; digital clock"}.

    Raises:
        DatasetError: a folder is not in the first map, or a label of the second is nobody's.
    """
    entries = read_object(folder_labels)
    labels = {folder: get(entries, folder, str, str(folder_labels)) for folder in entries}
    overlap = _overlap(to_imagenet, set(labels.values()), folder_labels)
    media, right, missing = list[Medium](), list[tuple[str, ...]](), list[str]()
    for folder in _class_folders(root):
        if folder.name not in labels:
            raise DatasetError(
                f"{folder}: the class {folder.name!r} is not in {folder_labels}. Pass the folder that holds the class folders."
            )
        if (counterparts := overlap.get(labels[folder.name])) is not None:
            files = _media(folder, root, allow_missing=allow_missing)
            missing += [] if files else [f"{folder}: no picture or video"]
            media += files
            right += [counterparts] * len(files)
    places = {name: place for place, name in enumerate(sorted({name for names in overlap.values() for name in names}))}
    classes = tuple(split_names(name, ",", str(to_imagenet)) for name in places)
    return LabelledMedia(title, tuple(media), classes, tuple(tuple(places[n] for n in names) for names in right), tuple(missing))


def _overlap(path: Path, labels: set[str], folder_labels: Path) -> dict[str, tuple[str, ...]]:
    """ImageNet's classes, each as one text of names with commas, for the labels of ObjectNet that it has."""
    entries, overlap = read_object(path), dict[str, tuple[str, ...]]()
    for label in entries:
        where = f"{path}: entry {label!r}"
        if label not in labels:
            raise DatasetError(f"{where}: no folder has this label in {folder_labels}. Pass the two maps of one data set.")
        overlap[label] = split_names(get(entries, label, str, str(path)), ";", where)
    return overlap


def _class_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder. Pass the one that holds a folder for each class.")
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DatasetError(f"{root}: no folder in it. Pass the one that holds a folder for each class.")
    return folders


def _media(folder: Path, root: Path, *, allow_missing: bool) -> list[Medium]:
    media = []
    for path in sorted(folder.rglob("*")):
        name, kind = path.relative_to(root), media_type(path)
        if kind and not any(part.startswith(".") for part in name.parts) and path.is_file():
            media.append(Medium(name.as_posix(), path, kind, str(folder)))
    if not media and not allow_missing:
        raise DatasetError(
            f"{folder}: no picture or video in this class. Pass --allow-missing to keep it as a class without media, or remove the folder."
        )
    return media


def _classes(labels: LabelMap | None, folders: Iterable[str]) -> tuple[tuple[tuple[str, ...], ...], dict[str, int]]:
    """The classes in the order of their folders, and the class of each folder."""
    classes, places, first = list[tuple[str, ...]](), dict[str, int](), dict[object, int]()
    for folder in sorted(folders):
        names = labels.names[folder] if labels else (folder,)
        same = names if labels and labels.merged else folder
        if same not in first:
            first[same] = len(classes)
            classes.append(names)
        places[folder] = first[same]
    return tuple(classes), places
