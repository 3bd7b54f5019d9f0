"""Readers of captioned videos: MSR-VTT with all captions, its 1k-A test, and MSVD in three formats."""

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluation.datasets.dataset import CaptionedMedia, join_captions
from evaluation.datasets.files import Unique, check_split, entries, first_line, get, outline, read_csv, read_json, read_text
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
    """Read any of the formats below. The suffix and the content of the file tell which.

    `media_folder` None is the folder of the annotations. `split` is for MSR-VTT's JSON, `videos` is MSVD's list of the videos of a
    split. Raises DatasetError.
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
    raise DatasetError(f"{annotations}: captions of an unknown kind (found: {outline(document)}). {_KNOWN}.")


def _msrvtt(document: Any, file: Path, media: MediaFolder, split: str) -> CaptionedMedia:
    """MSRVTT_data.json, test_videodatainfo.json or train_val_videodatainfo.json: the videos of a split with all sentences."""
    ids, split_of, chosen = Unique("video_id"), dict[str, str](), dict[str, str]()
    for where, video in entries(document, "videos", str(file)):
        name = get(video, "video_id", str, where)
        ids.add(name, where)
        split_of[name] = get(video, "split", str, where)
        if split_of[name] == split:
            chosen[name] = where
    check_split(split, set(split_of.values()), file)
    captions = list[Caption]()
    for where, sentence in entries(document, "sentences", str(file)):
        name = get(sentence, "video_id", str, where)
        if name in chosen:
            captions.append((name, get(sentence, "caption", str, where), where))
        elif name not in split_of:
            raise DatasetError(f"{where}: no such video ('video_id' is {name!r}). It must be the 'video_id' of one of 'videos'.")
    found = {name: media.find(name, "video", where) for name, where in chosen.items()}
    return join_captions(f"MSR-VTT {split}", found, captions, media.missing)


def read_msrvtt_1ka(annotations: Path, media: MediaFolder) -> CaptionedMedia:
    """MSRVTT_JSFUSION_test.csv, the 1k-A test: a thousand videos with one sentence each. Raises DatasetError."""
    keys, ids, captions = Unique("key"), Unique("video_id"), list[Caption]()
    for record, row in read_csv(annotations, ("key", "vid_key", "video_id", "sentence")):
        keys.add(row["key"], record)
        ids.add(row["video_id"], record)
        captions.append((row["video_id"], row["sentence"], record))
    found = {name: media.find(name, "video", record) for name, _, record in captions}
    return join_captions("MSR-VTT 1k-A", found, captions, media.missing)


def read_msvd(annotations: Path, media: MediaFolder, *, videos: Path | None = None) -> CaptionedMedia:
    """MSVD from the official corpus CSV, AllVideoDescriptions.txt or raw-captions.pkl. The content tells which.

    Args:
        annotations: one of the three. Of the CSV only English descriptions that are not empty are read.
        media: the videos, named <VideoID>_<Start>_<End>.
        videos: test_list.txt, one name a line. None takes every video that has a caption.

    Raises:
        DatasetError: a file cannot be read, or a pickle holds more than lists of words.
    """
    captions = list(_msvd_captions(annotations))
    first = {name: record for name, _, record in reversed(captions)}
    names = dict.fromkeys(name for name, _, _ in captions) if videos is None else _listed(videos, first, annotations)
    found = {name: media.find(name, "video", first[name]) for name in names}
    return join_captions("MSVD" if videos is None else f"MSVD {videos.stem}", found, captions, media.missing)


def _listed(videos: Path, known: dict[str, str], annotations: Path) -> list[str]:
    names, unique = list[str](), Unique("video")
    for number, line in enumerate(read_text(videos).split("\n"), 1):
        if name := line.strip():
            where = f"{videos}: line {number}"
            unique.add(name, where)
            if name not in known:
                raise DatasetError(f"{where}: the video {name!r} has no caption in {annotations}. List names as in that file.")
            names.append(name)
    return names


def _msvd_captions(file: Path) -> Iterator[Caption]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error.strerror or error}). Pass the captions of MSVD.") from error
    if file.suffix.lower() in _PICKLES or data.startswith(b"\x80"):
        return _msvd_pickle(data, file)
    return _msvd_corpus(file) if "VideoID" in first_line(file) else _msvd_lines(file)


def _msvd_corpus(file: Path) -> Iterator[Caption]:
    for record, row in read_csv(file, ("VideoID", "Start", "End", "Language", "Description")):
        if row["Language"] == "English" and row["Description"]:
            yield f"{row['VideoID']}_{row['Start']}_{row['End']}", row["Description"], record


def _msvd_lines(file: Path) -> Iterator[Caption]:
    for number, line in enumerate(read_text(file).split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, text = line.strip().partition(" ")
        if not text:
            raise DatasetError(f"{file}: line {number}: no sentence ({line.strip()!r:.60}). Expected <video> <sentence>.")
        yield name, text.strip(), f"{file}: line {number}"


def _msvd_pickle(data: bytes, file: Path) -> Iterator[Caption]:
    content = _unpickle(data, file)
    if not isinstance(content, dict):
        raise DatasetError(f"{file}: not a dictionary ({type(content).__name__}). Expected video names with lists of words.")
    for key, sentences in content.items():
        name = _as_text(key, f"{file}: {key!r:.60}")
        for number, words in enumerate(get({name: sentences}, name, list, str(file))):
            where = f"{file}: {name}[{number}]"
            if not isinstance(words, list):
                raise DatasetError(f"{where}: not a list of words ({words!r:.60}). Expected one for each sentence.")
            yield name, " ".join(_as_text(word, where) for word in words), where


class _PlainUnpickler(pickle.Unpickler):
    """Accepts lists, dictionaries, text and numbers. Rejects every name of a function or class, because loading it may run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which may run code")


def _unpickle(data: bytes, file: Path) -> Any:
    try:
        return _PlainUnpickler(io.BytesIO(data), encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError) as error:
        raise DatasetError(f"{file}: not a pickle of plain lists of words ({error}). No code in it was run.") from error


def _as_text(value: Any, where: str) -> str:
    try:
        text = value.decode() if isinstance(value, bytes) else value  # Python 2 wrote bytes
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where}: not UTF-8 ({value!r:.60}). Expected text.") from error
    if not isinstance(text, str):
        raise DatasetError(f"{where}: not a text ({value!r:.60}). Expected text or bytes.")
    return text
