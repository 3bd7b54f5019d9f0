"""Each reader of captioned pictures, on a tiny set in the real format."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.datasets.captions import read_captions, read_own_queries, read_parquet
from evaluation.datasets.dataset import MediaFolder, Medium
from evaluation.errors import DatasetError
from tests.fakes import write_film, write_picture


def refuses(message):
    return pytest.raises(DatasetError, match=re.escape(message))


def write_json(path, document):
    path.write_text(json.dumps(document))
    return path


def outline(found):
    return found.title, [medium.name for medium in found.media], found.texts, found.owners, found.missing


# --- Karpathy -----------------------------------------------------------------------------------------------------------


def karpathy_image(imgid, split, name, *texts, **more):
    sentences = [{"tokens": text.split(), "raw": text, "imgid": imgid, "sentid": 5 * imgid + n} for n, text in enumerate(texts)]
    ids = [sentence["sentid"] for sentence in sentences]
    return {"sentids": ids, "imgid": imgid, "sentences": sentences, "split": split, "filename": name, **more}


@pytest.fixture
def flickr(tmp_path):
    """dataset_flickr8k.json with pictures beside it."""
    images = [
        karpathy_image(0, "train", "0.jpg", "A train picture ."),
        karpathy_image(1, "val", "1.jpg", "Two dogs , one ball .", "Zwei Hünde"),
        karpathy_image(2, "restval", "2.jpg", "Rest ."),
        karpathy_image(3, "val", "Käse.jpg", "A red thing ."),
        karpathy_image(4, "val", "4.jpg"),
    ]
    for image in images:
        write_picture(tmp_path / image["filename"])
    return write_json(tmp_path / "dataset_flickr8k.json", {"images": images, "dataset": "flickr8k"})


def edited(path, change):
    document = json.loads(path.read_text())
    change(document)
    return write_json(path, document)


def test_karpathy_gives_a_split_with_all_its_sentences_in_order(flickr):
    found = read_captions(flickr, None, split="val")
    texts = ("Two dogs , one ball .", "Zwei Hünde", "A red thing .")
    assert outline(found) == ("flickr8k val", ["1.jpg", "Käse.jpg", "4.jpg"], texts, ((0,), (0,), (1,)), ())
    assert found.media[1] == Medium("Käse.jpg", flickr.parent / "Käse.jpg", "image", f"{flickr}: images[3]")


def test_train_includes_restval_and_restval_can_be_read_alone(flickr):
    assert read_captions(flickr, None, split="train").texts == ("A train picture .", "Rest .")
    assert read_captions(flickr, None, split="restval").texts == ("Rest .",)


def test_pictures_of_coco_are_found_in_the_folder_named_by_filepath(tmp_path):
    path = write_picture(tmp_path / "images" / "val2014" / "COCO_val2014_000000000042.jpg")
    image = karpathy_image(42, "test", path.name, "A dog.", filepath="val2014", cocoid=42)
    file = write_json(tmp_path / "dataset_coco.json", {"images": [image], "dataset": "coco"})
    found = read_captions(file, tmp_path / "images", split="test")
    assert (found.title, [medium.path for medium in found.media]) == ("coco test", [path])


def test_a_missing_picture_is_an_error_or_reported_when_allowed(flickr):
    (flickr.parent / "1.jpg").unlink()
    with refuses(f"{flickr}: images[1]: the picture '1.jpg' is not in {flickr.parent}."):
        read_captions(flickr, None, split="val")
    found = read_captions(flickr, None, split="val", allow_missing=True)
    assert outline(found) == (
        "flickr8k val",
        ["Käse.jpg", "4.jpg"],
        ("A red thing .",),
        ((0,),),
        (f"{flickr}: images[1]: '1.jpg' is missing.",),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["images"][1].update(imgid=0), "images[1]: the imgid 0 appears twice (first in {file}: images[0])."),
        (lambda d: d["images"][4].update(filename="1.jpg"), "images[4]: the filename '1.jpg' appears twice"),
        (lambda d: d["images"][1].update(imgid="1"), "images[1]: 'imgid' is '1'. Expected a whole number."),
        (lambda d: d["images"][1].pop("split"), "images[1]: 'split' is missing"),
        (lambda d: d["images"][1].update(sentences={}), "images[1]: 'sentences' is {{}}. Expected a list."),
        (lambda d: d["images"][1].update(filepath=3), "images[1]: 'filepath' is 3. Expected text."),
        (lambda d: d["images"][1]["sentences"].append("x"), "images[1].sentences[2]: not an object ('x')."),
        (lambda d: d["images"][1]["sentences"][1].update(raw=None), "images[1].sentences[1]: 'raw' is None. Expected text."),
        (lambda d: d["images"].clear(), "no such split ('val'). Splits in this file: none."),
        (lambda d: d.update(images=3), "'images' is 3. Expected a list."),
    ],
)
def test_a_wrong_record_of_karpathy_is_named(flickr, change, message):
    edited(flickr, change)
    with refuses(f"{flickr}: " + message.format(file=flickr)):
        read_captions(flickr, None, split="val")


def test_an_unknown_split_lists_the_splits_of_the_file(flickr):
    with refuses(f"{flickr}: no such split ('test'). Splits in this file: restval, train, val."):
        read_captions(flickr, None, split="test")


# --- COCO ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def coco(tmp_path):
    """captions_val2017.json with its pictures in a sub-folder."""
    images = [{"id": number, "file_name": f"{number:012}.jpg", "height": 64, "width": 96} for number in (139, 285, 632)]
    captions = [(285, "A bear."), (139, "A room\n"), (285, "A big bear, close")]
    annotations = [{"image_id": image, "id": number, "caption": text} for number, (image, text) in enumerate(captions)]
    for image in images:
        write_picture(tmp_path / "val2017" / image["file_name"])
    (tmp_path / "panoptic").mkdir()
    (tmp_path / "panoptic" / "000000000139.png").touch()  # a panoptic map with the same name, as in COCO
    return write_json(tmp_path / "captions_val2017.json", {"info": {}, "licenses": [], "images": images, "annotations": annotations})


def test_coco_joins_captions_by_image_id_and_keeps_distractors(coco):
    found = read_captions(coco, None)
    names = ["000000000139.jpg", "000000000285.jpg", "000000000632.jpg"]
    assert outline(found) == ("captions_val2017", names, ("A bear.", "A room\n", "A big bear, close"), ((1,), (0,), (1,)), ())
    assert [medium.path.parent.name for medium in found.media] == ["val2017"] * 3


def test_a_missing_picture_of_coco_removes_its_captions(coco):
    (coco.parent / "val2017" / "000000000285.jpg").unlink()
    found = read_captions(coco, coco.parent, split="any", allow_missing=True)
    names = ["000000000139.jpg", "000000000632.jpg"]
    assert outline(found) == ("captions_val2017", names, ("A room\n",), ((0,),), (f"{coco}: images[1]: '000000000285.jpg' is missing.",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["images"][1].update(id=139), "images[1]: the id 139 appears twice (first in {file}: images[0])."),
        (lambda d: d["images"][1].update(file_name="000000000139.jpg"), "images[1]: the file_name '000000000139.jpg' appears twice"),
        (lambda d: d["annotations"][2].update(id=0), "annotations[2]: the id 0 appears twice (first in {file}: annotations[0])."),
        (lambda d: d["annotations"][2].update(image_id=7), "annotations[2]: no such image ('image_id' is 7)."),
        (lambda d: d["annotations"][2].update(image_id="139"), "annotations[2]: no such image ('image_id' is '139')."),
        (lambda d: d["annotations"][2].pop("caption"), "annotations[2]: 'caption' is missing (found: image_id, id). Expected text."),
        (lambda d: d.update(annotations=None), "'annotations' is None. Expected a list."),
    ],
)
def test_a_wrong_record_of_coco_is_named(coco, change, message):
    edited(coco, change)
    with refuses(f"{coco}: " + message.format(file=coco)):
        read_captions(coco, None)


# --- a user's own queries -----------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path):
    """A media folder with pictures and a video."""
    for name in ("b.jpg", "a/Café, blue.PNG", ".hidden.jpg", "a/notes.txt"):
        write_picture(tmp_path / "media" / name, format="PNG")
    write_film(tmp_path / "media" / "film.mp4", [("red", 0.5)])
    return tmp_path / "media"


def queries(folder, *lines):
    file = folder.parent / "queries.csv"
    file.write_bytes("\r\n".join(("query,path", *lines)).encode())
    return file


def test_own_queries_use_all_media_of_the_folder_as_candidates(own):
    file = queries(own, "blue,./film.mp4", '"blue","a/Café, blue.PNG"', f"a b,{own}/b.jpg", "\U0001f534,film.mp4")
    found = read_own_queries(file, MediaFolder(own))
    names = ["a/Café, blue.PNG", "b.jpg", "film.mp4"]
    assert outline(found) == ("media, queries.csv", names, ("blue", "a b", "\U0001f534"), ((2, 0), (1,), (2,)), ())
    assert [medium.kind for medium in found.media] == ["image", "image", "video"]
    assert found.media[0].path.read_bytes() == (own / "a/Café, blue.PNG").read_bytes()


def test_a_symbolic_link_to_the_folder_is_resolved(own, tmp_path):
    (tmp_path / "link").symlink_to(own)
    file = queries(own, f"x,{own}/b.jpg", f"y,{tmp_path}/link/b.jpg")
    assert read_own_queries(file, MediaFolder(tmp_path / "link")).owners == ((1,), (1,))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["x,b.jpg", "x,b.jpg"], "line 3: the pair of query and path ('x', '{folder}/b.jpg') appears twice (first in {file}: line 2)."),
        (["x,b.jpg", "x,a/../b.jpg"], "line 3: the pair of query and path"),
        ([",b.jpg"], "line 2: the query is empty."),
        (["x, "], "line 2: the path is empty."),
        (["x,a/notes.txt"], "line 2: neither a picture nor a video ('a/notes.txt'). docs/formats.md"),
        (["x,none.jpg"], "line 2: the picture 'none.jpg' is not in {folder}."),
        (["x,Café, blue.PNG"], "line 2: not as many fields as columns (2: query, path). Quote fields that hold a comma."),
        (["x,film.avi"], "line 2: the video 'film.avi' is not in {folder}."),
        (["x,.hidden.jpg"], "line 2: '.hidden.jpg' is hidden or outside of {folder}."),
        (["x,../outside.jpg"], "line 2: '../outside.jpg' is hidden or outside of {folder}."),
    ],
)
def test_a_wrong_line_of_own_queries_is_named(own, lines, message):
    write_picture(own.parent / "outside.jpg")
    file = queries(own, *lines)
    with refuses(f"{file}: " + message.format(file=file, folder=own)):
        read_captions(file, own)


def test_missing_answers_are_reported_when_allowed(own):
    file = queries(own, "x,b.jpg", "x,gone.jpg", "y,gone.mp4")
    found = read_captions(file, own, allow_missing=True)
    left_out = (f"{file}: line 3: 'gone.jpg' is missing.", f"{file}: line 4: 'gone.mp4' is missing.")
    assert (found.texts, found.owners, found.missing) == (("x",), ((1,),), left_out)


def test_a_folder_without_media_and_a_file_without_queries_are_refused(own, tmp_path):
    (tmp_path / "empty").mkdir()
    with refuses(f"{tmp_path}/empty: no pictures or videos found."):
        read_own_queries(queries(own, "x,b.jpg"), MediaFolder(tmp_path / "empty"))
    with refuses("media, queries.csv: holds 3 media and 0 texts."):
        read_own_queries(queries(own), MediaFolder(own))


# --- Parquet ------------------------------------------------------------------------------------------------------------


def write_parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_gives_the_captioned_rows_of_a_split_with_their_bytes(tmp_path):
    file = write_parquet(
        tmp_path / "flickr.parquet",
        id=["a", "b", "c", "c"],
        texts=[["x", "y"], ["z"], ["label"], ["w"]],
        image=[b"one", b"two", b"three", b"four"],
        split=["val", "test", "val", "val"],
        kind=["caption", "caption", "label", "caption"],
    )
    found = read_parquet(file, split="val")
    assert outline(found) == ("flickr val", ["a", "c"], ("x", "y", "w"), ((0,), (0,), (1,)), ())
    assert found.media[1] == Medium("c", file, "image", f"{file}: row 4", b"four")
    assert found.media[1].read() == b"four"


def test_parquet_of_hugging_face_has_a_struct_and_may_have_no_split(tmp_path):
    images = [{"bytes": str(number).encode(), "path": None} for number in range(100)]
    file = write_parquet(tmp_path / "hf.parquet", id=list(range(100)), texts=[[f"t{n}"] for n in range(100)], image=images)
    found = read_captions(file, None, split="test")
    assert [(medium.name, medium.data) for medium in found.media] == [(str(n), str(n).encode()) for n in range(100)]
    assert found.media[99].record == f"{file}: row 100"


GOOD = {"id": ["a", "b"], "texts": [["x"], ["y"]], "image": [b"1", b"2"], "split": ["val", "val"]}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"id": ["a", "a"]}, "row 2: the id 'a' appears twice (first in {file}: row 1)."),
        ({"id": ["a", None]}, "row 2: 'id' is None. Expected text or a whole number."),
        ({"texts": [["x"], None]}, "row 2: 'texts' is None. Expected a list."),
        ({"texts": [["x"], ["y", None]]}, "row 2: 'texts' holds None. Expected a list of texts."),
        ({"texts": ["x", "y"]}, "row 1: 'texts' is 'x'. Expected a list."),
        ({"image": [b"1", None]}, "row 2: 'image' holds no bytes (None)."),
        ({"image": [b"1", b""]}, "row 2: 'image' holds no bytes (b'')."),
        ({"image": [{"bytes": None, "path": "a.jpg"}] * 2}, "row 1: 'image' holds no bytes (None)."),
        ({"split": ["val", None]}, "row 2: 'split' is None. Expected text."),
        ({"split": ["test", "train"]}, "no such split ('val'). Splits in this file: test, train."),
        ({"kind": ["label", "label"]}, "no such split ('val'). Splits in this file: none."),
    ],
)
def test_a_wrong_row_of_parquet_is_named(tmp_path, wrong, message):
    file = write_parquet(tmp_path / "a.parquet", **(GOOD | wrong))
    with refuses(f"{file}: " + message.format(file=file)):
        read_parquet(file, split="val")


def test_parquet_that_cannot_be_read_is_named(tmp_path):
    file = write_parquet(tmp_path / "a.parquet", id=["a"], text=["x"])
    with refuses(f"{file}: no column texts, image (found: id, text)."):
        read_parquet(file, split="val")
    file.write_bytes(b"PAR1 but not really")
    with refuses(f"{file}: cannot be read as Parquet after row 0 ("):
        read_parquet(file, split="val")
    with refuses(f"{tmp_path}/none.parquet: no such file."):
        read_parquet(tmp_path / "none.parquet", split="val")


def test_a_damaged_page_of_parquet_is_named(tmp_path):
    file = write_parquet(tmp_path / "a.parquet", **GOOD)
    data = bytearray(file.read_bytes())
    data[4:40] = b"\xff" * 36
    file.write_bytes(data)
    with refuses(f"{file}: cannot be read as Parquet after row 0 ("):
        read_parquet(file, split="val")


# --- all formats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.xml", "<a/>", "a.xml: captions of an unknown kind (suffix '.xml'). Known: Karpathy's JSON"),
        ("a.json", "[]", "a.json: captions of an unknown kind (found: a list). Known: Karpathy's JSON"),
        ("a.json", "{}", "a.json: captions of an unknown kind (found: an object with nothing)."),
        ("a.json", '{"videos": [], "annotations": []}', "(found: an object with videos, annotations)."),
        ("a.json", '{"images": [{"id": 1}]}', "(found: an object with images)."),
        ("a.json", '{"images": []}', "a.json: no such split ('val'). Splits in this file: none."),
        ("a.json", '{"images": [}', "a.json: malformed JSON at line 1, column 13"),
        ("a.csv", "a,b\n", "a.csv: line 1: no column query, path (found: a, b)."),
        ("a.json", '{"images": [1]}', "(found: an object with images)."),
    ],
)
def test_a_file_of_an_unknown_format_is_refused_with_the_known_formats(tmp_path, name, text, message):
    write_picture(tmp_path / "x.jpg")
    (tmp_path / name).write_text(text)
    with refuses(message):
        read_captions(tmp_path / name, None, split="val")


def test_a_missing_path_is_named(tmp_path):
    with refuses(f"{tmp_path}/none.json: no such file."):
        read_captions(tmp_path / "none.json", None, split="val")
    with refuses(f"{tmp_path}/none: no such folder."):
        read_captions(write_json(tmp_path / "a.json", {}), tmp_path / "none", split="val")
