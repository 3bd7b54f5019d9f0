"""WebDataset shards: grouping, texts, random access, and truncated shards."""

import gzip
import io
import json
import re
import tarfile

import pytest
from PIL import Image

from training.errors import TrainingError
from training.examples.example import Skipped
from training.examples.tar import read_shard


def encoded(number, file_format="JPEG"):
    buffer = io.BytesIO()
    Image.new("RGB", (40 + number, 40), (number, 0, 0)).save(buffer, file_format)
    return buffer.getvalue()


def write(path, *members):
    """Write a tar file. Members are (name, content); content None makes a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            data = content.encode() if isinstance(content, str) else content or b""
            member.size, member.type = len(data), tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            tar.addfile(member, io.BytesIO(data))
    return path


def read(file):
    return read_shard(file, name=file.name, source="wds")


def texts_of(folder, *members):
    found = read(write(folder / "a.tar", ("0.jpg", b"x"), *members))
    return [example.texts for example in found.examples], [skip.reason for skip in found.skipped]


def test_examples_read_the_exact_bytes_of_their_members_in_any_order(tmp_path):
    members = [
        (f"{number:06}.{ending}", data) for number in range(5) for ending, data in (("jpg", encoded(number)), ("txt", f"no. {number}"))
    ]
    found = read(write(tmp_path / "shard-000003.tar", *members))
    assert [example.name for example in found.examples] == [f"shard-000003.tar {number:06}.jpg" for number in range(5)]
    assert [example.texts for example in found.examples] == [(f"no. {number}",) for number in range(5)]
    assert [example.read() for example in found.examples[::-1]] == [encoded(number) for number in range(5)][::-1]
    assert {(example.source, example.split, example.kind) for example in found.examples} == {("wds", "train", "caption")}
    assert found.skipped == ()


def test_members_are_grouped_by_their_path_up_to_the_first_dot_of_the_base_name(tmp_path):
    long = "v1.2/" + "käse" * 40
    members = [
        ("v1.2", None),
        (f"{long}.JPG", encoded(1)),
        (f"{long}.cls", "3"),
        (f"{long}.txt", "one"),
        ("v1.2/b.txt", "b"),
        ("v1.2/b.webp", b"w"),
    ]
    found = read(write(tmp_path / "a.tar", *members, ("README", "no ending"), ("v1.2/._b.jpg", b"of a Mac")))
    assert [(example.name, example.texts) for example in found.examples] == [(f"a.tar {long}.JPG", ("one",)), ("a.tar v1.2/b.webp", ("b",))]
    assert found.examples[0].read() == encoded(1)
    assert found.skipped == ()


@pytest.mark.parametrize("key", ["caption", "captions", "text", "texts"])
@pytest.mark.parametrize(
    ("value", "texts"), [(" A dog; a ball \n", ("A dog; a ball",)), (["eins", "", 3, "zwei Hünde"], ("eins", "zwei Hünde"))]
)
def test_texts_of_examples_may_be_in_json(tmp_path, key, value, texts):
    assert texts_of(tmp_path, ("0.json", json.dumps({"width": 3, key: value}))) == ([texts], [])


def test_texts_of_txt_and_json_are_joined_without_duplicates(tmp_path):
    assert texts_of(tmp_path, ("0.json", '{"captions": ["b", "a"]}'), ("0.txt", "\ufeffa\n")) == ([("a", "b")], [])


def test_a_broken_json_beside_a_txt_is_ignored(tmp_path):
    assert texts_of(tmp_path, ("0.json", "{"), ("0.txt", "a")) == ([("a",)], [])


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([], "no text (members: .jpg). Expected .txt, or .json with one of caption"),
        ([("0.txt", " \n")], "no text (members: .jpg, .txt). Expected"),
        ([("0.txt", b"\xff\xfe")], "no text (members: .jpg, .txt): 0.txt cannot be read ("),
        ([("0.json", '{"caption": null}')], "no text (members: .jpg, .json). Expected"),
        ([("0.json", '["a"]')], "no text (members: .jpg, .json): 0.json cannot be read (a list, not an object)"),
        ([("0.json", "[" * 100_000)], "no text (members: .jpg, .json): 0.json cannot be read ("),
    ],
)
def test_an_example_without_a_usable_text_is_skipped(tmp_path, members, reason):
    (skip,) = read(write(tmp_path / "a.tar", ("0.jpg", b"x"), *members, ("1.jpg", b"y"), ("1.txt", "one"))).skipped
    assert skip.name == "a.tar 0"
    assert skip.reason.startswith(reason)


@pytest.mark.parametrize("members", [[("0.txt", "a")], [("0.txt", "a"), ("0.mp4", b"film")], [("0.txt", "a"), ("0.jpg", b"")]])
def test_a_sample_without_a_picture_is_skipped(tmp_path, members):
    found = read(write(tmp_path / "a.tar", *members, ("1.png", b"y"), ("1.txt", "one")))
    assert [example.name for example in found.examples] == ["a.tar 1.png"]
    assert found.skipped[0].reason.startswith("no picture (members: .txt")


def test_a_repeated_member_is_skipped_and_the_first_is_kept(tmp_path):
    found = read(write(tmp_path / "a.tar", ("0.jpg", b"first"), ("0.txt", "a"), ("0.jpg", b"second")))
    assert [example.read() for example in found.examples] == [b"first"]
    assert found.skipped == (Skipped("a.tar 0.jpg", "repeated in the shard. The first counts"),)


def test_a_name_that_is_not_utf8_is_escaped(tmp_path):
    found = read(write(tmp_path / "a.tar", ("\udcff.jpg", b"x"), ("\udcff.txt", "a")))
    assert [(example.name, example.read()) for example in found.examples] == [("a.tar \\udcff.jpg", b"x")]


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("data/train-0.tar", "train"),
        ("data/val-0001.tar", "val"),
        ("validation/0.tar", "val"),
        ("coco_val2017/0.tar", "val"),
        ("carnival/0.tar", "train"),
    ],
)
def test_the_name_of_the_shard_or_its_folder_gives_the_split(tmp_path, path, split):
    (example,) = read(write(tmp_path / path, ("0.jpg", b"x"), ("0.txt", "a"))).examples
    assert example.split == split


def test_a_test_shard_gives_no_examples(tmp_path):
    found = read(write(tmp_path / "data/test-0.tar", ("0.jpg", b"x"), ("0.txt", "a")))
    assert found.examples == ()
    assert found.skipped == (Skipped("test-0.tar", "of the test split, which is never trained on"),)


# --- truncated shards ---------------------------------------------------------------------------------------------------

WHOLE = [("0.jpg", b"a" * 600), ("0.txt", "null"), ("1.jpg", b"b" * 600), ("1.txt", "one")]  # 1.jpg: header at 2560, bytes to 3672


@pytest.mark.parametrize(
    ("size_bytes", "names"),
    [
        (10, []),
        (512, []),  # the header of 0.jpg
        (1300, []),  # 0.txt is missing
        (2560, ["0.jpg"]),  # between two members
        (2700, ["0.jpg"]),  # in a header
        (3500, ["0.jpg"]),  # in a picture
        (4100, ["0.jpg"]),  # 1.txt has no header
        (4612, ["0.jpg", "1.jpg"]),  # only the padding of 1.txt is missing
        (5120, ["0.jpg", "1.jpg"]),  # the end mark is missing
    ],
)
def test_complete_samples_of_a_truncated_shard_are_used_and_the_rest_is_one_skip(tmp_path, size_bytes, names):
    file = write(tmp_path / "a.tar", *WHOLE)
    file.write_bytes(file.read_bytes()[:size_bytes])
    found = read(file)
    assert [example.name for example in found.examples] == [f"a.tar {name}" for name in names]
    assert [example.read() for example in found.examples] == [b"a" * 600, b"b" * 600][: len(names)]
    assert [skip.name for skip in found.skipped] == ["a.tar"]
    assert found.skipped[0].reason.startswith("cut short")


def test_a_shard_with_a_damaged_header_gives_the_examples_before_it(tmp_path):
    file = write(tmp_path / "a.tar", *WHOLE)
    data = bytearray(file.read_bytes())
    data[2560:2660] = b"\x07" * 100
    file.write_bytes(data)
    found = read(file)
    assert [example.name for example in found.examples] == ["a.tar 0.jpg"]
    assert found.skipped == (Skipped("a.tar", f"cut short or damaged at byte 2560 of {len(data)}: only the samples before it are used"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a tar at all" * 100, "not a tar file (invalid header). Pass a plain, uncompressed tar file."),
        (
            gzip.compress(bytes(range(256)) * 400, 0),
            "not a tar file (compressed with gzip). Pictures in it cannot be read one by one: unpack it",
        ),
    ],
)
def test_a_file_that_is_not_a_tar_is_refused(tmp_path, content, message):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(TrainingError, match=re.escape(f"{tmp_path / 'a.tar'}: {message}")):
        read(tmp_path / "a.tar")
