"""Readers of sentences with the seconds of the video that they describe: Charades-STA, DiDeMo, and a user's list."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from evaluation.datasets.dataset import Medium, MomentQuery, MomentSet, present
from evaluation.datasets.files import Unique, check_text, get, read_csv, read_json, read_text
from evaluation.datasets.media_folder import MediaFolder, kind_of
from evaluation.errors import DatasetError

DIDEMO_SECONDS = 5.0  # a chunk of DiDeMo
_MOST_CHUNKS = 1000  # DiDeMo's videos have six

_Span = tuple[float, float]
_Record = tuple[str, str, tuple[_Span, ...], str]  # video, text, spans, file and line

_KNOWN = "Known: Charades-STA's .txt (video start stop##sentence), DiDeMo's .json (a list), a .csv with the columns path,query,start,stop"


def read_moments(annotations: Path, media_folder: Path | None, *, allow_missing: bool = False) -> MomentSet:
    """Read any of the formats below. The suffix of the file tells which.

    `media_folder` None is the folder of the annotations. Raises DatasetError.
    """
    media = MediaFolder.of(annotations, media_folder, allow_missing=allow_missing)
    suffix = annotations.suffix.lower()
    readers = {".txt": read_charades_sta, ".json": read_didemo, ".csv": read_own_moments}
    if suffix not in readers:
        raise DatasetError(f"{annotations}: moments of an unknown kind (suffix {suffix!r}). {_KNOWN}.")
    return readers[suffix](annotations, media)


def read_charades_sta(annotations: Path, media: MediaFolder) -> MomentSet:
    """charades_sta_test.txt: each line is a query, such as "3MSZA 24.3 30.4##person turn a light on.", even if a sentence repeats.

    A span that does not stop after its start overlaps no answer. It is counted in `missing` and dropped, as in published code
    (2D-TAN and later). Stops beyond the end of a video are kept as written. Raises DatasetError.
    """
    return _moment_set(annotations.stem, _charades_records(annotations, media), media)


def _charades_records(file: Path, media: MediaFolder) -> Iterator[_Record]:
    for number, line in enumerate(read_text(file).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{file}: line {number}"
        head, separator, text = line.strip().partition("##")
        fields = head.split()
        if not separator or len(fields) != 3 or not text.strip():
            raise DatasetError(f"{where}: malformed ({line.strip()!r:.80}). Expected <video> <start> <stop>##<sentence>.")
        start, stop = _seconds(fields[1], where), _seconds(fields[2], where)
        if stop > start:
            yield fields[0], check_text(text.strip(), where), ((start, stop),), where
        else:
            media.missing.append(f"{where}: no moment from {start:g} s to {stop:g} s")


def read_didemo(annotations: Path, media: MediaFolder) -> MomentSet:
    """DiDeMo's test_data.json: each query has the chunks of five seconds that several annotators marked. Raises DatasetError."""
    document = read_json(annotations)
    if not isinstance(document, list):
        raise DatasetError(f"{annotations}: not DiDeMo's list of descriptions (found: {type(document).__name__}). {_KNOWN}.")
    return _moment_set(f"DiDeMo {annotations.stem}", _didemo_records(document, annotations), media, segment_seconds=DIDEMO_SECONDS)


def _didemo_records(document: list[Any], file: Path) -> Iterator[_Record]:
    ids = Unique("annotation_id")
    for number, one in enumerate(document):
        where = f"{file}: [{number}]"
        ids.add(get(one, "annotation_id", (int, str), where), where)
        video, text, spans = get(one, "video", str, where), get(one, "description", str, where), _chunks(one, where)
        if not text.strip():
            raise DatasetError(f"{where}: the 'description' is empty. Expected a sentence.")
        yield video, check_text(text, where), spans, where


def _chunks(one: Any, where: str) -> tuple[_Span, ...]:
    spans = list[_Span]()
    for chunks in get(one, "times", list, where):
        if not isinstance(chunks, list) or len(chunks) != 2 or not all(type(chunk) is int for chunk in chunks):
            raise DatasetError(f"{where}: 'times' holds {chunks!r:.60}. Expected pairs of whole numbers, the first and the last chunk.")
        first, last = chunks
        if not 0 <= first <= last < _MOST_CHUNKS:
            raise DatasetError(f"{where}: 'times' holds {chunks!r:.60}. Expected 0 <= first <= last < {_MOST_CHUNKS}.")
        spans.append((DIDEMO_SECONDS * first, DIDEMO_SECONDS * (last + 1)))
    if not spans:
        raise DatasetError(f"{where}: 'times' is empty. At least one pair of chunks is needed.")
    return tuple(spans)


def read_own_moments(annotations: Path, media: MediaFolder) -> MomentSet:
    """A CSV with the columns path, query, start and stop, in seconds. Lines with the same path and query give one query's spans.

    A path is relative to the folder, or absolute. Raises DatasetError.
    """
    title = f"{media.folder.resolve().name}, {annotations.name}"
    return _moment_set(title, _own_records(annotations), media, own=True)


def _own_records(file: Path) -> Iterator[_Record]:
    unique = Unique("moment")
    for record, row in read_csv(file, ("path", "query", "start", "stop")):
        if not row["path"] or not row["query"]:
            raise DatasetError(f"{record}: the {'query' if row['path'] else 'path'} is empty. A line needs both.")
        kind_of(row["path"], record, videos_only=True)
        start, stop = _seconds(row["start"], record), _seconds(row["stop"], record)
        if stop <= start:
            raise DatasetError(f"{record}: stops at {stop:g} s, but starts at {start:g} s. A moment must stop after it starts.")
        video = str(Path(row["path"]))  # ./a.mp4 is a.mp4
        unique.add((video, row["query"], start, stop), record)
        yield video, row["query"], ((start, stop),), record


def _seconds(value: str, where: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise DatasetError(f"{where}: not a time ({value!r:.60}). Expected seconds from the start of the video, such as 24.3.")
    return seconds


def _moment_set(
    title: str, records: Iterable[_Record], media: MediaFolder, *, segment_seconds: float | None = None, own: bool = False
) -> MomentSet:
    """Finds the videos. In a user's `own` list paths are exact, and lines with the same path and query are one query."""
    videos, spans_of = dict[str, Medium | None](), dict[tuple[str, str, str], tuple[_Span, ...]]()
    for video, text, spans, where in records:
        if videos.get(video) is None:
            videos[video] = media.find(video, "video", where, exact=own)
        key = video, text, "" if own else where
        spans_of[key] = (*spans_of.get(key, ()), *spans)
    found, index_of = present(videos)
    queries = tuple(MomentQuery(index_of[video], text, spans) for (video, text, _), spans in spans_of.items() if video in index_of)
    if not queries:
        raise DatasetError(f"{title}: holds no moments ({len(media.missing)} records were left out). At least one is needed.")
    return MomentSet(title, found, queries, segment_seconds, tuple(media.missing))
