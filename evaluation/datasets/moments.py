"""Readers of sentences with the seconds of the video that they describe: Charades-STA, DiDeMo, and a user's list."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from evaluation.datasets.dataset import MediaFolder, Medium, MomentQuery, MomentSet, kind_of, present
from evaluation.datasets.files import Unique, check_text, get, read_csv, read_json, read_lines, read_seconds
from evaluation.errors import DatasetError

DIDEMO_SECONDS = 5.0  # a chunk of DiDeMo
_MOST_CHUNKS = 1000  # DiDeMo's videos have six

_Span = tuple[float, float]
_Record = tuple[str, str, tuple[_Span, ...], str]  # video, text, spans, file and line
_KNOWN = "Known: Charades-STA's .txt (video start stop##sentence), DiDeMo's .json (a list), a .csv with the columns path,query,start,stop"


def read_moments(annotations: Path, media_folder: Path | None, *, allow_missing: bool = False) -> MomentSet:
    """Read any of the formats below; the suffix tells which. `media_folder` None is the folder of the annotations. Raises DatasetError."""
    media = MediaFolder.of(annotations, media_folder, allow_missing=allow_missing)
    read = {".txt": read_charades_sta, ".json": read_didemo, ".csv": read_own_moments}.get(annotations.suffix.lower())
    if not read:
        raise DatasetError(f"{annotations}: moments of an unknown kind (suffix {annotations.suffix!r}). {_KNOWN}.")
    return read(annotations, media)


def read_charades_sta(annotations: Path, media: MediaFolder) -> MomentSet:
    """charades_sta_test.txt: each line is a query, such as "3MSZA 24.3 30.4##person turn a light on.", even if a sentence repeats.

    A span that does not stop after its start is dropped and counted in `missing`, as in published code (2D-TAN and later). Stops after
    the end of a video are kept as written. Raises DatasetError.
    """

    def records() -> Iterator[_Record]:
        for where, line in read_lines(annotations):
            head, _, text = line.partition("##")
            fields = head.split()
            if len(fields) != 3 or not text.strip():
                raise DatasetError(f"{where}: malformed ({line!r:.80}). Expected <video> <start> <stop>##<sentence>.")
            start, stop = read_seconds(fields[1], where), read_seconds(fields[2], where)
            if stop > start:
                yield fields[0], text.strip(), ((start, stop),), where
            else:
                media.missing.append(f"{where}: no moment from {start:g} s to {stop:g} s")

    return _moment_set(annotations.stem, records(), media)


def read_didemo(annotations: Path, media: MediaFolder) -> MomentSet:
    """DiDeMo's test_data.json: each query has the chunks of five seconds that several annotators marked. Raises DatasetError."""
    document, ids = read_json(annotations), Unique("annotation_id")
    if not isinstance(document, list):
        raise DatasetError(f"{annotations}: not DiDeMo's list of descriptions (found: {type(document).__name__}). {_KNOWN}.")

    def records() -> Iterator[_Record]:
        for number, one in enumerate(document):
            where = f"{annotations}: [{number}]"
            ids.add(get(one, "annotation_id", (int, str), where), where)
            video, text = get(one, "video", str, where), get(one, "description", str, where)
            if not text.strip():
                raise DatasetError(f"{where}: the 'description' is empty. Expected a sentence.")
            yield video, text, tuple(_span(chunks, where) for chunks in get(one, "times", list, where)), where

    return _moment_set(f"DiDeMo {annotations.stem}", records(), media, segment_seconds=DIDEMO_SECONDS)


def _span(chunks: Any, where: str) -> _Span:
    """The seconds of a pair of chunks, the first and the last."""
    pair = isinstance(chunks, list) and len(chunks) == 2 and all(type(chunk) is int for chunk in chunks)
    if not pair or not 0 <= chunks[0] <= chunks[1] < _MOST_CHUNKS:
        wanted = f"pairs of whole numbers, the first and the last chunk, 0 <= first <= last < {_MOST_CHUNKS}"
        raise DatasetError(f"{where}: 'times' holds {chunks!r:.60}. Expected {wanted}.")
    return DIDEMO_SECONDS * chunks[0], DIDEMO_SECONDS * (chunks[1] + 1)


def read_own_moments(annotations: Path, media: MediaFolder) -> MomentSet:
    """A CSV: path (relative or absolute), query, start and stop in seconds. Lines with the same path and query are one query."""
    unique = Unique("moment")

    def records() -> Iterator[_Record]:
        for record, row in read_csv(annotations, ("path", "query", "start", "stop"), filled=("path", "query")):
            kind_of(row["path"], record, videos_only=True)
            start, stop = read_seconds(row["start"], record), read_seconds(row["stop"], record)
            if stop <= start:
                raise DatasetError(f"{record}: stops at {stop:g} s, but starts at {start:g} s. A moment must stop after it starts.")
            video = str(Path(row["path"]))  # ./a.mp4 is a.mp4
            unique.add((video, row["query"], start, stop), record)
            yield video, row["query"], ((start, stop),), record

    return _moment_set(f"{media.folder.resolve().name}, {annotations.name}", records(), media, own=True)


def _moment_set(
    title: str, records: Iterable[_Record], media: MediaFolder, *, segment_seconds: float | None = None, own: bool = False
) -> MomentSet:
    """Finds the videos. In a user's `own` list paths are exact, and lines with the same path and query are one query."""
    videos, spans_of = dict[str, Medium | None](), dict[tuple[str, str, str], tuple[_Span, ...]]()
    for video, text, spans, where in records:
        if not spans:
            raise DatasetError(f"{where}: 'times' is empty. At least one pair of chunks is needed.")
        if videos.get(video) is None:
            videos[video] = media.find(video, "video", where, exact=own)
        key = video, check_text(text, where), "" if own else where
        spans_of[key] = (*spans_of.get(key, ()), *spans)
    found, index_of = present(videos)
    queries = tuple(MomentQuery(index_of[video], text, spans) for (video, text, _), spans in spans_of.items() if video in index_of)
    if not queries:
        raise DatasetError(f"{title}: holds no moments ({len(media.missing)} records were left out). At least one is needed.")
    return MomentSet(title, found, queries, segment_seconds, tuple(media.missing))
