"""Rows of Parquet: the columns used, the rows left out, and the exact bytes of the pictures."""

import io
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from training.errors import TrainingError
from training.examples.example import Skipped
from training.examples.parquet import read_parquet


def encoded(number):
    buffer = io.BytesIO()
    Image.new("RGB", (8 + number, 8), (number, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path, columns, **options):
    pq.write_table(pa.table(columns), path, **options)
    return path


def read(path, columns, name="flickr8k.parquet", **options):
    return read_parquet(write(path / name, columns, **options), name=name, source="flickr8k")


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_examples_read_the_exact_bytes_of_their_rows(tmp_path, kind):
    pictures = [encoded(number) for number in range(7)]
    found = read(tmp_path, {"image": pa.array(pictures, kind), "texts": [["a", "b"]] * 7}, row_group_size=2)
    assert [example.read() for example in found.examples] == pictures
    assert [example.name for example in found.examples] == [f"flickr8k.parquet row {number}" for number in range(1, 8)]
    assert {(example.source, example.split, example.kind, example.texts) for example in found.examples} == {
        ("flickr8k", "train", "caption", ("a", "b"))
    }


def test_examples_are_read_from_the_image_struct_of_hugging_face(tmp_path):
    pictures = [{"bytes": encoded(1), "path": "1.png"}, None, {"bytes": None, "path": "3.png"}, {"bytes": encoded(4), "path": None}]
    found = read(tmp_path, {"image": pictures, "caption": ["one", "two", "three", "four"]})
    assert [(example.name, example.read()) for example in found.examples] == [
        ("flickr8k.parquet row 1", encoded(1)),
        ("flickr8k.parquet row 4", encoded(4)),
    ]
    assert found.skipped == tuple(Skipped(f"flickr8k.parquet row {row}", "no picture: 'image' holds no bytes") for row in (2, 3))


@pytest.mark.parametrize("column", ["texts", "text", "caption"])
@pytest.mark.parametrize("value", [" A Dog .\n", ["", " A Dog ."], [None, "A Dog ."]])
def test_texts_may_be_a_string_or_a_list_in_any_of_three_columns(tmp_path, column, value):
    (example,) = read(tmp_path, {"image": [b"x"], column: [value]}).examples
    assert example.texts == ("A Dog .",)


def test_optional_columns_are_used_if_present(tmp_path):
    columns = {"source": ["coco", None], "split": ["dev", None], "kind": ["label", None], "id": ["käse", None]}
    found = read(tmp_path, {"image": [b"x", b"y"], "text": ["cheese", "a dog"], **columns})
    assert [(one.name, one.source, one.split, one.kind) for one in found.examples] == [
        ("flickr8k.parquet id käse", "coco", "val", "label"),
        ("flickr8k.parquet row 2", "flickr8k", "train", "caption"),
    ]


def test_a_repeated_id_names_only_the_first_example(tmp_path):
    found = read(tmp_path, {"image": [b"x"] * 3, "text": ["a"] * 3, "id": [7, 7, 8]})
    assert [one.name for one in found.examples] == ["flickr8k.parquet id 7", "flickr8k.parquet row 2", "flickr8k.parquet id 8"]


def test_unlabelled_examples_need_no_texts(tmp_path):
    found = read(tmp_path, {"image": [b"x", b"y"], "texts": [None, ["a dog"]], "kind": ["unlabelled"] * 2})
    assert [(example.kind, example.texts) for example in found.examples] == [("unlabelled", ())] * 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"image": None}, "no picture: 'image' holds no bytes"),
        ({"image": b""}, "no picture: 'image' holds no bytes"),
        ({"texts": None}, "no text: None"),
        ({"texts": []}, "no text: []"),
        ({"texts": [" ", None]}, "no text: [' ', None]"),
        ({"split": "test"}, "of the test split, which is never trained on"),
        ({"split": "other"}, "unknown split ('other'). Known: train, restval, val, validation, valid, dev, test"),
        ({"kind": "video"}, "unknown kind ('video'). Known: caption, label, unlabelled"),
    ],
)
def test_a_bad_row_is_skipped_and_the_examples_around_it_stay_aligned(tmp_path, row, reason):
    good = {"image": encoded(1), "texts": ["one"], "split": "train", "kind": "caption"}
    rows = [good, good | row, good | {"image": encoded(3), "texts": ["three"]}]
    table = pa.Table.from_pylist(
        rows, pa.schema({"image": pa.binary(), "texts": pa.list_(pa.string()), "split": pa.string(), "kind": "string"})
    )
    pq.write_table(table, tmp_path / "a.parquet")
    found = read_parquet(tmp_path / "a.parquet", name="a.parquet", source="a")
    assert [(example.texts, example.read()) for example in found.examples] == [(("one",), encoded(1)), (("three",), encoded(3))]
    assert found.skipped == (Skipped("a.parquet row 2", reason),)


@pytest.mark.parametrize("column", ["text", "source"])
def test_a_text_that_is_not_utf8_does_not_affect_other_examples(tmp_path, column):
    broken = pa.StringArray.from_buffers(2, pa.array([0, 2, 3], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfeb"))
    found = read(tmp_path, {"image": [b"x", b"y"], "text": ["a", "b"]} | {column: broken})
    assert [example.texts for example in found.examples] == ([("b",)] if column == "text" else [("a",), ("b",)])
    assert [skip.name for skip in found.skipped] == (["flickr8k.parquet row 1"] if column == "text" else [])


@pytest.mark.parametrize(("name", "split"), [("train-0.parquet", "train"), ("validation-0.parquet", "val"), ("test-0.parquet", None)])
def test_without_a_split_column_the_file_name_gives_the_split(tmp_path, name, split):
    found = read(tmp_path, {"image": [b"x"], "text": ["a dog"]}, name)
    assert [example.split for example in found.examples] == [split] * bool(split)
    assert len(found.skipped) == (split is None)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"picture": [b"x"], "texts": [["a"]]}, "no column image (found: picture, texts). Needed: image (bytes, or a struct with bytes)"),
        ({"image": [b"x"], "title": ["a"]}, "no column texts (found: image, title). Needed:"),
        ({"image": ["a.jpg"], "text": ["a"]}, "the column image has the type string. Allowed: bytes"),
        ({"image": [{"path": "a.jpg"}], "text": ["a"]}, "the column image has the type struct<path: string>. Allowed:"),
        ({"image": [b"x"], "text": [3]}, "the column text has the type int64. Allowed: texts, or lists of texts"),
    ],
)
def test_missing_columns_or_wrong_types_are_refused(tmp_path, columns, message):
    with pytest.raises(TrainingError, match=re.escape(f"{tmp_path / 'a.parquet'}: {message}")):
        read(tmp_path, columns, "a.parquet")


@pytest.mark.parametrize("content", [b"", b"no Parquet at all", "cut"])
def test_an_invalid_or_truncated_parquet_file_is_refused(tmp_path, content):
    file = write(tmp_path / "a.parquet", {"image": [b"x" * 1000], "text": ["a"]})
    file.write_bytes(file.read_bytes()[:-100] if content == "cut" else content)
    with pytest.raises(TrainingError, match=re.escape(f"{file}: cannot be read as Parquet")):
        read_parquet(file, name="a.parquet", source="a")


@pytest.mark.parametrize("twice", ["image", "caption", "split"])
def test_two_columns_with_the_same_name_are_refused(tmp_path, twice):
    names = ["image", "caption", "split", twice]
    path = tmp_path / "twice.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([b"x"]) if name == "image" else pa.array(["val"]) for name in names], names), path)
    with pytest.raises(TrainingError, match=f"two columns have the name {twice}"):
        read_parquet(path, name="twice.parquet", source="twice")
