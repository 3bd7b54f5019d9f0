import io
from dataclasses import replace
from functools import partial

from PIL import Image

from evaluation.datasets.captions import read_captions
from evaluation.datasets.labelled_media import LabelFiles, read_labelled
from training.examples.example import Example
from training.outputs.held_out import write_held_out


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


def example(number, *, kind="label", texts=("cat",), split="test", data=None, source="animals"):
    return Example(f"animals row {number}", source, split, kind, texts, partial(bytes, data or png((number, 0, 0))))


def test_labelled_pictures_become_a_data_set_for_classification(tmp_path):
    made = [example(0), example(1, texts=("dog/wolf",)), example(2), example(3, split="train")]
    assert write_held_out(made, tmp_path) == []
    found = read_labelled(tmp_path / "animals", None, LabelFiles())
    assert found.classes == (("cat",), ("dog wolf",))
    assert sorted(medium.read() for medium in found.media) == sorted(one.read() for one in made[:3])


def test_captioned_pictures_become_queries_for_retrieval(tmp_path):
    made = [example(number, kind="caption", texts=(f"one, {number}", f"two {number}")) for number in range(2)]
    write_held_out(made, tmp_path)
    found = read_captions(tmp_path / "animals" / "queries.csv", None)
    assert found.texts == ("one, 0", "two 0", "one, 1", "two 1")
    assert [found.media[owner].read() for (owner,) in found.owners] == [made[0].read()] * 2 + [made[1].read()] * 2


def test_unreadable_pictures_are_reported_and_old_files_are_removed(tmp_path):
    write_held_out([example(0)], tmp_path)
    skipped = write_held_out([example(1, data=b"no picture"), example(2, texts=("..",)), replace(example(3), texts=())], tmp_path)
    assert [one.name for one in skipped] == ["animals row 1"]
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")] == ["animals/_/000001.png"]


def test_a_label_too_long_for_a_file_name_is_cut_between_characters(tmp_path):
    assert write_held_out([example(0, texts=("犬" * 100,))], tmp_path) == []
    (folder,) = (tmp_path / "animals").iterdir()
    assert folder.name == "犬" * 66


def test_file_names_are_the_same_in_every_run(tmp_path):
    for name in ("a", "b"):
        write_held_out([example(0, kind="caption"), example(1, kind="caption")], tmp_path / name)
    one, other = ((tmp_path / name / "animals" / "queries.csv").read_text() for name in ("a", "b"))
    assert one == other
