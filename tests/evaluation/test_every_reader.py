"""Every reader, from a file in its real format to a figure: planted truth, planted mistakes, ties, and a smaller last batch.

There are five or seven media, and the encoder batches four. The true label or text of a medium is its colour.
"""

import csv
import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation import FeatureSource, evaluate_moments, evaluate_retrieval, evaluate_zero_shot
from evaluation.datasets.captions import read_captions
from evaluation.datasets.labelled_media import LabelFiles, read_labelled
from evaluation.datasets.moments import read_moments
from evaluation.features import ResultCache
from tests.fakes import FakeEncoder, write_film, write_picture

RIGHT = ("red", "green", "blue", "yellow", "black", "white")


@pytest.fixture
def source(tmp_path):
    return FeatureSource(FakeEncoder(), ResultCache(tmp_path / "cache.sqlite"))


def write_csv(path, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


# --- captions: each function writes the media of `colours` and a file in which medium n has the text texts[n] -----------


def pictures(folder, colours):
    return [write_picture(folder / f"{n:03d}.png", colour) for n, colour in enumerate(colours)]


def films(folder, colours, name="video{n}"):
    return [write_film(folder / f"{name.format(n=n)}.mp4", [(colour, 0.5)], fps=8) for n, colour in enumerate(colours)]


def karpathy(folder, colours, texts):
    images = [
        {
            "imgid": n,
            "filename": path.name,
            "split": "test",
            "sentids": [n],
            "sentences": [{"raw": text, "tokens": text.split(), "imgid": n, "sentid": n}],
        }
        for n, (path, text) in enumerate(zip(pictures(folder, colours), texts, strict=True))
    ]
    return _json(folder / "dataset_flickr8k.json", {"images": images, "dataset": "flickr8k"})


def karpathy_coco(folder, colours, texts):
    document = json.loads(karpathy(folder / "val2014", colours, texts).read_text())
    images = [image | {"filepath": "val2014", "cocoid": 100 + image["imgid"]} for image in document["images"]]
    return _json(folder / "dataset_coco.json", {"images": images, "dataset": "coco"})


def coco(folder, colours, texts):
    images = [{"id": n, "file_name": path.name} for n, path in enumerate(pictures(folder, colours))]
    annotations = [{"id": 10 + n, "image_id": n, "caption": text} for n, text in enumerate(texts)]
    return _json(folder / "captions_val2017.json", {"info": {}, "images": images, "annotations": annotations})


def own(folder, colours, texts):
    return write_csv(folder / "queries.csv", ("query", "path"), *zip(texts, [path.name for path in pictures(folder, colours)], strict=True))


def parquet(folder, colours, texts):
    data = [path.read_bytes() for path in pictures(folder, colours)]
    columns = {"id": [f"p{n}" for n in range(len(data))], "split": ["test"] * len(data), "texts": [[text] for text in texts], "image": data}
    pq.write_table(pa.table(columns), folder / "set.parquet")
    return folder / "set.parquet"


def msrvtt(folder, colours, texts):
    films(folder, colours)
    videos = [{"video_id": f"video{n}", "split": "test", "id": n} for n in range(len(colours))]
    sentences = [{"sen_id": n, "video_id": f"video{n}", "caption": text} for n, text in enumerate(texts)]
    return _json(folder / "MSRVTT_data.json", {"videos": videos, "sentences": sentences})


def msrvtt_1ka(folder, colours, texts):
    films(folder, colours)
    rows = [(f"ret{n}", f"msr{n}", f"video{n}", text) for n, text in enumerate(texts)]
    return write_csv(folder / "MSRVTT_JSFUSION_test.csv", ("key", "vid_key", "video_id", "sentence"), *rows)


def msvd_corpus(folder, colours, texts):
    films(folder, colours, "v{n}_1_9")
    rows = [(f"v{n}", 1, 9, "w", "clean", "3", "English", text) for n, text in enumerate(texts)]
    header = ("VideoID", "Start", "End", "WorkerID", "Source", "AnnotationTime", "Language", "Description")
    return write_csv(folder / "corpus.csv", header, *rows, ("v0", 1, 9, "w", "clean", "3", "German", "ein Film"))


def msvd_text(folder, colours, texts):
    films(folder, colours, "v{n}_1_9")
    lines = ["# descriptions", "", *(f"v{n}_1_9 {text}" for n, text in enumerate(texts))]
    (folder / "AllVideoDescriptions.txt").write_text("\n".join(lines))
    return folder / "AllVideoDescriptions.txt"


def msvd_pickle(folder, colours, texts):
    films(folder, colours, "v{n}_1_9")
    (folder / "raw-captions.pkl").write_bytes(pickle.dumps({f"v{n}_1_9": [text.split()] for n, text in enumerate(texts)}))
    return folder / "raw-captions.pkl"


def _json(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


PICTURES = (karpathy, karpathy_coco, coco, own, parquet)
VIDEOS = (msrvtt, msrvtt_1ka, msvd_corpus, msvd_text, msvd_pickle)
every_reader = pytest.mark.parametrize("write", [*PICTURES, *VIDEOS], ids=lambda write: write.__name__)


def recalls(write, folder, source, colours, texts):
    file = write(folder, colours, texts)
    to_media, to_text = evaluate_retrieval(read_captions(file, None), source).tables
    return tuple(table.rows[0].values["R@1"].value for table in (to_media, to_text))


@every_reader
def test_planted_truth_is_found_exactly(write, tmp_path, source):
    colours = RIGHT[:5]
    assert recalls(write, tmp_path / "set", source, colours, colours) == (100, 100)


@every_reader
def test_planted_mistakes_give_the_value_counted_by_hand(write, tmp_path, source):
    # The texts of the first two media are swapped, so three of five texts and three of five media are right.
    assert recalls(write, tmp_path / "set", source, RIGHT[:5], ("green", "red", "blue", "yellow", "black")) == (60, 60)


@every_reader
def test_ties_count_as_errors(write, tmp_path, source):
    # Media 0 and 4 are equal. The text "white" (0) ties with medium 4, and "nothing" (4) matches no medium. Media 0 and 4 both find
    # "white", which is right for 0 and wrong for 4.
    texts = ("white", "green", "blue", "yellow", "nothing like it")
    assert recalls(write, tmp_path / "set", source, ("white", "green", "blue", "yellow", "white"), texts) == (60, 80)


# --- classes ------------------------------------------------------------------------------------------------------------


def class_folders(folder, colours, labels):
    for n, (colour, label) in enumerate(zip(colours, labels, strict=True)):
        write_picture(folder / "set" / f"n{RIGHT.index(label):08d}" / f"{n}.png", colour)
    (folder / "LOC_synset_mapping.txt").write_text("".join(f"n{n:08d} {name}\n" for n, name in enumerate(RIGHT)))
    return read_labelled(folder / "set", None, LabelFiles(folder / "LOC_synset_mapping.txt"))


def objectnet(folder, colours, labels):
    for n, (colour, label) in enumerate(zip(colours, labels, strict=True)):
        write_picture(folder / "set" / f"{label}_thing" / f"{n}.png", colour)
    first = _json(folder / "folder_to_objectnet_label.json", {f"{label}_thing": label.title() for label in RIGHT})
    second = _json(folder / "objectnet_to_imagenet_1k.json", {label.title(): label for label in RIGHT})
    return read_labelled(folder / "set", None, LabelFiles(first, second))


def kinetics(folder, colours, labels):
    rows = []
    for n, (colour, label) in enumerate(zip(colours, labels, strict=True)):
        write_film(folder / "videos" / label / f"id{n}_000001_000011.mp4", [(colour, 0.5)], fps=8)
        rows.append((label, f"id{n}", 1, 11, "validate"))
    file = write_csv(folder / "validate.csv", ("label", "youtube_id", "time_start", "time_end", "split"), *rows)
    return read_labelled(file, folder / "videos", LabelFiles(), split="validate")


def moments_in_time(folder, colours, labels):
    rows = []
    for n, (colour, label) in enumerate(zip(colours, labels, strict=True)):
        write_film(folder / "validation" / label / f"{n}.mp4", [(colour, 0.5)], fps=8)
        rows.append((f"{label}/{n}.mp4", label, 3, 0))
    return read_labelled(write_csv(folder / "validationSet.csv", *rows), folder / "validation", LabelFiles())


every_class_reader = pytest.mark.parametrize("read", [class_folders, objectnet, kinetics, moments_in_time], ids=lambda read: read.__name__)


@every_class_reader
@pytest.mark.parametrize(
    ("labels", "expected"),
    [((*RIGHT, "red"), 100.0), ((*RIGHT, "blue"), 100 * 6 / 7)],  # seven media, so the last batch is smaller; the seventh is red
    ids=["truth", "one mistake"],
)
def test_planted_classes_give_the_value_counted_by_hand(read, tmp_path, source, labels, expected):
    dataset = read(tmp_path, (*RIGHT, "red"), labels)
    report = evaluate_zero_shot(dataset, source, templates=("{}",))
    assert report.tables[0].rows[0].values["top-1"].value == pytest.approx(expected)


# --- moments ------------------------------------------------------------------------------------------------------------


def charades(folder, spans):
    lines = [f"ABCDE {start} {stop}##{text}" for text, start, stop in spans]
    (folder / "charades_sta_test.txt").write_text("\n".join(lines))
    return folder / "charades_sta_test.txt"


def didemo(folder, spans):
    rows = [
        {
            "annotation_id": n,
            "description": text,
            "video": "ABCDE.mov",
            "times": [[int(start) // 5, int(stop) // 5 - 1]] * 4,
            "num_segments": 4,
        }
        for n, (text, start, stop) in enumerate(spans)
    ]
    return _json(folder / "test_data.json", rows)


def own_moments(folder, spans):
    return write_csv(
        folder / "moments.csv", ("path", "query", "start", "stop"), *(("ABCDE.mp4", text, start, stop) for text, start, stop in spans)
    )


@pytest.mark.parametrize("write", [charades, didemo, own_moments], ids=lambda write: write.__name__)
@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([("red", 0.0, 10.0), ("green", 10.0, 15.0), ("blue", 15.0, 20.0)], 100),
        ([("red", 0.0, 10.0), ("green", 0.0, 5.0), ("blue", 15.0, 20.0)], 100 * 2 / 3),
    ],
    ids=["truth", "one mistake"],
)
def test_planted_moments_give_the_value_counted_by_hand(write, spans, expected, tmp_path, source):
    write_film(tmp_path / "ABCDE.mp4", [("red", 10.0), ("green", 5.0), ("blue", 5.0)], fps=4)
    report = evaluate_moments(read_moments(write(tmp_path, spans), None), source, seconds_between=0.5)
    for row in report.tables[0].rows:
        assert row.values["R@1, IoU 0.7"].value == pytest.approx(expected)
