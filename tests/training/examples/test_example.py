"""Reading of paths, names of examples, and splits."""

import re
import tarfile
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fakes import write_picture
from training.errors import TrainingError
from training.examples.example import Example, UnusableError, read_span, split_in_name, split_of, usable_texts
from training.examples.read import read_examples
from training.examples.select import hold_out, merge


def refuses(message):
    return pytest.raises(TrainingError, match=re.escape(message))


def write_pictures(folder, *names):
    for name in names:
        write_picture(folder / name).with_suffix(".txt").write_text(f"a picture called {name}")
    return folder


def write_shard(path, *names):
    inside = write_pictures(path.parent / ".inside", *names)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name in names:
            for file in (inside / name, (inside / name).with_suffix(".txt")):
                tar.add(file, file.name)
    return path


def write_parquet(path, *texts, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": [b"bytes"] * len(texts), "texts": [[text] for text in texts], **more}), path)
    return path


def names(found):
    return [example.name for example in found.examples]


def test_several_kinds_of_examples_are_read_in_the_order_of_the_paths(tmp_path):
    paths = [
        write_shard(tmp_path / "b.tar", "1.png"),
        write_pictures(tmp_path / "holiday", "lake.jpg"),
        write_parquet(tmp_path / "a.parquet", "a dog"),
    ]
    found = read_examples(paths)
    assert names(found) == ["b.tar 1.png", "holiday/lake.jpg", "a.parquet row 1"]
    assert [example.source for example in found.examples] == ["b.tar", "holiday", "a.parquet"]
    assert found.skipped == ()


def test_a_folder_is_read_as_parquet_or_else_shards_or_else_pictures(tmp_path):
    write_pictures(tmp_path / "mixed", "lake.jpg")
    assert names(read_examples([tmp_path / "mixed"])) == ["mixed/lake.jpg"]
    write_shard(tmp_path / "mixed/a.tar", "1.png")
    assert names(read_examples([tmp_path / "mixed"])) == ["mixed/a.tar 1.png"]
    write_parquet(tmp_path / "mixed/B.PARQUET", "a dog")
    assert names(read_examples([tmp_path / "mixed"])) == ["mixed/B.PARQUET row 1"]


def test_files_of_a_folder_are_read_in_name_order_without_hidden_ones(tmp_path):
    for name in ("c", "a", ".hidden", "b"):
        write_parquet(tmp_path / f"data/{name}.parquet", name)
    found = read_examples([tmp_path / "data"])
    assert [example.texts for example in found.examples] == [("a",), ("b",), ("c",)]
    assert {example.source for example in found.examples} == {"data"}


@pytest.mark.parametrize("write", [write_parquet, write_shard])
def test_files_with_the_same_name_are_distinguished_by_their_folders(tmp_path, write):
    paths = [write(tmp_path / folder / ("x.tar" if write is write_shard else "x.parquet"), "1.png") for folder in ("a", "b", "b/a")]
    found = [name.split(" ")[0] for name in names(read_examples(paths))]
    assert found == [paths[0].name, f"b/{paths[0].name}", f"a/{paths[0].name}"]


def test_examples_with_the_same_name_are_refused(tmp_path):
    paths = [write_shard(tmp_path / folder / "x.tar", "1.png") for folder in ("b", "a", "c/a")]
    with refuses("two pictures have the same name (a/x.tar 1.png). Rename one"):
        read_examples([*paths[:2], tmp_path / "c/a"])


def test_names_of_examples_do_not_depend_on_the_location_of_the_data(tmp_path, monkeypatch):
    write_pictures(tmp_path / "one/holiday", "lake.jpg", "sub/sea.jpg")
    (tmp_path / "one").rename(tmp_path / "two")
    monkeypatch.chdir(tmp_path / "two/holiday")
    assert names(read_examples([tmp_path / "two/holiday"])) == names(read_examples([Path()]))


@pytest.mark.parametrize("second", ["a.tar", "../data/a.tar", "."])
def test_examples_given_twice_are_refused(tmp_path, monkeypatch, second):
    write_shard(tmp_path / "data/a.tar", "1.png")
    monkeypatch.chdir(tmp_path / "data")
    with refuses("read twice"):
        read_examples([Path("a.tar"), Path(second)])


@pytest.mark.parametrize("order", [1, -1])
def test_examples_of_a_folder_of_pictures_within_another_are_refused(tmp_path, order):
    write_pictures(tmp_path / "data", "1.png", "sub/2.png")
    with refuses("read twice"):
        read_examples([tmp_path / "data", tmp_path / "data/sub"][::order])


def test_pictures_below_a_folder_of_shards_can_be_read_as_another_path(tmp_path):
    write_shard(tmp_path / "data/a.tar", "1.png")
    write_pictures(tmp_path / "data/sub", "2.png")
    assert names(read_examples([tmp_path / "data", tmp_path / "data/sub"])) == ["data/a.tar 1.png", "sub/2.png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.tar", "gone.tar: no such file or folder. Allowed: a .parquet file, a .tar shard"),
        ("words.zip", "words.zip: not Parquet, a shard or a folder (suffix '.zip'). Allowed:"),
        ("shard.tar.gz", "shard.tar.gz: a compressed archive (.gz). Pictures in it cannot be read one by one: unpack it to .tar"),
        ("shard.TGZ", "shard.TGZ: a compressed archive (.TGZ)"),
        ("empty", "empty: nothing to train on (0 pictures). Allowed:"),
    ],
)
def test_a_path_without_examples_is_refused_with_the_allowed_kinds(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    for file in ("words.zip", "shard.tar.gz", "shard.TGZ"):
        (tmp_path / file).write_bytes(b"anything")
    with refuses(message):
        read_examples([write_parquet(tmp_path / "good.parquet", "a dog"), tmp_path / name])


def test_an_empty_list_of_paths_is_refused():
    with refuses("no training data (0 paths). Allowed:"):
        read_examples([])


def test_an_error_gives_the_first_reason_when_no_example_is_usable(tmp_path):
    with refuses("no usable picture (2 skipped, the first: a.parquet row 1: no text"):
        read_examples([write_parquet(tmp_path / "a.parquet", "", " ")])


def test_compressed_shards_in_a_folder_are_skipped(tmp_path):
    write_shard(tmp_path / "data/a.tar", "1.png")
    (tmp_path / "data/b.tar.gz").write_bytes(b"")
    (skip,) = read_examples([tmp_path / "data"]).skipped
    assert skip.name == "data/b.tar.gz"
    assert "unpack it" in skip.reason


def test_a_file_that_became_shorter_is_an_os_error(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_span(tmp_path / "a", 1, 4) == b"2345"
    with pytest.raises(OSError, match="changed since it was scanned"):
        read_span(tmp_path / "a", 3, 4)


def test_examples_of_a_folder_that_cannot_be_listed_are_refused(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with refuses(f"{tmp_path}: cannot be listed (Permission denied)"):
        read_examples([tmp_path])


# --- texts and splits ---------------------------------------------------------------------------------------------------


def test_texts_are_stripped_and_unusable_ones_left_out():
    assert usable_texts([" A Dog .\n", "", "\t", None, 3, "\ud83d", "Hünde"]) == ("A Dog .", "Hünde")


@pytest.mark.parametrize(
    ("written", "split"), [(None, "train"), ("", "train"), ("Train", "train"), ("dev", "val"), ("valid", "val"), ("validation", "val")]
)
def test_splits_have_several_accepted_names(written, split):
    assert split_of(written) == split


@pytest.mark.parametrize(("written", "reason"), [("test", "of the test split"), ("third", "unknown split ('third'). Known: train")])
def test_examples_of_other_splits_are_left_out_with_the_reason(written, reason):
    with pytest.raises(UnusableError, match=re.escape(reason)):
        split_of(written)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("val-0001.tar", "val"),
        ("coco_val2017", "val"),
        ("VALIDATION", "val"),
        ("carnival-0001.tar", "train"),
        ("retrieval", "train"),
        ("test-0.parquet", "test"),
        ("latest.tar", "train"),
    ],
)
def test_the_split_of_examples_is_a_whole_word_of_the_name(name, split):
    assert split_in_name(name) == split


def example(name, *, split="train", texts=("a dog",)):
    return Example(name, "source", split, "caption" if texts else "unlabelled", texts, lambda: b"")


def held(examples, **options):
    return [one.name for one in hold_out(examples, **options) if one.split == "val"]


def test_about_the_given_share_of_examples_is_held_out():
    assert 150 < len(held([example(f"{number}.jpg") for number in range(1000)], share=0.2)) < 250


def test_adding_examples_does_not_move_others_between_splits():
    few, more = [example(f"{number}.jpg") for number in range(400)], [example(f"more {number}.jpg") for number in range(300)]
    found = held(more + few, share=0.1)
    assert [name for name in found if not name.startswith("more")] == held(few, share=0.1) != []


PLANTED = ["2.jpg", "8.jpg", "9.jpg", "17.jpg", "19.jpg"]  # the five of twenty with the smallest SHA-256


def test_examples_are_held_out_by_the_hash_of_their_name():
    examples = [example(f"{number}.jpg") for number in range(20)]
    assert held(examples, share=0.1) == held(examples[::-1], share=0.1)[::-1] == PLANTED


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(1, 0.5, 0), (7, 0.5, 0), (8, 0.001, 2), (8, 0.999, 6), (20, 0, 0), (50, 0.1, 12), (100, 0.1, 20)],
)
def test_the_number_of_held_out_examples_has_lower_and_upper_limits(count, share, expected):
    assert len(held([example(f"{number}.jpg") for number in range(count)], share=share)) == expected


def test_no_more_than_the_maximum_of_examples_are_held_out():
    examples = [example(f"{number}.jpg") for number in range(400)]
    assert len(held(examples, share=0.5, most=30)) == 30
    assert set(held(examples, share=0.5, most=30)) < set(held(examples, share=0.5))


def test_an_existing_validation_split_is_kept():
    examples = [example("a.jpg"), example("b.jpg", split="val"), example("c.jpg")]
    assert hold_out(examples, share=0.9) == tuple(examples)


def test_examples_without_texts_are_never_held_out():
    examples = [example(f"{number}.jpg", texts=()) for number in range(50)]
    assert held(examples, share=0.9) == []
    described = [example(f"{letter}.jpg") for letter in "abcdefgh"]
    assert set(held([*examples, *described], share=0.5)) < {one.name for one in described}


def test_rows_of_the_same_picture_are_merged_with_all_their_texts():
    rows = [example("a", texts=("a dog",)), example("b"), example("a again", texts=("wet", "a dog")), example("lost"), example("gone")]
    merged, hashes, skipped = merge(rows, ["A", "B", "A", "", ""])
    assert [(one.name, one.texts) for one in merged] == [("a", ("a dog", "wet")), *((name, ("a dog",)) for name in ("b", "lost", "gone"))]
    assert (hashes, skipped) == (["A", "B", "", ""], [])


def test_a_picture_held_out_in_one_row_is_not_trained_on_in_another():
    rows = [example("a"), example("b"), example("a of val", split="val")]
    merged, hashes, skipped = merge(rows, ["A", "B", "A"])
    assert ([one.name for one in merged], hashes) == (["b", "a of val"], ["B", "A"])
    assert [one.name for one in skipped] == ["a"]


def test_a_row_with_another_kind_of_text_for_the_same_picture_is_skipped():
    rows = [example("a"), replace(example("its label"), kind="label")]
    assert [one.name for one in merge(rows, ["A", "A"])[2]] == ["its label"]
