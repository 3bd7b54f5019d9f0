"""Writes the collections beside this file. Runs only with the last program of format 1 (commit 02e00d4).

    mkdir -p /home/anna && git worktree add ../format-1 02e00d4 && cd ../format-1 && python make.py OUTPUT

The pictures are below /home/anna, so the stored paths name no real user. The answers are stored beside the collections, and
later programs must give the same ones.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

sys.path.insert(0, ".")
from indexer import index
from search import open_collection, search
from tests.fakes import COLOURS, FakeEncoder, write_film, write_picture

HOME = Path("/home/anna")
QUERIES = [
    *({"text": colour, "k": 50} for colour in COLOURS),
    {"text": "red", "k": 3},
    {"text": "blue", "k": 50, "kinds": ["shot"], "group_by_file": False},
    {"text": "red", "k": 5, "kinds": ["clip"]},
    {"text": "green", "k": 50, "where": "kind = 'image' AND width >= 100"},
    {"text": "green", "k": 50, "where": "uri LIKE '%Grüße%'"},
    {"text": "green", "k": 50, "where": "camera = 'Canon EOS' AND taken_at >= timestamp '2021-01-01 00:00:00'"},
    {"text": "a word of no colour", "k": 50},
]


def pack(name: str, output: Path) -> None:
    collection = HOME / "collection"
    opened = open_collection(collection, encoder=FakeEncoder())
    answers = []
    for query in QUERIES:
        options = {key: value for key, value in query.items() if key != "text"}
        try:
            hits = [vars(hit) for hit in search(query["text"], collection=opened, **options)]
        except (OverflowError, ValueError):
            hits = None  # format 1 could not answer because of an impossible date among the hits
        answers.append({"query": query, "hits": hits})
    stored = {"answers": answers, "counts": opened.counts(), "failures": opened.failures().to_pylist()}
    (output / f"{name}.json").write_text(json.dumps(stored, default=str, ensure_ascii=False, indent=1) + "\n")
    (collection / "writer.lock").unlink(missing_ok=True)
    (collection / "writer.json").unlink(missing_ok=True)
    shutil.make_archive(str(output / name), "zip", collection)
    shutil.rmtree(HOME)
    HOME.mkdir()


def everyday() -> None:
    """Two folders, non-ASCII names, a video and broken files. After the first run, one picture is replaced, one moved and one deleted."""
    pictures, videos = HOME / "Pictures", HOME / "Videos"
    for position, colour in enumerate(COLOURS):
        write_picture(pictures / f"{colour}.png", colour, size=(97 + position, 64))
    exif = Image.Exif()
    exif[271], exif[272] = "Canon", "EOS"
    exif.get_ifd(0x8769).update({36867: "2021:07:08 09:10:11", 36881: "+02:00"})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 15.0), 3: "E", 4: (11.0, 34.0, 30.0)})
    write_picture(pictures / "Grüße aus München" / "日本 & 'quotes'.jpg", "green", exif=exif)
    write_picture(pictures / "Grüße aus München" / "Café 100%_.jpg", "yellow")
    write_picture(pictures / "old name.png", "white", size=(31, 33))
    write_picture(pictures / "deleted.png", "red", size=(35, 33))
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff not a jpeg")
    write_film(videos / "film.mp4", [("red", 4.0), ("green", 4.0), ("blue", 4.0)])
    write_film(videos / "ночь.mp4", [("black", 3.0), ("yellow", 3.0)])
    (videos / "broken.mp4").write_bytes(b"not a film")
    index([pictures, videos], collection=HOME / "collection", encoder=FakeEncoder())
    write_picture(pictures / "black.png", "blue", size=(640, 400))
    (pictures / "old name.png").rename(pictures / "new name.png")
    (pictures / "deleted.png").unlink()
    index([pictures, videos], collection=HOME / "collection", encoder=FakeEncoder())


def only_failures() -> None:
    (HOME / "Pictures").mkdir()
    (HOME / "Pictures" / "broken 'ü'.jpg").write_bytes(b"x")
    index(HOME / "Pictures", collection=HOME / "collection", encoder=FakeEncoder())


def impossible_dates() -> None:
    """Rows with dates outside Python's range, as written by the first versions."""
    for name, colour in (("zero", "red"), ("far", "green"), ("good", "blue")):
        write_picture(HOME / "Pictures" / f"{name}.png", colour)
    index(HOME / "Pictures", collection=HOME / "collection", encoder=FakeEncoder())
    import lancedb

    table = lancedb.connect(str(HOME / "collection")).open_table("segments")
    rows = table.search().to_arrow()
    micros = {"zero": -62_135_600_400_000_000, "far": 253_402_318_799_000_000, "good": 1_588_748_889_000_000}
    values = pa.array([micros[Path(uri).stem] for uri in rows["uri"].to_pylist()], pa.int64()).cast(pa.timestamp("us", "UTC"))
    position = rows.schema.get_field_index("taken_at")
    table.merge_insert("segment_id").when_matched_update_all().execute(rows.set_column(position, rows.schema.field(position), values))


if __name__ == "__main__":
    HOME.mkdir(exist_ok=True)
    for make in (everyday, only_failures, impossible_dates):
        np.random.seed(0)
        make()
        pack(make.__name__.replace("_", "-"), Path(sys.argv[1]))
