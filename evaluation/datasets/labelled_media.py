"""Readers of classification sets: class folders (ImageNet and its variants, ObjectNet, a user's), Kinetics, and Moments in Time."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evaluation.datasets.dataset import LabelledMedia, MediaFolder, Medium, media_below
from evaluation.datasets.files import Unique, first_line, read_csv, read_json, read_lines, read_seconds, read_text
from evaluation.errors import DatasetError

Among = Literal["folders", "map"]
_Record = tuple[str, Medium | None]  # class and video; None if the video is missing and that is allowed
_MOMENTS_COLUMNS = ("class/file.mp4", "class", "votes for", "votes against")
_MOST_SECONDS = 1_000_000  # six digits in a file name
_WNID = re.compile(r"n\d{8}")
_SYNSET_LINE = re.compile(r"(n\d{8})\s+(\S.*)")
_KINDS = 'A JSON object {"folder": "name"}, a CSV file with the columns folder, name, or LOC_synset_mapping.txt is needed.'


@dataclass(frozen=True)
class LabelMap:
    """The names of folders.

    In ImageNet's maps, a folder's name may also be its position (V2's folders are 0 to 999). Each folder is a class there, because two of
    the thousand classes are called "crane". In a user's map, folders with the same names are one class.
    """

    path: Path
    names: dict[str, tuple[str, ...]]  # of each folder, the first for people
    is_imagenet: bool = False

    def entry(self, folder: Path) -> str:
        """The map's entry for a folder on disk. Raises DatasetError if there is none."""
        name = folder.name
        if name not in self.names and self.is_imagenet and name.isdecimal() and int(name) < len(self.names):
            return list(self.names)[int(name)]
        if name not in self.names:
            raise DatasetError(
                f"{folder}: the class {name!r} is not in {self.path} ({len(self.names)} folders: {', '.join(self.names)[:60]}...). "
                "Pass the folder that holds the class folders, and the map of this data set."
            )
        return name


@dataclass(frozen=True)
class LabelFiles:
    """The label files of class folders: the names of the classes, and for ObjectNet the matching classes of ImageNet."""

    labels: Path | None = None
    to_imagenet: Path | None = None
    among: Among = "folders"


def read_labelled(data: Path, media: Path | None, files: LabelFiles, *, split: str = "", allow_missing: bool = False) -> LabelledMedia:
    """A folder of class folders, ObjectNet (if both its maps are given), or the CSV of Kinetics or Moments in Time.

    `media` is the folder of the videos that a CSV lists, by default the folder of the CSV. Raises DatasetError, which names the line of
    a CSV that is malformed, appears twice, or has no video.
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
    without media becomes a class without media, and is reported. Raises DatasetError if a folder is missing, empty or
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
    """Read the folders of ObjectNet with objects that are also in ImageNet. The others are left out, as in the paper.

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
    """Read label,youtube_id,time_start,time_end,split. The videos are `<youtube_id>_<start>_<end>.mp4`, six digits each, below `folder`."""
    videos, unique, listed = MediaFolder(folder, allow_missing=allow_missing), Unique("video"), list[_Record]()
    columns = ("label", "youtube_id", "time_start", "time_end", *(["split"] if split else []))
    for where, row in read_csv(path, columns, filled=columns[:2]):
        if not split or row["split"] == split:
            start, stop = (int(read_seconds(row[name], f"{where}: {name}", limit=_MOST_SECONDS)) for name in columns[2:4])
            unique.add(name := f"{row['youtube_id']}_{start:06d}_{stop:06d}.mp4", where)
            listed.append((row["label"], videos.find(name, "video", where, inside=row["label"])))
    return _of_list(f"Kinetics, {path.stem}", path, listed, videos)


def read_moments_in_time(path: Path, folder: Path, *, allow_missing: bool = False) -> LabelledMedia:
    """Read lines "class/file.mp4,class,votes for,votes against", without a header. `folder` or a folder in it holds the classes."""
    videos, unique, listed = MediaFolder(folder, allow_missing=allow_missing), Unique("video"), list[_Record]()
    folders = [folder, *sorted(folder.iterdir())]
    for where, row in read_csv(path, _MOMENTS_COLUMNS, header=False, filled=_MOMENTS_COLUMNS[:2]):
        unique.add(name := row[_MOMENTS_COLUMNS[0]], where)
        holder = next((below for below in folders if os.path.isfile(below / name)), folder)  # noqa: PTH113 as in `find`
        listed.append((row["class"], videos.find(name, "video", where, inside=str(holder.relative_to(folder)))))
    return _of_list(f"Moments in Time, {path.stem}", path, listed, videos)


def _of_list(title: str, path: Path, listed: list[_Record], videos: MediaFolder) -> LabelledMedia:
    if not listed:
        raise DatasetError(f"{path}: no record of a video. Pass the file that lists the videos of a split, and the split's name.")
    # includes classes of missing videos, because training and test set must have the same classes
    index_of = {label: index for index, label in enumerate(sorted({label for label, _ in listed}))}
    right = tuple((index_of[label],) for label, medium in listed if medium)
    media = tuple(medium for _, medium in listed if medium)
    return LabelledMedia(title, media, tuple((label,) for label in index_of), right, tuple(videos.missing))


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


def read_label_map(path: Path) -> LabelMap:
    """Read a label map. The content of the file tells its format. Raises DatasetError that names file and record.

    Formats: Keras' JSON of ImageNet {"0": ["n01440764", "tench"]}, ImageNet's LOC_synset_mapping.txt, a JSON object {folder: name or
    [names]}, and a CSV file with the columns folder, name.
    """
    text, unique, names = read_text(path), Unique("entry"), dict[str, tuple[str, ...]]()
    if text.lstrip().startswith(("{", "[")):
        found = read_object(path)
        if not all(key.isdecimal() and _is_keras(value) for key, value in found.items()):
            return LabelMap(path, {folder: names_in(value, f"{path}: entry {folder!r}") for folder, value in found.items()})
        numbers = [str(number) for number in range(len(found))]
        if set(numbers) != set(found):
            raise DatasetError(f"{path}: the numbers are not 0 to {len(found) - 1}. Number the classes without a gap.")
        return _imagenet(path, ((f"{path}: entry {n!r}", found[n][0], (found[n][1],)) for n in numbers))
    if _SYNSET_LINE.match(text):
        return _imagenet(path, _synsets(path))
    if not text.strip():
        raise DatasetError(f"{path}: the label map is empty. {_KINDS}")
    for where, row in read_csv(path, ("folder", "name"), filled=("name",)):
        for name in names_in(row["name"], where, separator=";"):
            unique.add((row["folder"], name), where)
            names[row["folder"]] = (*names.get(row["folder"], ()), name)
    if not names:
        raise DatasetError(f"{path}: the label map has no line below the column names. {_KINDS}")
    return LabelMap(path, names)


def _is_keras(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value) and bool(_WNID.fullmatch(value[0]))


def _synsets(path: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for where, line in read_lines(path):
        match = _SYNSET_LINE.fullmatch(line)
        if not match:
            raise DatasetError(f"{where}: not a synset and its names ({line[:60]!r}). Expected such as: n01440764 tench, Tinca tinca")
        yield where, match[1], names_in(match[2], where, separator=",")


def _imagenet(path: Path, records: Iterable[tuple[str, str, tuple[str, ...]]]) -> LabelMap:
    unique, names = Unique("synset"), dict[str, tuple[str, ...]]()
    for where, folder, folder_names in records:
        unique.add(folder, where)
        names[folder] = folder_names
    return LabelMap(path, names, is_imagenet=True)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object that is not empty and has no duplicate keys. Raises DatasetError."""

    def with_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # json silently keeps the last of two entries
        unique = Unique("folder")
        for key, _ in pairs:
            unique.add(key, f"{path}: entry {key!r}")
        return dict(pairs)

    value = read_json(path, with_unique_keys)
    if not isinstance(value, dict) or not value:
        raise DatasetError(f"{path}: not an object with an entry for each folder ({value!r:.60}). {_KINDS}")
    return value


def names_in(value: Any, where: str, *, separator: str = "") -> tuple[str, ...]:
    """The names in a list of texts, or in a text, which a `separator` may divide. Raises DatasetError if there is none."""
    parts = value if not isinstance(value, str) else value.split(separator) if separator else [value]
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts) or not any(part.strip() for part in parts):
        raise DatasetError(f"{where}: {value!r:.60} is no name. Expected a text, or a list of texts.")
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
