"""Drawings: they are drawn, and can neither read files nor take all memory or time."""

import gzip
import subprocess
import sys
from itertools import pairwise

import pytest
from PIL import Image

from media.errors import PictureError
from media.pictures import svg
from media.pictures.picture import read_picture

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '


def read(text, **options):
    return read_picture(text.encode(), name="a.svg", **options)


@pytest.mark.parametrize(
    ("attributes", "size", "drawn"),
    [
        ('width="24" height="24"', (24, 24), (512, 512)),
        ('viewBox="0 0 30 20"', (30, 20), (768, 512)),
        ('width="100%" viewBox="0 0 30 20"', (30, 20), (768, 512)),
        ('width="60" viewBox="0 0 30 20"', (60, 40), (768, 512)),
        ('width="1in" height="25.4mm"', (96, 96), (512, 512)),
        ("", (300, 150), (1024, 512)),
        ('width="10" height="5000"', (10, 5000), (4, 2048)),
        ('width="1e30" height="1e30"', (1_000_000, 1_000_000), (512, 512)),
        ('width="none" height="-5"', (300, 150), (1024, 512)),
    ],
)
def test_a_drawing_is_drawn_large_enough_and_keeps_the_size_that_it_states(attributes, size, drawn):
    picture = read(f"{HEAD}{attributes}><rect width='100%' height='100%' fill='red'/></svg>")
    assert (picture.metadata["width"], picture.metadata["height"]) == size
    assert picture.image.size == drawn
    assert picture.image.getpixel((drawn[0] // 2, drawn[1] // 2)) == (255, 0, 0)


def test_transparent_parts_are_white_and_texts_are_drawn():
    picture = read(f'{HEAD} width="200" height="100"><text y="80" font-size="90" font-family="Nowhere">MM</text></svg>')
    assert picture.image.getpixel((1, 1)) == (255, 255, 255)
    assert picture.image.convert("L").getextrema()[0] < 50


def test_a_compressed_drawing_is_drawn():
    data = gzip.compress(f'{HEAD} width="20" height="10"/>'.encode())
    assert read_picture(data).metadata["width"] == 20


@pytest.mark.parametrize("element", ["image", "feImage"])
@pytest.mark.parametrize("prefix", ["", "xlink:"])
def test_a_drawing_cannot_show_other_files(tmp_path, element, prefix):
    Image.new("RGB", (20, 20), "blue").save(tmp_path / "secret.png")
    inner = f'<{element} {prefix}href="{tmp_path}/secret.png" width="20" height="20"/>'
    if element == "feImage":
        inner = f'<filter id="f">{inner}</filter><rect width="20" height="20" filter="url(#f)"/>'
    picture = read(f'{HEAD} width="20" height="20">{inner}</svg>')
    assert picture.image.getcolors() == [(512 * 512, (255, 255, 255))]


def test_a_drawing_may_contain_a_picture():
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
    picture = read(f'{HEAD} width="20" height="20"><image href="data:image/png;base64,{png}" width="20" height="20"/></svg>')
    assert picture.image.getpixel((250, 250))[0] > 200


def nested(depth):
    groups = "".join(f'<g id="g{i}"><use href="#g{i - 1}"/><use href="#g{i - 1}"/></g>' for i in range(1, depth))
    return f'{HEAD}><defs><g id="g0"><rect width="1" height="1"/></g>{groups}</defs><use href="#g{depth - 1}"/></svg>'


def entities(depth):
    names = "abcdefghijkl"[:depth]
    listed = "".join(f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in pairwise(names))
    return f'<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa">{listed}]>{HEAD}><text>&{names[-1]};</text></svg>'


@pytest.mark.parametrize(
    "text",
    [
        nested(40),
        entities(12),
        f"{HEAD}>{'<g>' * 50_000}{'</g>' * 50_000}</svg>",
        f'<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>{HEAD}><text>&a;</text></svg>',
        HEAD,
        f"{HEAD}><path d='M0 0",
    ],
    ids=["uses", "entities", "depth", "external", "head", "cut"],
)
def test_a_hostile_or_damaged_drawing_is_refused(text):
    with pytest.raises(PictureError, match=r"^a\.svg: the SVG cannot be drawn \("):
        read(text)


def test_a_slow_drawing_is_given_up(monkeypatch):
    monkeypatch.setattr(svg, "_SECONDS", 0.5)
    slow = '<filter id="f"><feTurbulence baseFrequency="0.001" numOctaves="100000000"/></filter>'
    with pytest.raises(PictureError, match="takes too long to draw"):
        read(f'{HEAD} width="100" height="100">{slow}<rect width="100" height="100" filter="url(#f)"/></svg>')


def test_a_compressed_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(svg, "_MAX_BYTES", 1000)
    with pytest.raises(PictureError, match="has more than"):
        read_picture(gzip.compress(b"<svg>" + b" " * 100_000), name="a.svgz")
    with pytest.raises(PictureError, match="is damaged"):
        read_picture(b"\x1f\x8b" + bytes(30), name="a.svgz")


CTRL_C = """
import os, signal, sys, threading
from media.pictures.picture import read_picture

signal.signal(signal.SIGINT, lambda *_: None)
def interrupt():
    while not is_done.wait(0.02):
        os.killpg(0, signal.SIGINT)  # as a terminal does

is_done = threading.Event()
threading.Thread(target=interrupt).start()
try:
    print(read_picture(sys.argv[1].encode()).image.size)
finally:
    is_done.set()
"""


def test_ctrl_c_in_a_terminal_does_not_stop_a_drawing():
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="600" height="600"><rect width="9" height="9"/></svg>'
    done = subprocess.run([sys.executable, "-c", CTRL_C, drawing], capture_output=True, text=True, start_new_session=True, check=True)
    assert done.stdout == "(512, 512)\n"
