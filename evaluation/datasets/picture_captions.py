"""Readers of captioned pictures: Karpathy's splits, the official COCO files, a user's own queries, and Parquet.

Each keeps the texts as the file has them, in its order, so that figures can be compared with published ones.
"""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.datasets.dataset import CaptionedMedia, Medium
from evaluation.datasets.files import MediaFolder, Unique, captioned, check_split, check_text, each, get, read_csv, read_json
from evaluation.errors import DatasetError
from indexer.errors import SourceError
from indexer.scan import IMAGE_SUFFIXES, VIDEO_SUFFIXES, MediaType, media_type, scan

_KNOWN = (
    "Known: Karpathy's JSON (images with sentences), COCO's JSON (images and annotations), "
    "a CSV with the columns query and path, Parquet with id, texts and image"
)


def read_captions(annotations: Path, media_folder: Path | None, *, split: str = "test", allow_missing: bool = False) -> CaptionedMedia:
    """Any of the formats below, told by the file's ending and content.

    `media_folder` None is the folder of the annotations. `split` counts where the file knows splits. Raises DatasetError.
    """
    media = MediaFolder.of(annotations, media_folder, allow_missing=allow_missing)
    ending = annotations.suffix.lower()
    if ending == ".parquet":
        return read_parquet(annotations, split=split)
    if ending == ".csv":
        return read_own_queries(annotations, media)
    if ending != ".json":
        raise DatasetError(f"{annotations}: captions of an unknown kind (ending {ending!r}). {_KNOWN}.")
    document = read_json(annotations)
    images = document.get("images") if isinstance(document, dict) else None
    if images is not None and "annotations" in document:
        return _coco(document, annotations, media, annotations.stem)
    if images == [] or (isinstance(images, list) and isinstance(images[0], dict) and "sentences" in images[0]):
        return _karpathy(document, annotations, media, split)
    found = f"an object with {', '.join(document) or 'nothing'}" if isinstance(document, dict) else f"a {type(document).__name__}"
    raise DatasetError(f"{annotations}: captions of an unknown kind (found: {found:.120}). {_KNOWN}.")


def read_karpathy(annotations: Path, media: MediaFolder, *, split: str) -> CaptionedMedia:
    """Karpathy's dataset_coco.json, dataset_flickr30k.json or dataset_flickr8k.json.

    All sentences of a picture count, as they were typed. "train" takes COCO's "restval" too, as papers do. Raises DatasetError.
    """
    return _karpathy(read_json(annotations), annotations, media, split)


def _karpathy(document: Any, file: Path, media: MediaFolder, split: str) -> CaptionedMedia:
    ids, names, splits, chosen = Unique("imgid"), Unique("filename"), set[str](), dict[str, tuple[str, Any]]()
    for where, image in each(get(document, "images", list, str(file)), lambda number: f"{file}: images[{number}]"):
        ids.add(get(image, "imgid", int, where), where)
        its = get(image, "split", str, where)
        splits |= {its, "train"} if its == "restval" else {its}
        if its == split or (its, split) == ("restval", "train"):
            name = get(image, "filename", str, where)
            names.add(name, where)
            chosen[name] = where, image
    check_split(split, splits, file)
    found = {name: media.find(name, "image", where, inside=_inside(image, where)) for name, (where, image) in chosen.items()}
    captions = ((name, *said) for name, (where, image) in chosen.items() for said in _sentences(image, where))
    dataset = document.get("dataset")
    title = check_text(dataset, f"{file}: 'dataset'") if isinstance(dataset, str) else file.stem
    return captioned(f"{title} {split}", found, captions, media.missing)


def _inside(image: Any, where: str) -> str:
    return get(image, "filepath", str, where) if "filepath" in image else ""


def _sentences(image: Any, where: str) -> Iterator[tuple[str, str]]:
    for record, sentence in each(get(image, "sentences", list, where), lambda number: f"{where}.sentences[{number}]"):
        yield get(sentence, "raw", str, record), record


def read_coco_captions(annotations: Path, media: MediaFolder, *, title: str) -> CaptionedMedia:
    """COCO's own captions_val2014.json or captions_val2017.json. A picture without a caption is a distractor. Raises DatasetError."""
    return _coco(read_json(annotations), annotations, media, title)


def _coco(document: Any, file: Path, media: MediaFolder, title: str) -> CaptionedMedia:
    ids, names, chosen = Unique("id"), Unique("file_name"), dict[object, tuple[str, str]]()
    for where, image in each(get(document, "images", list, str(file)), lambda number: f"{file}: images[{number}]"):
        identity, name = get(image, "id", (int, str), where), get(image, "file_name", str, where)
        ids.add(identity, where)
        names.add(name, where)
        chosen[identity] = name, where
    captions, annotation_ids = list[tuple[object, str, str]](), Unique("id")
    for where, one in each(get(document, "annotations", list, str(file)), lambda number: f"{file}: annotations[{number}]"):
        annotation_ids.add(get(one, "id", (int, str), where), where)
        identity = get(one, "image_id", (int, str), where)
        if identity not in chosen:
            raise DatasetError(f"{where}: no such image ('image_id' is {identity!r}). It must be the 'id' of one of 'images'.")
        captions.append((identity, get(one, "caption", str, where), where))
    found = {identity: media.find(name, "image", where) for identity, (name, where) in chosen.items()}
    return captioned(title, found, captions, media.missing)


def read_own_queries(annotations: Path, media: MediaFolder) -> CaptionedMedia:
    """A CSV with the columns `query` and `path`, a line for each right answer: what you would type, and what should be found.

    A path is relative to the folder, or absolute. A query on several lines has several right answers. It is looked for among
    every picture and video that the indexer would find below the folder, not only those named. Raises DatasetError.
    """
    gallery, left_out = _gallery(media.folder)
    place = {_same(medium.path): number for number, medium in enumerate(gallery)}
    answers, pairs = dict[str, list[int]](), Unique("pair of query and path")
    for record, row in read_csv(annotations, ("query", "path")):
        query, path = row["query"], row["path"]
        if not query or not path:
            raise DatasetError(
                f"{record}: the {'path' if query else 'query'} is empty. A line needs a query and the path of a right answer."
            )
        medium = media.find(path, _kind_of(path, record), record, exact=True)
        key = _same(media.folder / path)
        pairs.add((query, key), record)
        if medium is None:
            continue
        if key not in place:
            raise DatasetError(f"{record}: {path!r} is hidden or outside of {media.folder}. Name what the indexer finds below that folder.")
        answers.setdefault(query, []).append(place[key])
    owners = tuple(tuple(numbers) for numbers in answers.values())
    return CaptionedMedia(
        f"{media.folder.resolve().name}, {annotations.name}", gallery, tuple(answers), owners, (*media.missing, *left_out)
    )


def _gallery(folder: Path) -> tuple[tuple[Medium, ...], list[str]]:
    """Everything below the folder by its path from there, and what had to be left out."""
    try:
        found = scan([folder])
    except SourceError as error:
        raise DatasetError(str(error)) from error
    root = found.roots[0]
    gallery = tuple(Medium(os.path.relpath(uri, root), Path(uri), file.type, uri) for uri, file in found.files.items())
    left_out = [f"{problem.uri}: {problem.reason}" for problem in found.problems]
    return gallery, left_out + [f"{unreadable}: the folder cannot be listed" for unreadable in found.unreadable]


def _same(path: Path) -> str:
    """One spelling for a file: linked folders followed, and accents as one character, whichever way they were typed."""
    return unicodedata.normalize("NFC", str(path.parent.resolve() / path.name))


def _kind_of(path: str, record: str) -> MediaType:
    kind = media_type(path)
    if kind is None:
        raise DatasetError(
            f"{record}: neither a picture nor a video ({path!r}). Known: {' '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))}."
        )
    return kind


def read_parquet(file: Path, *, split: str) -> CaptionedMedia:
    """Pictures with their captions in one file, as Hugging Face keeps them.

    The columns are `id`, `texts` (a list), `image` (bytes, or a struct with `bytes`), and perhaps `split` and `kind`: with the
    last only rows of the kind "caption" count. Rows are counted from 1. Raises DatasetError.
    """
    media, captions, splits, ids = dict[object, Medium | None](), list[tuple[object, str, str]](), set[str](), Unique("id")
    for where, row in _parquet_rows(file):
        if row.get("kind", "caption") != "caption":
            continue
        splits.add(its := get(row, "split", str, where) if "split" in row else split)
        if its == split:
            name = str(get(row, "id", (str, int), where))
            ids.add(name, where)
            media[name] = Medium(name, file, "image", where, _picture(row, where))
            captions += [(name, text, where) for text in _texts(row, where)]
    check_split(split, splits, file)
    return captioned(f"{file.stem} {split}", media, captions)


def _parquet_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    number, needed = 0, ["id", "texts", "image"]
    try:
        with pq.ParquetFile(str(file)) as parquet:
            found = parquet.schema_arrow.names
            if lacking := [column for column in needed if column not in found]:
                raise DatasetError(f"{file}: no column {', '.join(lacking)} (found: {', '.join(found)}). Needed: {', '.join(needed)}.")
            columns = [*needed, *(column for column in ("split", "kind") if column in found)]
            for batch in parquet.iter_batches(batch_size=64, columns=columns):
                for number, row in enumerate(batch.to_pylist(), number + 1):  # noqa: B020 it counts on through the batches
                    yield f"{file}: row {number}", row
    except FileNotFoundError:
        raise DatasetError(f"{file}: no such file. Pass the Parquet file of the data set.") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file}: cannot be read as Parquet after row {number} ({error}).") from error


def _picture(row: dict[str, Any], where: str) -> bytes:
    data = row["image"]["bytes"] if isinstance(row["image"], dict) and "bytes" in row["image"] else row["image"]
    if not isinstance(data, bytes) or not data:
        raise DatasetError(f"{where}: 'image' holds no bytes ({data!r:.60}). Expected an encoded picture, or a struct with its 'bytes'.")
    return data


def _texts(row: dict[str, Any], where: str) -> list[str]:
    texts = get(row, "texts", list, where)
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise DatasetError(f"{where}: 'texts' holds {wrong[0]!r:.60}. Expected a list of texts.")
    return [check_text(text, where) for text in texts]
