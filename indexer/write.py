"""Embedded frames to rows of the collection: a picture has one row, a video one for each shot and one for the whole clip."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from indexer.decode import Clock, FileDone, FileFailed
from indexer.embed import Embedded
from indexer.sample import clip_frames, find_shots, mean_vector
from search.schema import MAX_SEGMENTS_PER_FILE, Kind, segment_id_of
from search.thumbnails import thumbnail_path, write_thumbnail
from search.writer import CollectionWriter, Failure

_ROWS_PER_COMMIT = 1024
_SECONDS_PER_COMMIT = 15.0
_FROM_METADATA = ("width", "height", "duration_seconds", "taken_at", "latitude", "longitude", "camera")


@dataclass
class Written:
    """What has been committed so far: files that are searchable now, and files that failed."""

    num_files: int = 0
    num_rows: int = 0
    failures: list[Failure] = field(default_factory=list)


class RowWriter:
    """Collects the frames of one file after the other and commits the rows of whole files."""

    def __init__(self, writer: CollectionWriter, clock: Clock, failed_before: Iterable[str]) -> None:
        self._writer, self._clock = writer, clock
        self._failed_before = set(failed_before)
        self._schema = writer.segments.schema
        self.written = Written()
        self._frames: list[Embedded] = []
        self._rows: list[dict[str, Any]] = []
        self._files: list[str] = []
        self._failures: list[Failure] = []
        self._since_commit = time.monotonic()

    def take(self, item: Embedded | FileDone | FileFailed) -> None:
        """One item of the stream. Commits now and then."""
        if isinstance(item, Embedded):
            self._frames.append(item)
            return
        file = item.task.file
        if isinstance(item, FileDone):
            since = time.monotonic()
            self._rows += self._rows_of(item)
            self._files.append(file.uri)
            self._clock.add("write", since)
        else:
            self._failures.append(Failure(file.uri, file.size_bytes, file.mtime, item.stage, item.reason))
        self._frames = []
        if len(self._rows) >= _ROWS_PER_COMMIT or time.monotonic() - self._since_commit > _SECONDS_PER_COMMIT:
            self.commit()

    def commit(self) -> None:
        """Make what was taken durable: rows first, so that a crash between the commits only repeats a failing file."""
        since = time.monotonic()
        self._writer.replace(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._writer.forget_failures(self._failed_before.intersection(self._files))
        self._writer.record_failures(self._failures)
        self.written.num_files += len(self._files)
        self.written.num_rows += len(self._rows)
        self.written.failures += self._failures
        self._rows, self._files, self._failures = [], [], []
        self._since_commit = self._clock.add("write", since)

    def _rows_of(self, done: FileDone) -> list[dict[str, Any]]:
        file, metadata = done.task.file, done.metadata
        columns = {
            "media_id": done.task.media_id,
            "uri": file.uri,
            "size_bytes": file.size_bytes,
            "mtime": file.mtime,
            "sha256": done.sha256,
            "indexed_at": datetime.now(UTC),
            **{name: metadata.get(name) for name in _FROM_METADATA},
        }
        segments = self._segments(metadata.get("duration_seconds"))
        return [{**columns, **segment, "segment_id": segment_id_of(done.task.media_id, place)} for place, segment in enumerate(segments)]

    def _segments(self, duration_seconds: float | None) -> list[dict[str, Any]]:
        if duration_seconds is None:
            (only,) = self._frames
            self._keep_thumbnail(only)
            return [_segment("image", only.vector, None, None, None)]
        vectors = np.stack([embedded.vector for embedded in self._frames])
        times = [float(embedded.frame.pts_seconds or 0.0) for embedded in self._frames]
        clip_best = len(times) // 2
        segments = [_segment("clip", mean_vector(vectors[clip_frames(len(vectors))]), 0.0, duration_seconds, times[clip_best])]
        self._keep_thumbnail(self._frames[clip_best])
        for shot in find_shots(vectors)[: MAX_SEGMENTS_PER_FILE - 1]:
            start = 0.0 if shot.first == 0 else (times[shot.first - 1] + times[shot.first]) / 2
            end = max(duration_seconds, times[-1]) if shot.stop == len(times) else (times[shot.stop - 1] + times[shot.stop]) / 2
            self._keep_thumbnail(self._frames[shot.best])
            segments.append(_segment("shot", mean_vector(vectors[shot.first : shot.stop]), start, end, times[shot.best]))
        return segments

    def _keep_thumbnail(self, embedded: Embedded) -> None:
        frame = embedded.frame
        write_thumbnail(thumbnail_path(self._writer.path, frame.task.media_id, frame.pts_seconds), frame.small)


def _segment(kind: Kind, vector: Any, start: float | None, end: float | None, frame: float | None) -> dict[str, Any]:
    return {"kind": kind, "vector": vector, "start_seconds": start, "end_seconds": end, "frame_seconds": frame}
