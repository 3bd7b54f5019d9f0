"""Files that are still being written while a run processes them.

They are left for the next run, and stored neither as half a file nor as a failure.
"""

from dataclasses import dataclass

from indexer.plan import Task
from media.sources.choose import source_of
from media.sources.source import SourceFile


@dataclass(frozen=True)
class Unfinished:
    """A file that changed while it was processed: it is still being written, or was removed."""

    task: Task


def has_changed(file: SourceFile) -> bool:
    """Whether a file is of another version than when it was found, or is gone."""
    try:
        return not source_of(file.uri).is_unchanged(file)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
