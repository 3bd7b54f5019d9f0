"""Readers of captioned pictures and videos: Karpathy's splits, COCO, a user's queries, Parquet, MSR-VTT with its 1k-A test, and MSVD.

They keep the texts as written and in file order, so figures can be compared with published ones.
"""

import io
import os
import pickle
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.datasets.dataset import CaptionedMedia, MediaFolder, Medium, join_captions, kind_of
from evaluation.datasets.files import Unique, check_split, check_text, entries, first_line, get, read_csv, read_json, read_lines
from evaluation.errors import DatasetError
from indexer.errors import SourceError
from indexer.scan import scan
from media.file_names import escape
from media.formats import format_of

_Caption = tuple[Any, str, str]  # key of the medium, text, record
_Found = dict[Any, Medium | None]  # by key
_PARQUET_COLUMNS = ("id", "texts", "image")
_PICKLES = (".pkl", ".pickle")
_KNOWN = (
    "Known: Karpathy's JSON (images with sentences), COCO's JSON (images and annotations), a CSV with the columns query and path, Parquet "
    "with id, texts and image, MSR-VTT's JSON (videos and sentences), MSRVTT_JSFUSION_test.csv, and MSVD's corpus CSV, "
    "AllVideoDescriptions.txt or raw-captions.pkl"
)


def read_captions(
    annotations: Path, media_folder: Path | None, *, split: str = "test", videos: Path | None = None, allow_missing: bool = False
) -> CaptionedMedia:
    """Read any of the formats below. The suffix and the content of the file tell which. Raises DatasetError.

    `media_folder` None is the folder of the annotations. `split` applies if the file has splits. `videos` lists MSVD's videos of a split.
    """
    media = MediaFolder.of(annotations, media_folder, allow_missing=allow_missing)
    suffix = annotations.suffix.lower()
    columns = first_line(annotations) if suffix == ".csv" else ""
    if suffix in {".txt", *_PICKLES} or "VideoID" in columns:
        return read_msvd(annotations, media, videos=videos)
    if videos is not None:
        raise DatasetError(f"{annotations}: takes no list of videos ({videos}). Only MSVD needs one; MSR-VTT's files name their splits.")
    if suffix == ".parquet":
        return read_parquet(annotations, split=split)
    if suffix == ".csv":
        return read_msrvtt_1ka(annotations, media) if "video_id" in columns else read_own_queries(annotations, media)
    if suffix != ".json":
        raise DatasetError(f"{annotations}: captions of an unknown kind (suffix {suffix!r}). {_KNOWN}.")
    document = read_json(annotations)
    found = document if isinstance(document, dict) else {}
    if {"videos", "sentences"} <= found.keys():
        return _msrvtt(document, annotations, media, split)
    if {"images", "annotations"} <= found.keys():
        return _coco(document, annotations, media)
    images = found.get("images")
    if "images" in found and (not isinstance(images, list) or not images or (isinstance(images[0], dict) and "sentences" in images[0])):
        return _karpathy(document, annotations, media, split)
    held = f"an object with {', '.join(found) or 'nothing':.100}" if isinstance(document, dict) else f"a {type(document).__name__}"
    raise DatasetError(f"{annotations}: captions of an unknown kind (found: {held}). {_KNOWN}.")


def _karpathy(document: Any, file: Path, media: MediaFolder, split: str) -> CaptionedMedia:
    """Karpathy's dataset_coco.json, dataset_flickr30k.json or dataset_flickr8k.json. "train" includes COCO's "restval", as in papers."""
    ids, names, splits = Unique("imgid"), Unique("filename"), set[str]()
    found, captions = _Found(), list[_Caption]()
    for where, image in entries(document, "images", str(file)):
        ids.add(get(image, "imgid", int, where), where)
        parts = {part, "train"} if (part := get(image, "split", str, where)) == "restval" else {part}
        splits |= parts
        if split in parts:
            names.add(name := get(image, "filename", str, where), where)
            inside = get(image, "filepath", str, where) if "filepath" in image else ""
            found[name] = media.find(name, "image", where, inside=inside)
            captions += [(name, get(one, "raw", str, record), record) for record, one in entries(image, "sentences", where, ".")]
    check_split(split, splits, file)
    dataset = document.get("dataset")
    title = check_text(dataset, f"{file}: 'dataset'") if isinstance(dataset, str) else file.stem
    return join_captions(f"{title} {split}", found, captions, media.missing)


def _coco(document: Any, file: Path, media: MediaFolder) -> CaptionedMedia:
    """COCO's captions_val2014.json or captions_val2017.json. A picture without a caption is a distractor."""
    ids, names, annotation_ids = Unique("id"), Unique("file_name"), Unique("id")
    found, captions = _Found(), list[_Caption]()
    for where, image in entries(document, "images", str(file)):
        ids.add(image_id := get(image, "id", (int, str), where), where)
        names.add(name := get(image, "file_name", str, where), where)
        found[image_id] = media.find(name, "image", where)
    for where, one in entries(document, "annotations", str(file)):
        annotation_ids.add(get(one, "id", (int, str), where), where)
        image_id = get(one, "image_id", (int, str), where)
        if image_id not in ids:
            raise DatasetError(f"{where}: no such image ('image_id' is {image_id!r}). It must be the 'id' of one of 'images'.")
        captions.append((image_id, get(one, "caption", str, where), where))
    return join_captions(file.stem, found, captions, media.missing)


def read_own_queries(annotations: Path, media: MediaFolder) -> CaptionedMedia:
    """A CSV with the columns `query` and `path`, one line for each right answer. A query may have several lines.

    A path is relative to the folder, or absolute. Each query searches all pictures and videos that the indexer would find
    below the folder, not only those in the CSV. Raises DatasetError.
    """
    try:
        scanned = scan([media.folder])
    except SourceError as error:
        raise DatasetError(str(error)) from error
    folder = media.folder.resolve()
    uris = [uri for uri in scanned.files if format_of(uri) and escape(uri) == uri]
    gallery = tuple(Medium(os.path.relpath(uri, folder), Path(uri), kind_of(uri, uri), uri) for uri in uris)
    media.missing += [f"{escape(uri)}: the name of the file is not valid UTF-8" for uri in scanned.files if escape(uri) != uri]
    media.missing += [f"{unreadable}: the folder cannot be listed" for unreadable in scanned.unreadable]
    index_of = {_canonical(medium.path): index for index, medium in enumerate(gallery)}
    answers, pairs = dict[str, list[int]](), Unique("pair of query and path")
    for record, row in read_csv(annotations, ("query", "path"), filled=("query", "path")):
        query, path = row["query"], row["path"]
        medium = media.find(path, kind_of(path, record), record, exact=True)
        key = _canonical(media.folder / path)
        pairs.add((query, key), record)
        if medium and key not in index_of:
            raise DatasetError(f"{record}: {path!r} is hidden or outside of {media.folder}. Name a file that the indexer finds there.")
        if medium:
            answers.setdefault(query, []).append(index_of[key])
    title = f"{media.folder.resolve().name}, {annotations.name}"
    return CaptionedMedia(title, gallery, tuple(answers), tuple(map(tuple, answers.values())), tuple(media.missing))


def _canonical(path: Path) -> str:
    """One spelling for a file: linked folders are resolved, and accents are composed characters (NFC)."""
    return unicodedata.normalize("NFC", str(path.parent.resolve() / path.name))


def read_parquet(file: Path, *, split: str) -> CaptionedMedia:
    """Pictures and captions in one file, as on Hugging Face.

    The columns are `id`, `texts` (a list) and `image` (bytes, or a struct with `bytes`). `split` and `kind` are optional. Rows
    with a `kind` other than "caption" are skipped. Rows are numbered from 1. Raises DatasetError.
    """
    media, captions, splits, ids = _Found(), list[_Caption](), set[str](), Unique("id")
    for where, row in _parquet_rows(file):
        if row.get("kind", "caption") != "caption":
            continue
        splits.add(row_split := get(row, "split", str, where) if "split" in row else split)
        if row_split == split:
            ids.add(name := str(get(row, "id", (str, int), where)), where)
            media[name] = Medium(name, file, "image", where, _picture(row["image"], where))
            for text in get(row, "texts", list, where):
                if not isinstance(text, str):
                    raise DatasetError(f"{where}: 'texts' holds {text!r:.60}. Expected a list of texts.")
                captions.append((name, text, where))
    check_split(split, splits, file)
    return join_captions(f"{file.stem} {split}", media, captions)


def _parquet_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0
    try:
        with pq.ParquetFile(str(file)) as parquet:
            found = parquet.schema_arrow.names
            if lacking := [column for column in _PARQUET_COLUMNS if column not in found]:
                raise DatasetError(f"{file}: no column {', '.join(lacking)} (found: {', '.join(found)}). Needed: id, texts, image.")
            columns = [column for column in (*_PARQUET_COLUMNS, "split", "kind") if column in found]
            for batch in parquet.iter_batches(batch_size=64, columns=columns):
                for number, row in enumerate(batch.to_pylist(), number + 1):  # noqa: B020 the count goes on through the batches
                    yield f"{file}: row {number}", row
    except FileNotFoundError:
        raise DatasetError(f"{file}: no such file. Pass the Parquet file of the data set.") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file}: cannot be read as Parquet after row {number} ({error}).") from error


def _picture(image: Any, where: str) -> bytes:
    data = image["bytes"] if isinstance(image, dict) and "bytes" in image else image
    if not isinstance(data, bytes) or not data:
        raise DatasetError(f"{where}: 'image' holds no bytes ({data!r:.60}). Expected an encoded picture, or a struct with its 'bytes'.")
    return data


def _msrvtt(document: Any, file: Path, media: MediaFolder, split: str) -> CaptionedMedia:
    """MSRVTT_data.json, test_videodatainfo.json or train_val_videodatainfo.json: the videos of a split with all sentences."""
    ids, splits, found, captions = Unique("video_id"), set[str](), _Found(), list[_Caption]()
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
    keys, ids, found, captions = Unique("key"), Unique("video_id"), _Found(), list[_Caption]()
    for record, row in read_csv(annotations, ("key", "vid_key", "video_id", "sentence")):
        keys.add(row["key"], record)
        ids.add(name := row["video_id"], record)
        found[name] = media.find(name, "video", record)
        captions.append((name, row["sentence"], record))
    return join_captions("MSR-VTT 1k-A", found, captions, media.missing)


def read_msvd(annotations: Path, media: MediaFolder, *, videos: Path | None = None) -> CaptionedMedia:
    """MSVD from the official corpus CSV, AllVideoDescriptions.txt or raw-captions.pkl. The suffix and the content tell which.

    From the CSV, reads only English descriptions that are not empty. Videos are named <VideoID>_<Start>_<End>. `videos` is
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


def _msvd_corpus(file: Path) -> Iterator[_Caption]:
    for record, row in read_csv(file, ("VideoID", "Start", "End", "Language", "Description")):
        if row["Language"] == "English" and row["Description"]:
            yield f"{row['VideoID']}_{row['Start']}_{row['End']}", row["Description"], record


def _msvd_lines(file: Path) -> Iterator[_Caption]:
    for where, line in read_lines(file):
        name, _, text = line.partition(" ")
        if not line.startswith("#") and not text:
            raise DatasetError(f"{where}: no sentence ({line!r:.60}). Expected <video> <sentence>.")
        if not line.startswith("#"):
            yield name, text.strip(), where


def _msvd_pickle(file: Path) -> Iterator[_Caption]:
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
