"""Readers of captioned videos: MSR-VTT with all captions, its 1k-A test, and MSVD in three formats."""

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluation.datasets.dataset import CaptionedMedia, Medium, join_captions
from evaluation.datasets.files import Unique, check_split, entries, first_line, get, read_csv, read_json, read_lines, unknown
from evaluation.datasets.media_folder import MediaFolder
from evaluation.errors import DatasetError

Caption = tuple[str, str, str]  # video, text, record

_PICKLES = {".pkl", ".pickle"}
_KNOWN = (
    "Known: MSR-VTT's JSON (videos and sentences), MSRVTT_JSFUSION_test.csv, "
    "and MSVD's corpus CSV, AllVideoDescriptions.txt or raw-captions.pkl"
)


def read_video_captions(
    annotations: Path, media_folder: Path | None, *, split: str = "test", videos: Path | None = None, allow_missing: bool = False
) -> CaptionedMedia:
    """Read any of the formats below, told by suffix and content. `split` is for MSR-VTT's JSON, `videos` is MSVD's list of a split.

    `media_folder` None is the folder of the annotations. Raises DatasetError.
    """
    media = MediaFolder.of(annotations, media_folder, allow_missing=allow_missing)
    suffix = annotations.suffix.lower()
    columns = first_line(annotations) if suffix == ".csv" else ""
    if suffix in {".txt", *_PICKLES} or "VideoID" in columns:
        return read_msvd(annotations, media, videos=videos)
    if videos is not None:
        raise DatasetError(f"{annotations}: takes no list of videos ({videos}). Only MSVD needs one; MSR-VTT's files name their splits.")
    if "video_id" in columns:
        return read_msrvtt_1ka(annotations, media)
    if suffix != ".json":
        raise DatasetError(f"{annotations}: captions of an unknown kind (suffix {suffix!r}, first line {columns!r:.80}). {_KNOWN}.")
    document = read_json(annotations)
    if isinstance(document, dict) and {"videos", "sentences"} <= set(document):
        return _msrvtt(document, annotations, media, split)
    raise unknown(annotations, "captions", document, _KNOWN)


def _msrvtt(document: Any, file: Path, media: MediaFolder, split: str) -> CaptionedMedia:
    """MSRVTT_data.json, test_videodatainfo.json or train_val_videodatainfo.json: the videos of a split with all sentences."""
    ids, splits, found, captions = Unique("video_id"), set[str](), dict[str, Medium | None](), list[Caption]()
    for where, video in entries(document, "videos", str(file)):
        ids.add(name := get(video, "video_id", str, where), where)
        splits.add(video_split := get(video, "split", str, where))
        if video_split == split:
            found[name] = media.find(name, "video", where)
    check_split(split, splits, file)
    for where, sentence in entries(document, "sentences", str(file)):
        name = get(sentence, "video_id", str, where)
        if name not in ids:
            raise DatasetError(f"{where}: no such video ('video_id' is {name!r}). It must be the 'video_id' of one of 'videos'.")
        if name in found:
            captions.append((name, get(sentence, "caption", str, where), where))
    return join_captions(f"MSR-VTT {split}", found, captions, media.missing)


def read_msrvtt_1ka(annotations: Path, media: MediaFolder) -> CaptionedMedia:
    """MSRVTT_JSFUSION_test.csv, the 1k-A test: a thousand videos with one sentence each. Raises DatasetError."""
    keys, ids, found, captions = Unique("key"), Unique("video_id"), dict[str, Medium | None](), list[Caption]()
    for record, row in read_csv(annotations, ("key", "vid_key", "video_id", "sentence")):
        keys.add(row["key"], record)
        ids.add(name := row["video_id"], record)
        found[name] = media.find(name, "video", record)
        captions.append((name, row["sentence"], record))
    return join_captions("MSR-VTT 1k-A", found, captions, media.missing)


def read_msvd(annotations: Path, media: MediaFolder, *, videos: Path | None = None) -> CaptionedMedia:
    """MSVD from the official corpus CSV, AllVideoDescriptions.txt or raw-captions.pkl. The suffix and the content tell which.

    Of the CSV only English descriptions that are not empty are read. Videos are named <VideoID>_<Start>_<End>. `videos` is
    test_list.txt, one name a line; None takes every video that has a caption. Raises DatasetError.
    """
    if annotations.suffix.lower() in _PICKLES:
        captions = list(_msvd_pickle(annotations))
    else:
        captions = list(_msvd_corpus(annotations) if "VideoID" in first_line(annotations) else _msvd_lines(annotations))
    first = {name: record for name, _, record in reversed(captions)}
    names, unique = list(dict.fromkeys(name for name, _, _ in captions)), Unique("video")
    if videos is not None:
        names = []
        for where, name in read_lines(videos):
            unique.add(name, where)
            if name not in first:
                raise DatasetError(f"{where}: the video {name!r} has no caption in {annotations}. List names as in that file.")
            names.append(name)
    found = {name: media.find(name, "video", first[name]) for name in names}
    return join_captions("MSVD" if videos is None else f"MSVD {videos.stem}", found, captions, media.missing)


def _msvd_corpus(file: Path) -> Iterator[Caption]:
    for record, row in read_csv(file, ("VideoID", "Start", "End", "Language", "Description")):
        if row["Language"] == "English" and row["Description"]:
            yield f"{row['VideoID']}_{row['Start']}_{row['End']}", row["Description"], record


def _msvd_lines(file: Path) -> Iterator[Caption]:
    for where, line in read_lines(file):
        name, _, text = line.partition(" ")
        if not line.startswith("#") and not text:
            raise DatasetError(f"{where}: no sentence ({line!r:.60}). Expected <video> <sentence>.")
        if not line.startswith("#"):
            yield name, text.strip(), where


def _msvd_pickle(file: Path) -> Iterator[Caption]:
    try:
        content = _PlainUnpickler(io.BytesIO(file.read_bytes()), encoding="bytes").load()
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error.strerror or error}). Pass the captions of MSVD.") from error
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError) as error:
        raise DatasetError(f"{file}: not a pickle of plain lists of words ({error}). No code in it was run.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{file}: not a dictionary ({type(content).__name__}). Expected video names with lists of words.")
    for key, sentences in content.items():
        name = _as_text(key, f"{file}: {key!r:.60}")
        for where, words in entries({name: sentences}, name, str(file)):
            if not isinstance(words, list):
                raise DatasetError(f"{where}: not a list of words ({words!r:.60}). Expected one for each sentence.")
            yield name, " ".join(_as_text(word, where) for word in words), where


class _PlainUnpickler(pickle.Unpickler):
    """Accepts lists, dictionaries, text and numbers. Rejects every name of a function or class, because loading it may run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which may run code")


def _as_text(value: Any, where: str) -> str:
    try:
        text = value.decode() if isinstance(value, bytes) else value  # Python 2 wrote bytes
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where}: not UTF-8 ({value!r:.60}). Expected text.") from error
    if not isinstance(text, str):
        raise DatasetError(f"{where}: not a text ({value!r:.60}). Expected text or bytes.")
    return text
