"""Readers of captioned pictures: Karpathy's splits, the official COCO files, a user's queries, and Parquet.

Each keeps the texts as written and in file order, so that figures can be compared with published ones.
"""

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.datasets.dataset import CaptionedMedia, Medium, join_captions
from evaluation.datasets.files import Unique, check_split, check_text, entries, get, read_csv, read_json, unknown
from evaluation.datasets.media_folder import MediaFolder, kind_of
from evaluation.errors import DatasetError

_COLUMNS = ("id", "texts", "image")
_KNOWN = (
    "Known: Karpathy's JSON (images with sentences), COCO's JSON (images and annotations), "
    "a CSV with the columns query and path, Parquet with id, texts and image"
)


def read_captions(annotations: Path, media_folder: Path | None, *, split: str = "test", allow_missing: bool = False) -> CaptionedMedia:
    """Read any of the formats below. The suffix and the content of the file tell which.

    `media_folder` None is the folder of the annotations. `split` applies if the file has splits. Raises DatasetError.
    """
    media = MediaFolder.of(annotations, media_folder, allow_missing=allow_missing)
    suffix = annotations.suffix.lower()
    if suffix == ".parquet":
        return read_parquet(annotations, split=split)
    if suffix == ".csv":
        return read_own_queries(annotations, media)
    if suffix != ".json":
        raise DatasetError(f"{annotations}: captions of an unknown kind (suffix {suffix!r}). {_KNOWN}.")
    document = read_json(annotations)
    if isinstance(document, dict) and "images" in document:
        if "annotations" in document:
            return _coco(document, annotations, media)
        images = document["images"]
        if not isinstance(images, list) or not images or (isinstance(images[0], dict) and "sentences" in images[0]):
            return _karpathy(document, annotations, media, split)
    raise unknown(annotations, "captions", document, _KNOWN)


def _karpathy(document: Any, file: Path, media: MediaFolder, split: str) -> CaptionedMedia:
    """Karpathy's dataset_coco.json, dataset_flickr30k.json or dataset_flickr8k.json, with all sentences of a picture.

    "train" includes COCO's "restval", as in papers.
    """
    ids, names, splits = Unique("imgid"), Unique("filename"), set[str]()
    found, captions = dict[str, Medium | None](), list[tuple[str, str, str]]()
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
    found, captions = dict[object, Medium | None](), list[tuple[object, str, str]]()
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
    """A CSV with the columns `query` and `path`, one line for each right answer. A query on several lines has several right answers.

    A path is relative to the folder, or absolute. Each query is searched for among all pictures and videos that the indexer
    would find below the folder, not only among those named. Raises DatasetError.
    """
    gallery, left_out = media.all_media()
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
    return CaptionedMedia(title, gallery, tuple(answers), tuple(map(tuple, answers.values())), (*media.missing, *left_out))


def _canonical(path: Path) -> str:
    """One spelling for a file: linked folders are resolved, and accents are composed characters (NFC)."""
    return unicodedata.normalize("NFC", str(path.parent.resolve() / path.name))


def read_parquet(file: Path, *, split: str) -> CaptionedMedia:
    """Pictures and captions in one file, as on Hugging Face.

    The columns are `id`, `texts` (a list) and `image` (bytes, or a struct with `bytes`). Optional are `split`, and `kind`, of
    which only "caption" is read. Rows are numbered from 1. Raises DatasetError.
    """
    media, captions, splits, ids = dict[object, Medium | None](), list[tuple[object, str, str]](), set[str](), Unique("id")
    for where, row in _parquet_rows(file):
        if row.get("kind", "caption") != "caption":
            continue
        splits.add(row_split := get(row, "split", str, where) if "split" in row else split)
        if row_split == split:
            ids.add(name := str(get(row, "id", (str, int), where)), where)
            media[name] = Medium(name, file, "image", where, _picture(row["image"], where))
            captions += [(name, text, where) for text in _texts(row, where)]
    check_split(split, splits, file)
    return join_captions(f"{file.stem} {split}", media, captions)


def _parquet_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0
    try:
        with pq.ParquetFile(str(file)) as parquet:
            found = parquet.schema_arrow.names
            if lacking := [column for column in _COLUMNS if column not in found]:
                raise DatasetError(f"{file}: no column {', '.join(lacking)} (found: {', '.join(found)}). Needed: {', '.join(_COLUMNS)}.")
            columns = [column for column in (*_COLUMNS, "split", "kind") if column in found]
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


def _texts(row: dict[str, Any], where: str) -> list[str]:
    texts = get(row, "texts", list, where)
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise DatasetError(f"{where}: 'texts' holds {wrong[0]!r:.60}. Expected a list of texts.")
    return texts
