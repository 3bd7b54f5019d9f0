"""A classification set of any known layout, told by what the user passes."""

from dataclasses import dataclass
from pathlib import Path

from evaluation.datasets.dataset import LabelledMedia
from evaluation.datasets.files import read_text
from evaluation.datasets.label_maps import read_label_map
from evaluation.datasets.labelled_media import Among, read_class_folders, read_objectnet
from evaluation.datasets.labelled_videos import read_kinetics, read_moments_in_time
from evaluation.errors import DatasetError


@dataclass(frozen=True)
class LabelFiles:
    """What goes with folders of classes: their names, and for ObjectNet the classes of ImageNet that they are."""

    labels: Path | None = None
    to_imagenet: Path | None = None
    among: Among = "folders"


def read_labelled(data: Path, media: Path | None, files: LabelFiles, *, split: str = "", allow_missing: bool = False) -> LabelledMedia:
    """A folder of class folders; ObjectNet, where its two maps are given; the CSV of Kinetics; or that of Moments in Time.

    `media` is the folder of the videos that a CSV lists, by default its own. Raises DatasetError.
    """
    if data.suffix.lower() == ".csv":
        if files != LabelFiles():
            raise DatasetError(f"{data}: names its classes itself. Leave --labels, --to-imagenet and --among out.")
        folder = media or data.parent
        if "youtube_id" in read_text(data).split("\n", 1)[0]:
            return read_kinetics(data, folder, split=split, allow_missing=allow_missing)
        return read_moments_in_time(data, folder, allow_missing=allow_missing)
    if not data.is_dir():
        raise DatasetError(f"{data}: no such folder. Pass one with a folder for each class, or the CSV of Kinetics or Moments in Time.")
    if media is not None or split:
        raise DatasetError(f"{data}: a folder of classes holds its media and has no splits. Leave --media and --split out.")
    if files.to_imagenet is not None:
        if files.labels is None:
            raise DatasetError(f"{files.to_imagenet}: needs ObjectNet's other map too. Pass folder_to_objectnet_label.json with --labels.")
        return read_objectnet(data, files.labels, files.to_imagenet, allow_missing=allow_missing)
    labels = read_label_map(files.labels) if files.labels else None
    return read_class_folders(data, labels, among=files.among, allow_missing=allow_missing)
