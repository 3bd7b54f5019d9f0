"""`make demo`: index the sample pictures and the sample film, search them, and print the hits and misses."""

import html
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from make_sample_collection import write_samples

from coca_model import load
from indexer import index
from search import Hit, open_collection, search
from search.collection.thumbnails import thumbnail_of

# What someone would type, and the picture that should come first.
QUERIES = {
    "a cat": "chelsea",
    "a cup of coffee": "coffee",
    "an astronaut": "astronaut",
    "a rocket on the launch pad": "rocket",
    "a red motorcycle": "motorcycle",
    "old coins": "coins",
    "a flower": "flower",
    "a temple by the water": "china",
    "a man with a camera": "camera",
    "a horse": "horse",
}
# The same for the film: the shot that should come first, as data/make_sample_collection.py names it.
FILM_QUERIES = {
    "a cat": "chelsea", "a cup of coffee": "coffee", "a rocket": "rocket", "a red motorcycle": "motorcycle", "a flower": "flower",
}  # fmt: skip
TOLERANCE_SECONDS = 1.0
SIGN = {True: "✓", False: "✗"}


def main(folder: Path) -> int:
    """Run the demo in `folder`. Returns how many queries about pictures were answered right."""
    began = time.monotonic()
    samples = folder / "samples"
    if not (samples / "shots.json").exists():
        print("making the sample pictures and the sample film ...", flush=True)
        write_samples(samples)
    encoder = load()
    report = index(samples, collection=folder / "collection", encoder=encoder)
    print(f"indexed: {report.num_new} new, {report.num_unchanged} unchanged, {len(report.failures)} failed; {report.num_rows} rows\n")
    collection = open_collection(folder / "collection", encoder=encoder)

    rows: list[tuple[str, bool, Sequence[Hit]]] = []
    print(f"{'':2}{'query':30}{'first hit':18}{'cosine':>8}{'ms':>6}   then")
    for query, wanted in QUERIES.items():
        since = time.monotonic()
        hits = search(query, collection=collection, k=5, kinds=["image"])
        milliseconds = 1000 * (time.monotonic() - since)
        names = [Path(hit.uri).stem for hit in hits]
        rows.append((query, names[0] == wanted, hits))
        print(f"{SIGN[names[0] == wanted]:2}{query:30}{names[0]:18}{hits[0].similarity:8.2f}{milliseconds:6.0f}   {', '.join(names[1:4])}")
    right = sum(good for _, good, _ in rows)
    print(f"{right} of {len(QUERIES)} queries have the right picture first.\n")

    shots = json.loads((samples / "shots.json").read_text())
    print(f"{'':2}{'query about the film':30}{'found at':18}{'really at':18}")
    film_right = 0
    for query, wanted in FILM_QUERIES.items():
        hits = search(query, collection=collection, k=3, kinds=["shot"], group_by_file=False)
        start, end = hits[0].start_seconds or 0.0, hits[0].end_seconds or 0.0
        true_start, true_end = shots[wanted]
        good = max(abs(start - true_start), abs(end - true_end)) <= TOLERANCE_SECONDS
        film_right += good
        rows.append((f"{query} (film)", good, hits))
        print(f"{SIGN[good]:2}{query:30}{f'{start:.1f}-{end:.1f} s':18}{f'{true_start:.1f}-{true_end:.1f} s':18}")
    print(f"{film_right} of {len(FILM_QUERIES)} queries have the right shot, to within {TOLERANCE_SECONDS:g} second at both ends.\n")

    first_pictures = {hits[0].uri for _, _, hits in rows if hits[0].kind == "image"}
    captions = dict(zip(sorted(first_pictures), encoder.caption(sorted(first_pictures)), strict=True))
    page = folder / "index.html"
    page.write_text(_page(folder / "collection", rows, captions))
    print(f"{page} shows them. {time.monotonic() - began:.1f} seconds in all.")
    return right


def _page(collection: Path, rows: list[tuple[str, bool, Sequence[Hit]]], captions: dict[str, str]) -> str:
    parts = [_STYLE, "<h1>coca-search: what the demo found</h1>"]
    for query, good, hits in rows:
        cells = "".join(_cell(collection, hit, captions.get(hit.uri) if rank == 0 else None) for rank, hit in enumerate(hits))
        parts.append(f"<h2>{SIGN[good]} {html.escape(query)}</h2><div class='row'>{cells}</div>")
    return "\n".join(parts) + "\n"


def _cell(collection: Path, hit: Hit, caption: str | None) -> str:
    picture = thumbnail_of(collection, vars(hit)).relative_to(collection.parent)
    moment = "" if hit.start_seconds is None else f" {hit.start_seconds:.1f}–{hit.end_seconds:.1f} s"
    words = f"{hit.similarity:.2f} {html.escape(Path(hit.uri).stem)}{moment}" + (f"<br><i>{html.escape(caption)}</i>" if caption else "")
    return f"<figure><img src='{picture}'><figcaption>{words}</figcaption></figure>"


_STYLE = """<!doctype html><meta charset="utf-8"><title>coca-search demo</title>
<style>body{font:15px system-ui;margin:2rem;max-width:1250px}h2{font-size:1.05rem;margin:1.4rem 0 .4rem}
.row{display:flex;gap:12px}figure{margin:0;width:230px}img{width:230px;height:160px;object-fit:cover;border-radius:8px}
figure:first-child img{outline:3px solid #5b5bd6}figcaption{font-size:12px;color:#444;padding-top:4px}</style>"""

if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo"))
