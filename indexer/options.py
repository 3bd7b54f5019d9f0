"""How to index."""

import os
from dataclasses import dataclass, field


def default_workers() -> int:
    """One decoding thread for each core, at most 8."""
    return min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class IndexOptions:
    """How to index.

    Attributes:
        batch: frames that are embedded together.
        workers: files that are read and decoded at once.
        video_limit_seconds: how long a video may go without a frame before it is given up.
        retry_failed: also try files that failed before and have not changed.
        check_content: read every file to see whether it changed, also if its size, time and inode are the same.
        forget: roots to remove first, by id or folder.
        leave_out: patterns of files and folders to leave out, from now on; see `indexer.files.leave_out`.
        dry_run: only find out what there is to do. Nothing is written, and no model is loaded.
        settle_seconds: a film or a damaged file that was changed just now is looked at again after this time.
    """

    batch: int = 32
    workers: int = field(default_factory=default_workers)
    video_limit_seconds: float = 60.0
    retry_failed: bool = False
    check_content: bool = False
    forget: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    dry_run: bool = False
    settle_seconds: float = 0.5
