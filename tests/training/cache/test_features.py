import copy
import dataclasses
import re

import numpy as np
import pytest
import torch

from coca_model.architecture.config import ImageConfig
from coca_model.architecture.image_tower import ImageTower
from training.cache import features, views
from training.cache.features import cache_features
from training.cache.views import view
from training.errors import TrainingError
from training.examples.select import hash_pictures, pictures_key

PATCH = ImageConfig(32, 8, "patch", width=12, layers=2, heads=2, mlp_width=16)
LITE = ImageConfig(64, 32, "efficientnet_lite1", width=12, layers=1, heads=2, mlp_width=16)
VIEWS = [3, 1, 4, 2, 3, 1, 2, 4]  # of eight pictures, 20 in total
SEED = 7


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Batches of three views, and a progress mark after about five."""
    monkeypatch.setattr(features, "batch_size", lambda *_: 3)
    monkeypatch.setattr(features, "_MARK_EVERY", 5)


@pytest.fixture(params=[(PATCH, 1), (PATCH, 2), (LITE, 21), (LITE, 23)], ids=lambda param: f"{param[0].stem} {param[1]}")
def tower_and_units(request):
    torch.manual_seed(0)
    return ImageTower(request.param[0]).requires_grad_(False).eval(), request.param[1]


@pytest.fixture
def tower():
    torch.manual_seed(0)
    return ImageTower(PATCH).requires_grad_(False).eval()


@pytest.fixture
def examples(make_examples):
    return make_examples(len(VIEWS))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "work"


def build_cache(examples, tower, folder, units=1, *, pictures=None, **options):
    pictures = pictures or pictures_key(examples, hash_pictures(examples))
    return cache_features(examples, VIEWS[: len(examples)], tower, units, folder=folder, seed=SEED, pictures=pictures, **options)


def with_read(examples, number, read):
    """The examples, with another `read` function for one of them."""
    return [dataclasses.replace(example, read=read) if index == number else example for index, example in enumerate(examples)]


def refuse(error):
    def read():
        raise error

    return read


def test_features_equal_the_frozen_units_applied_to_the_same_views_in_bfloat16(examples, tower_and_units, folder):
    tower, units = tower_and_units
    cache, skipped = build_cache(examples, tower, folder, units)
    assert (cache.first.tolist(), skipped, cache.unreadable) == ([0, *np.cumsum(VIEWS)], [], frozenset())
    for number, example in enumerate(examples):
        pixels = np.stack([view(example.read(), of, tower.config, seed=(SEED, number)) for of in range(VIEWS[number])])
        expected = tower.begin(torch.from_numpy(pixels), units).bfloat16()
        found = cache.read(np.arange(cache.first[number], cache.first[number + 1]))
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found, expected, rtol=2**-7, atol=1e-4)  # the rounding of a convolution depends on the batch


def test_views_are_returned_in_the_requested_order(examples, tower, folder):
    cache, _ = build_cache(examples, tower, folder)
    rows = np.array([19, 0, 7, 7])
    assert torch.equal(cache.read(rows), torch.stack([cache.read(np.array([row]))[0] for row in rows]))
    assert not torch.equal(cache.read(np.array([0])), cache.read(np.array([19])))


def test_a_complete_cache_is_not_computed_again(examples, tower, folder, monkeypatch):
    cache, _ = build_cache(examples, tower, folder)
    monkeypatch.setattr(views, "view", None)
    noted = []
    again, skipped = build_cache(examples, tower, folder, note=lambda *seen: noted.append(seen))
    assert (noted, skipped) == ([], [])
    np.testing.assert_array_equal(again.maps, cache.maps)


def test_progress_is_reported_after_every_batch(examples, tower, folder):
    noted = []
    build_cache(examples, tower, folder, note=lambda *seen: noted.append(seen))
    assert noted == [(done, 20) for done in (3, 6, 9, 12, 15, 18, 20)]


@pytest.mark.parametrize(("killed_at", "marked"), [(0, 0), (2, 0), (3, 6), (5, 12), (7, 15)])
def test_a_killed_run_continues_after_its_mark_and_writes_the_same_bytes(examples, tower, folder, monkeypatch, killed_at, marked):
    expected = build_cache(examples, tower, folder / "other", pictures="these")[0].maps.tobytes()
    with pytest.raises(KeyboardInterrupt):
        build_cache(with_read(examples, killed_at, refuse(KeyboardInterrupt())), tower, folder, pictures="these")
    read, computed = views.view, []
    monkeypatch.setattr(views, "view", lambda *requested, **seed: computed.append(requested[1]) or read(*requested, **seed))
    assert build_cache(examples, tower, folder, pictures="these")[0].maps.tobytes() == expected
    assert len(computed) == 20 - marked


def test_features_written_after_the_mark_are_written_again(examples, tower, folder, monkeypatch):
    """The run was killed between the write and the mark, so the features on disk may be incomplete."""
    expected = build_cache(examples, tower, folder / "other")[0].maps.tobytes()
    marks = []
    with monkeypatch.context() as patched:
        patched.setattr(features, "write_json", lambda _, mark: marks.append(mark["done"]))
        build_cache(examples, tower, folder)
    assert marks == [6, 12, 15, 20]
    (maps,) = folder.glob("*.bf16")
    maps.write_bytes(b"\x55" * maps.stat().st_size)
    assert build_cache(examples, tower, folder)[0].maps.tobytes() == expected


@pytest.mark.parametrize("error", [OSError("the disk is gone"), None])
def test_an_unreadable_picture_is_reported_and_has_zero_features(examples, tower, folder, error):
    whole, _ = build_cache(examples, tower, folder / "other")
    damaged = with_read(examples, 2, refuse(error) if error else lambda: b"Dear Sir or Madam")
    cache, skipped = build_cache(damaged, tower, folder)
    assert [one.name for one in skipped] == ["pictures/2.jpg"]
    assert ("the disk is gone" if error else "not a picture") in skipped[0].reason
    assert cache.unreadable == {2}
    rows = np.arange(20)
    own = (rows >= cache.first[2]) & (rows < cache.first[3])
    assert not cache.maps[own].any()
    np.testing.assert_array_equal(cache.maps[~own], whole.maps[~own])


def test_a_resumed_run_reports_the_unreadable_pictures_of_the_killed_run(examples, tower, folder):
    damaged = with_read(examples, 0, lambda: b"Dear Sir or Madam")
    with pytest.raises(KeyboardInterrupt):
        build_cache(with_read(damaged, 6, refuse(KeyboardInterrupt())), tower, folder)
    for _ in range(2):  # the first run resumes, the second finds a complete cache
        cache, skipped = build_cache(damaged, tower, folder)
        assert (cache.unreadable, [one.name for one in skipped]) == ({0}, ["pictures/0.jpg"])


def other_weights(tower):
    other = copy.deepcopy(tower)
    other.stem.weight.data[0, 0, 0, 0] += 0.01
    return other


@pytest.mark.parametrize(
    "change",
    [
        lambda requested: requested | {"tower": other_weights(requested["tower"])},
        lambda requested: requested | {"seed": SEED + 1},
        lambda requested: requested | {"units": 2},
        lambda requested: requested | {"views": [1] * len(VIEWS)},
        lambda requested: requested | {"examples": [dataclasses.replace(one, name=f"new/{one.name}") for one in requested["examples"]]},
    ],
    ids=["weights", "seed", "units", "views", "names"],
)
def test_the_file_names_change_with_everything_that_determines_the_features(examples, tower, folder, change):
    requested = {"examples": examples, "views": VIEWS, "tower": tower, "units": 1, "seed": SEED}
    keys = {
        cache_features(**of, pictures=pictures_key(of["examples"], hash_pictures(of["examples"])), folder=folder)[0].key
        for of in (requested, change(requested), requested)
    }
    assert len(keys) == 2
    assert {file.name for file in folder.iterdir()} == {f"maps-{key}.{ending}" for key in keys for ending in ("bf16", "json")}


def test_features_are_read_only(examples, tower, folder):
    cache, _ = build_cache(examples, tower, folder)
    with pytest.raises(ValueError, match=re.escape("read-only")):
        cache.maps[0] = 0


def test_a_changed_picture_with_the_same_name_is_computed_again(examples, tower, folder):
    before = build_cache(examples, tower, folder)[0].maps.tobytes()
    changed = with_read(examples, 0, examples[1].read)
    assert build_cache(changed, tower, folder)[0].maps.tobytes() != before
    assert len([*folder.glob("*.bf16")]) == 2


def test_a_truncated_file_is_written_again(examples, tower, folder):
    before = build_cache(examples, tower, folder)[0].maps.tobytes()
    (maps,) = folder.glob("*.bf16")
    maps.write_bytes(maps.read_bytes()[:-2])
    assert build_cache(examples, tower, folder)[0].maps.tobytes() == before


@pytest.mark.parametrize("content", ["", "{}", "null", '{"done": 3', '{"done": 3, "unreadable": null}'])
def test_a_damaged_mark_restarts_the_cache(examples, tower, folder, content):
    before = build_cache(examples, tower, folder)[0].maps.tobytes()
    for ending in ("bf16", "json"):
        (file,) = folder.glob(f"*.{ending}")
        file.write_bytes(bytes(file.stat().st_size) if ending == "bf16" else content.encode())
    assert build_cache(examples, tower, folder)[0].maps.tobytes() == before


def test_a_full_disk_is_an_error_before_anything_is_computed(examples, tower, folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(features.os, "posix_fallocate", full)
    with pytest.raises(TrainingError, match=r"no room for the feature cache \(0\.0 GB; No space left on device\)"):
        build_cache(examples, tower, folder)
    assert not [*folder.glob("*.bf16")]
