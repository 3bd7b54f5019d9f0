"""Names that are not valid UTF-8 as text, and back."""

import os
import random

import pytest

from media.file_names import escape, unescape

NAMES = [
    b"plain.jpg",
    "été ❄ 😀.jpg".encode(),
    b"latin1 \xe9t\xe9.jpg",
    b"\xff\xfe",
    b"cut \xe2\x82",
    "shift-jis 写真".encode("shift-jis"),
    "private use \uef80\uefff \ue000".encode(),
    b"\xe3" + "\uef80".encode(),  # a byte that is not UTF-8 before a character that is escaped, too
    "\uefee\uefbe\uef80".encode(),  # what an escaped U+EF80 looks like
    b"\\xff %FF",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_becomes_valid_text_and_comes_back(name):
    text = escape(os.fsdecode(name))
    text.encode()
    assert os.fsencode(unescape(text)) == name


def test_any_bytes_come_back_and_no_two_names_give_the_same_text():
    choose = random.Random(0)
    parts = [b"a", b"\xff", b"\xc3", b"\xa9", b"\xee", b"\xbe", b"\x80", "\uef80".encode(), "é".encode()]
    names = {b"".join(choose.choices(parts, k=choose.randint(1, 8))) for _ in range(3000)}
    texts = {name: escape(os.fsdecode(name)) for name in names}
    assert len(set(texts.values())) == len(names)
    assert all(os.fsencode(unescape(text)) == name for name, text in texts.items())


def test_other_names_do_not_change():
    assert escape("зима 雪.jpg") == unescape("зима 雪.jpg") == "зима 雪.jpg"
    assert escape(os.fsdecode(b"bad\xff.jpg")) == "bad\uefff.jpg"
