"""How to index."""

from dataclasses import dataclass, field

from media.cpus import num_cpus


def default_workers() -> int:
    """One lane for each core, at most 16, because each takes memory for a batch."""
    return min(16, num_cpus())


@dataclass(frozen=True)
class IndexOptions:
    """How to index.

    Attributes:
        batch: frames that a lane embeds together.
        workers: number of lanes: threads that read, decode and embed files.
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
