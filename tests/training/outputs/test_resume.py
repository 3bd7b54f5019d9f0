import pytest
import torch

from training.errors import TrainingError
from training.outputs.resume import Snapshot, read_snapshot, save_snapshot

SNAPSHOT = Snapshot("abc", 1, 7, {"model": {"weight": torch.arange(3.0)}}, [("a.png", "gone")])


def test_a_snapshot_is_read_as_it_was_saved(tmp_path):
    save_snapshot(tmp_path / "a" / "snapshot.pt", SNAPSHOT)
    found = read_snapshot(tmp_path / "a" / "snapshot.pt", "abc")
    assert (found.phase, found.step, found.unreadable) == (1, 7, [("a.png", "gone")])
    assert torch.equal(found.states["model"]["weight"], torch.arange(3.0))


def test_a_missing_snapshot_is_none(tmp_path):
    assert read_snapshot(tmp_path / "snapshot.pt", "abc") is None


def test_a_snapshot_of_another_recipe_is_refused(tmp_path):
    save_snapshot(tmp_path / "snapshot.pt", SNAPSHOT)
    with pytest.raises(TrainingError, match=r"with other pictures, texts or start.*--overwrite"):
        read_snapshot(tmp_path / "snapshot.pt", "abd")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"junk"])
def test_a_damaged_snapshot_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / "snapshot.pt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"snapshot\.pt: damaged"):
        read_snapshot(tmp_path / "snapshot.pt", "abc")


def test_a_kill_while_saving_keeps_the_previous_snapshot(tmp_path, monkeypatch):
    save_snapshot(tmp_path / "snapshot.pt", SNAPSHOT)

    def half(value, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        save_snapshot(tmp_path / "snapshot.pt", SNAPSHOT)
    assert read_snapshot(tmp_path / "snapshot.pt", "abc").step == 7
