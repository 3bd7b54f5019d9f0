import os
import stat
import threading

import pytest

from media.atomic_write import PARTIAL, atomic_path, atomic_write


@pytest.mark.parametrize(("data", "wanted"), [(b"\0\xff", b"\0\xff"), ("l'été\n", "l'été\n".encode())])
@pytest.mark.parametrize("sync", [True, False])
def test_bytes_and_text_replace_the_file_and_leave_nothing_beside_it(tmp_path, data, wanted, sync):
    (path := tmp_path / "file.json").write_text("old")
    atomic_write(path, data, sync=sync)
    assert path.read_bytes() == wanted
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_sees_the_old_file_until_the_block_ends(tmp_path):
    (path := tmp_path / "file").write_text("old")
    with atomic_path(str(path)) as partial:
        assert (partial.parent, partial.suffix) == (tmp_path, PARTIAL)
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_keeps_the_old_file_and_removes_the_partial_one(tmp_path, error):
    (path := tmp_path / "file").write_text("old")
    with pytest.raises(error), atomic_path(path) as partial:  # noqa: PT012
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_has_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "file") as partial:
            partial.unlink()
            os.close(os.open(partial, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_concurrent_writes_of_one_file_leave_one_complete_file(tmp_path):
    path, contents = tmp_path / "file", [bytes([number]) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=atomic_write, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_raises_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "nowhere" / "file", b"")
