"""Write a file so that readers see the old content or the new, never a part, also after a crash."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"  # a killed process may leave files with this suffix; they can be deleted


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, sync: bool = True) -> Iterator[Path]:
    """A temporary path in the folder of `path`, which must exist, for writers that need a name. It replaces `path` when the block ends.

    If the block raises, the temporary file is removed and `path` does not change. The file gets the permissions of the umask,
    even from a writer that makes private files. Threads and processes may write the same `path` at once: the last one wins.
    With `sync`, the bytes are on the disk afterwards. Without it, a power failure may leave an empty file.
    """
    path = Path(path)
    partial = _partial(path)
    try:
        partial.touch(exist_ok=False)
        permissions = partial.stat().st_mode
        yield partial
        partial.chmod(permissions)
        if sync:
            with partial.open("r+b") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def atomic_write(path: str | os.PathLike[str], data: bytes | str, *, sync: bool = True) -> None:
    """Write bytes, or text as UTF-8. As `atomic_path`, but faster: it is our writer, and makes no private files."""
    partial = _partial(Path(path))
    try:
        with partial.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.{secrets.token_hex(8)}{PARTIAL}")
