"""Readers of sentences with the seconds of a video they describe: Charades-STA, DiDeMo, and a user's own manifest."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evaluation.datasets.dataset import Medium, MomentQuery, MomentSet
from evaluation.datasets.files import MediaFolder, Unique, check_text, each, get, read_csv, read_json, read_text
from evaluation.errors import DatasetError
from indexer.scan import VIDEO_SUFFIXES

DIDEMO_SECONDS = 5.0  # a chunk of DiDeMo
_MOST_CHUNKS = 1000  # DiDeMo's videos have six

_Span = tuple[float, float]
_Query = tuple[str, str, tuple[_Span, ...]]  # video, text, spans

_KNOWN = "Known: Charades-STA's .txt (video start stop##sentence), DiDeMo's .json (a list), a .csv with the columns path,query,start,stop"


def read_moments(annotations: Path, media_folder: Path | None, *, allow_missing: bool = False) -> MomentSet:
    """Any of the formats below, told by the file's ending and content.

    `media_folder` None is the folder of the annotations. Raises DatasetError.
    """
    media = MediaFolder.of(annotations, media_folder, allow_missing=allow_missing)
    ending = annotations.suffix.lower()
    readers = {".txt": read_charades_sta, ".json": read_didemo, ".csv": read_own_moments}
    if ending not in readers:
        raise DatasetError(f"{annotations}: moments of an unknown kind (ending {ending!r}). {_KNOWN}.")
    return readers[ending](annotations, media)


def read_charades_sta(annotations: Path, media: MediaFolder) -> MomentSet:
    """charades_sta_test.txt: a line "3MSZA 24.3 30.4##person turn a light on." for each query, even where a sentence comes again.

    A span that does not stop after it starts overlaps no answer: published code drops it (2D-TAN and those after it), and so
    does this, counting it in `missing`. Stops beyond the end of a video are kept as written. Raises DatasetError.
    """
    videos, queries, left_out = dict[str, Medium | None](), list[_Query](), list[str]()
    for number, line in enumerate(read_text(annotations).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{annotations}: line {number}"
        video, span, text = _charades_line(line, where)
        if span[1] <= span[0]:
            left_out.append(f"{where}: no moment from {span[0]:g} s to {span[1]:g} s")
            continue
        if videos.get(video) is None:
            videos[video] = media.find(video, "video", where)
        queries.append((video, check_text(text, where), (span,)))
    return _moments(annotations.stem, videos, queries, [*media.missing, *left_out])


def _charades_line(line: str, where: str) -> tuple[str, _Span, str]:
    head, separator, text = line.strip().partition("##")
    fields = head.split()
    if not separator or len(fields) != 3 or not text.strip():
        raise DatasetError(f"{where}: malformed ({line.strip()!r:.80}). Expected <video> <start> <stop>##<sentence>.")
    return fields[0], (_seconds(fields[1], where), _seconds(fields[2], where)), text.strip()


def read_didemo(annotations: Path, media: MediaFolder) -> MomentSet:
    """DiDeMo's test_data.json: chunks of five seconds, each query with what several people marked.

    The videos were shared in many encodings, so that a file with another ending counts. Raises DatasetError.
    """
    document = read_json(annotations)
    if not isinstance(document, list):
        raise DatasetError(f"{annotations}: not DiDeMo's list of descriptions (found: {type(document).__name__}). {_KNOWN}.")
    videos, queries, ids = dict[str, Medium | None](), list[_Query](), Unique("annotation_id")
    for where, one in each(document, lambda number: f"{annotations}: [{number}]"):
        ids.add(get(one, "annotation_id", (int, str), where), where)
        video, text, spans = get(one, "video", str, where), get(one, "description", str, where), _chunks(one, where)
        if not text.strip():
            raise DatasetError(f"{where}: the 'description' is empty. Expected a sentence.")
        if videos.get(video) is None:
            videos[video] = media.find(video, "video", where)
        queries.append((video, check_text(text, where), spans))
    return _moments(f"DiDeMo {annotations.stem}", videos, queries, media.missing, DIDEMO_SECONDS)


def _chunks(one: Any, where: str) -> tuple[_Span, ...]:
    spans = list[_Span]()
    for chunks in get(one, "times", list, where):
        if not isinstance(chunks, list) or len(chunks) != 2 or not all(type(chunk) is int for chunk in chunks):
            raise DatasetError(f"{where}: 'times' holds {chunks!r:.60}. Expected pairs of whole numbers, the first and the last chunk.")
        first, last = chunks
        if not 0 <= first <= last < _MOST_CHUNKS:
            raise DatasetError(
                f"{where}: 'times' holds {chunks!r:.60}. The first chunk is at least 0, the last not before it and below {_MOST_CHUNKS}."
            )
        spans.append((DIDEMO_SECONDS * first, DIDEMO_SECONDS * (last + 1)))
    if not spans:
        raise DatasetError(f"{where}: 'times' is empty. At least one pair of chunks is needed.")
    return tuple(spans)


def read_own_moments(annotations: Path, media: MediaFolder) -> MomentSet:
    """A CSV with the columns path, query, start and stop, in seconds; several lines with one path and query are its spans.

    A path is relative to the folder, or absolute. Raises DatasetError.
    """
    videos, spans, lines = dict[str, Medium | None](), dict[tuple[str, str], list[_Span]](), Unique("moment")
    for record, row in read_csv(annotations, ("path", "query", "start", "stop")):
        video, query, span = _own_line(row, record)
        lines.add((video, query, *span), record)
        if videos.get(video) is None:
            videos[video] = media.find(video, "video", record, exact=True)
        spans.setdefault((video, query), []).append(span)
    queries = [(video, query, tuple(those)) for (video, query), those in spans.items()]
    return _moments(f"{media.folder.resolve().name}, {annotations.name}", videos, queries, media.missing)


def _own_line(row: dict[str, str], record: str) -> tuple[str, str, _Span]:
    if not row["path"] or not row["query"]:
        raise DatasetError(f"{record}: the {'query' if row['path'] else 'path'} is empty. A line needs both.")
    video = Path(row["path"])  # ./a.mp4 is a.mp4
    if video.suffix.lower() not in VIDEO_SUFFIXES:
        raise DatasetError(f"{record}: not a video ({row['path']!r:.80}). Known: {' '.join(sorted(VIDEO_SUFFIXES))}.")
    start, stop = _seconds(row["start"], record), _seconds(row["stop"], record)
    if stop <= start:
        raise DatasetError(f"{record}: stops at {stop:g} s, but starts at {start:g} s. A moment stops after it starts.")
    return str(video), row["query"], (start, stop)


def _seconds(value: str, where: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise DatasetError(f"{where}: not a time ({value!r:.60}). Expected seconds from the start of the video, such as 24.3.")
    return seconds


def _moments(
    title: str, videos: dict[str, Medium | None], queries: list[_Query], missing: Iterable[str], segment_seconds: float | None = None
) -> MomentSet:
    place = {name: number for number, name in enumerate(name for name, medium in videos.items() if medium is not None)}
    media = tuple(medium for medium in videos.values() if medium is not None)
    kept = tuple(MomentQuery(place[video], text, spans) for video, text, spans in queries if video in place)
    missing = tuple(missing)
    if not kept:
        raise DatasetError(f"{title}: holds no moments ({len(missing)} records were left out). At least one is needed.")
    return MomentSet(title, media, kept, segment_seconds, missing)
