"""Labelled data sets in their published layouts, and the errors for broken ones."""

import json
import re

import pytest

from evaluation.datasets.labelled_media import (
    read_class_folders,
    read_kinetics,
    read_label_map,
    read_moments_in_time,
    read_objectnet,
)
from evaluation.errors import DatasetError
from tests.fakes import write_picture

KERAS = {"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"], "2": ["n01484850", "great_white_shark"]}
SYNSETS = "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\nn01484850 great white shark\n"


def refuses(message):
    return pytest.raises(DatasetError, match=re.escape(message))


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def pictures(root, *names):
    for name in names:
        write_picture(root / name)
    return root


def answers(dataset):
    """For each medium, the first name of each right class."""
    return {medium.name: [dataset.classes[c][0] for c in right] for medium, right in zip(dataset.media, dataset.right, strict=True)}


# --- class folders ------------------------------------------------------------------------------------------------------


def test_folders_are_classes_in_the_order_of_their_names(tmp_path):
    root = pictures(
        tmp_path / "set", "water_lilly/b.JPEG", "water_lilly/a.png", "ant/deep/er/c.jpg", ".hidden/d.jpg", "ant/._c.jpg", "e.jpg"
    )
    written(root / "ant" / "notes.txt", "no picture")
    (root / "ant" / "film.mp4").write_bytes(b"")
    dataset = read_class_folders(root)
    assert dataset.classes == (("ant",), ("water_lilly",))
    assert dataset.title == f"{tmp_path.name}/set"
    assert [(m.name, m.kind, r) for m, r in zip(dataset.media, dataset.right, strict=True)] == [
        ("ant/deep/er/c.jpg", "image", (0,)),
        ("ant/film.mp4", "video", (0,)),
        ("water_lilly/a.png", "image", (1,)),
        ("water_lilly/b.JPEG", "image", (1,)),
    ]


def test_a_class_without_media_is_an_error_or_kept_on_request(tmp_path):
    root = pictures(tmp_path, "ant/a.png", "bee/b.png")
    (root / "cat").mkdir()
    with refuses(f"{root}/cat: no picture or video in this class."):
        read_class_folders(root)
    dataset = read_class_folders(root, allow_missing=True)
    assert (len(dataset.classes), dataset.right, dataset.missing) == (3, ((0,), (1,)), (f"{root}/cat: no picture or video",))


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ((), "no folder in it"),
        (("n01440764/a.png",), "holds 1 media and 1 classes"),
        (("n01440764/a.png", "n99/a.png"), "n99: the class 'n99' is not"),
    ],
)
def test_folders_that_are_not_a_data_set_are_named(tmp_path, folders, message):
    labels = read_label_map(written(tmp_path / "map.json", KERAS))
    (tmp_path / "set").mkdir()
    with refuses(message):
        read_class_folders(pictures(tmp_path / "set", *folders), labels)


def test_a_missing_folder_is_named(tmp_path):
    with refuses(f"{tmp_path}/val: no such folder."):
        read_class_folders(tmp_path / "val")


# --- ImageNet and its variants ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [KERAS, SYNSETS])
def test_imagenet_folders_get_their_names_from_a_label_map(tmp_path, content):
    root = pictures(tmp_path / "val", "n01440764/a.JPEG", "n01443537/b.JPEG", "n01484850/c.JPEG")
    dataset = read_class_folders(root, read_label_map(written(tmp_path / "map", content)))
    assert [names[0].replace("_", " ") for names in dataset.classes] == ["tench", "goldfish", "great white shark"]
    assert dataset.right == ((0,), (1,), (2,))
    assert dataset.classes[0] == (("tench",) if content is KERAS else ("tench", "Tinca tinca"))


@pytest.mark.parametrize("content", [KERAS, SYNSETS])
def test_folder_numbers_of_imagenet_v2_are_indices_into_the_map(tmp_path, content):
    root = pictures(tmp_path / "imagenetv2-matched-frequency-format-val", "0/a.jpeg", "2/c.jpeg", "1/b.jpeg")
    dataset = read_class_folders(root, read_label_map(written(tmp_path / "map", content)))
    assert [name[0].replace("_", " ") for name in answers(dataset).values()] == ["tench", "goldfish", "great white shark"]


def test_classes_are_those_of_the_folders_or_of_the_whole_map(tmp_path):
    root = pictures(tmp_path / "imagenet-a", "n01440764/a.jpg", "n01484850/c.jpg")
    labels = read_label_map(written(tmp_path / "map", SYNSETS))
    assert [names[0] for names in read_class_folders(root, labels).classes] == ["tench", "great white shark"]
    whole = read_class_folders(root, labels, among="map")
    assert [names[0] for names in whole.classes] == ["tench", "goldfish", "great white shark"]
    assert whole.right == ((0,), (2,))
    with refuses("no label map"):
        read_class_folders(root, among="map")


def test_a_class_with_two_folders_is_refused(tmp_path):
    root = pictures(tmp_path / "set", "0/a.png", "n01440764/b.png")
    with refuses(f"{root}/n01440764: the class 'n01440764' appears twice (first in {root}/0)."):
        read_class_folders(root, read_label_map(written(tmp_path / "map", KERAS)))


def test_two_synsets_with_the_same_name_stay_two_classes(tmp_path):
    labels = read_label_map(written(tmp_path / "map", {"0": ["n02012849", "crane"], "1": ["n03126707", "crane"]}))
    dataset = read_class_folders(pictures(tmp_path / "set", "n02012849/a.png", "n03126707/b.png"), labels)
    assert dataset.classes == (("crane",), ("crane",))
    assert dataset.right == ((0,), (1,))


# --- label maps of a user ------------------------------------------------------------------------------------------------


def test_a_csv_map_can_merge_folders_and_give_several_names(tmp_path):
    text = "folder,name\na1,apple\na2,apple\np,pear\nb,sea horse; hippocampus\np,Pyrus\n"
    root = pictures(tmp_path / "set", "a1/1.png", "a2/2.png", "b/3.png", "p/4.png")
    dataset = read_class_folders(root, read_label_map(written(tmp_path / "map.csv", text)))
    assert dataset.classes == (("apple",), ("sea horse", "hippocampus"), ("pear", "Pyrus"))
    assert dataset.right == ((0,), (0,), (1,), (2,))


def test_a_json_map_gives_one_name_or_a_list(tmp_path):
    labels = read_label_map(written(tmp_path / "map.json", {"a": "apple", "p": ["pear", "Pyrus"]}))
    assert labels.names == {"a": ("apple",), "p": ("pear", "Pyrus")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the label map is empty"),
        ('{"a": ', "malformed JSON at line 1"),
        ("[1]", "not an object with an entry for each folder ([1])"),
        ("{}", "not an object with an entry for each folder ({})"),
        ('{"a": "x", "a": "y"}', "entry 'a': the folder 'a' appears twice"),
        ('{"a": 3}', "entry 'a': 3 is no name"),
        ('{"a": []}', "entry 'a': [] is no name"),
        ('{"0": ["n01440764", "tench"], "7": ["n01443537", "goldfish"]}', "the numbers are not 0 to 1"),
        ('{"0": ["n01440764", "tench"], "1": ["n01440764", "goldfish"]}', "the synset 'n01440764' appears twice"),
        pytest.param(
            json.dumps({"0": ["n01440764", "tench"], "1" * 5000: ["n01443537", "goldfish"]}),
            "the numbers are not 0 to 1",
            id="a number of 5,000 digits",
        ),
        ("n01440764 tench\nn01440764 pike\n", "line 2: the synset 'n01440764' appears twice"),
        ("n01440764 tench\ngoldfish\n", "line 2: not a synset and its names ('goldfish')"),
        ("a,b\n1,2\n", "line 1: no column folder, name"),
        ("folder,name\n", "has no line below the column names"),
        ("folder,name\na,\n", "line 2: the name is empty"),
        ("folder,name\na,x\na,x\n", "line 3: the entry ('a', 'x') appears twice"),
        ("folder,name\na\n", "line 2: not as many fields"),
    ],
)
def test_an_error_in_a_label_map_is_reported_with_its_position(tmp_path, text, message):
    with refuses(message) as caught:
        read_label_map(written(tmp_path / "map", text))
    assert str(tmp_path / "map") in str(caught.value)


def test_a_class_name_with_half_a_surrogate_pair_is_refused(tmp_path):
    labels = read_label_map(written(tmp_path / "map.json", {"a": "apple \ud83d", "p": "pear"}))
    with refuses(r"set: the class name 'apple \ud83d' is not valid Unicode. Rename it."):
        read_class_folders(pictures(tmp_path / "set", "a/1.png", "p/2.png"), labels)


# --- ObjectNet ----------------------------------------------------------------------------------------------------------


FOLDERS = {"alarm_clock": "Alarm clock", "air_freshener": "Air freshener", "backpack": "Backpack", "desk_lamp": "Desk lamp"}
OVERLAP = {"Alarm clock": "analog clock; digital clock", "Backpack": "backpack, back pack, knapsack"}


@pytest.fixture
def objectnet(tmp_path):
    pictures(tmp_path / "images", "alarm_clock/1.png", "air_freshener/2.png", "backpack/3.png")
    return tmp_path / "images", written(tmp_path / "folders.json", FOLDERS), written(tmp_path / "overlap.json", OVERLAP)


def test_any_imagenet_class_of_an_object_is_right_and_other_objects_are_left_out(objectnet):
    dataset = read_objectnet(*objectnet)
    assert dataset.classes == (("analog clock",), ("backpack", "back pack", "knapsack"), ("digital clock",))
    assert answers(dataset) == {"alarm_clock/1.png": ["analog clock", "digital clock"], "backpack/3.png": ["backpack"]}


def test_an_object_or_label_missing_from_the_maps_is_named(objectnet):
    images, folders, overlap = objectnet
    with refuses("entry 'Anvil': no folder has this label"):
        read_objectnet(images, folders, written(overlap.with_name("other.json"), {**OVERLAP, "Anvil": "anvil"}))
    with refuses("entry 'alarm_clock': 3 is no name. Expected a text"):
        read_objectnet(images, written(folders.with_name("other.json"), {**FOLDERS, "alarm_clock": 3}), overlap)
    pictures(images, "anvil/1.png")
    with refuses("anvil: the class 'anvil' is not in"):
        read_objectnet(images, folders, overlap)


# --- Kinetics and Moments in Time ---------------------------------------------------------------------------------------

KINETICS = (
    "label,youtube_id,time_start,time_end,split\nyoga,-3B32lodo2M,59,69,val\narchery,1Ipqa7VG3Z4,0,10,val\nyoga,6hA_7GZ_xyz,5,15,train\n"
)


def videos(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def test_videos_of_kinetics_are_found_by_id_and_times_in_any_folder(tmp_path):
    root = videos(
        tmp_path / "k", "yoga/-3B32lodo2M_000059_000069.mp4", "deep/er/1Ipqa7VG3Z4_000000_000010.mkv", "6hA_7GZ_xyz_000005_000015.mp4"
    )
    table = written(tmp_path / "validate.csv", KINETICS)
    dataset = read_kinetics(table, root)
    assert dataset.classes == (("archery",), ("yoga",))
    assert dataset.right == ((1,), (0,), (1,))
    assert [medium.path.parent.name for medium in dataset.media] == ["yoga", "er", "k"]
    assert all(medium.kind == "video" for medium in dataset.media)
    assert len(read_kinetics(table, root, split="val").media) == 2


def test_a_missing_video_is_an_error_or_left_out_but_its_class_stays(tmp_path):
    root, table = videos(tmp_path / "k", "yoga/-3B32lodo2M_000059_000069.mp4"), written(tmp_path / "validate.csv", KINETICS)
    with refuses("validate.csv: line 3: the video '1Ipqa7VG3Z4_000000_000010.mp4' is not in"):
        read_kinetics(table, root)
    dataset = read_kinetics(table, root, split="val", allow_missing=True)
    left_out = (f"{table}: line 3: '1Ipqa7VG3Z4_000000_000010.mp4' is missing.",)
    assert (len(dataset.classes), dataset.right, dataset.missing) == (2, ((1,),), left_out)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("yoga,a,x,10,val", "line 2: time_start: not a time ('x'). Expected seconds"),
        ("yoga,a,1e300,10,val", "line 2: time_start: not a time ('1e300'). Expected seconds"),
        pytest.param(
            f"yoga,{'y' * 400},0,10,val",
            f"line 2: the video '{'y' * 400}_000000_000010.mp4' is not in",
            id="an id of 400 characters",
        ),
        ("yoga,a,0,inf,val", "line 2: time_end: not a time ('inf'). Expected seconds"),
        (",a,0,10,val", "line 2: the label is empty"),
        ("yoga,a,0,10,val\nrun,a,0,10,val", "line 3: the video 'a_000000_000010.mp4' appears twice"),
        ("", "no record of a video"),
    ],
)
def test_an_error_in_a_line_of_kinetics_is_reported(tmp_path, line, message):
    root = videos(tmp_path / "k", "a_000000_000010.mp4")
    with refuses(message):
        read_kinetics(written(tmp_path / "test.csv", f"label,youtube_id,time_start,time_end,split\n{line}\n"), root)


def test_moments_in_time_is_read_without_a_header(tmp_path):
    root = videos(tmp_path / "moments", "validation/balancing/getty-1.mp4", "validation/asking/yt-2_3.mp4")
    table = written(tmp_path / "validationSet.csv", "balancing/getty-1.mp4,balancing,3,1\nasking/yt-2_3.mp4,asking,5,0\n")
    dataset = read_moments_in_time(table, root)
    assert answers(dataset) == {"balancing/getty-1.mp4": ["balancing"], "asking/yt-2_3.mp4": ["asking"]}
    assert read_moments_in_time(table, root / "validation").right == dataset.right


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/1.mp4,a,3\n", "line 1: not as many fields as columns (4: class/file.mp4, class, votes for, votes against)"),
        ('a/1.mp4,a,3,1\n"b', "line 2: malformed CSV"),
        ("a/1.mp4,a,3,1\na/1.mp4,a,3,1\n", "line 2: the video 'a/1.mp4' appears twice"),
        ("a/1.mp4,a,3,1\nb/2.mp4,b,3,1\n", "line 2: the video 'b/2.mp4' is not in"),
    ],
)
def test_an_error_in_a_line_of_moments_in_time_is_reported(tmp_path, text, message):
    with refuses(message):
        read_moments_in_time(written(tmp_path / "set.csv", text), videos(tmp_path / "moments", "a/1.mp4"))
