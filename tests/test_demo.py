"""The demo of `make demo`: the embedded model finds the sample pictures and the shots of the sample video."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, str(ROOT / "data" / "demo.py"), str(folder)]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True, timeout=250).stdout for _ in range(2))
    return folder, first, second


def test_at_least_eight_of_ten_queries_have_the_right_picture_first(demo):
    assert int(re.search(r"(\d+) of 10 queries have the right picture first", demo[1])[1]) >= 8


def test_every_query_about_the_video_finds_its_shot_within_one_second(demo):
    right, total = re.search(r"(\d+) of (\d+) queries have the right shot, to within 1 second", demo[1]).groups()
    assert right == total


def test_a_second_run_indexes_nothing_and_gives_the_same_answers(demo):
    _, first, second = demo
    assert "indexed: 24 new, 0 unchanged, 0 failed" in first
    assert "indexed: 0 new, 24 unchanged, 0 failed" in second

    def answers(text):
        return re.findall(r"^[✓✗] \D+", text, re.MULTILINE)

    assert answers(first) == answers(second)


def test_the_page_shows_a_thumbnail_for_every_hit(demo):
    folder, _, _ = demo
    pictures = re.findall(r"<img src='([^']+)'", (folder / "index.html").read_text())
    assert len(pictures) >= 60
    assert all((folder / picture).is_file() for picture in pictures)
