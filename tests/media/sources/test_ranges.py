import io
import random

import pytest

from media.sources.remote.ranges import RangeFile

DATA = random.Random(0).randbytes(3_000_000)


class Counted:
    def __init__(self, data=DATA):
        self.data, self.asked = data, []

    def __call__(self, start, stop):
        self.asked.append((start, stop))
        return self.data[start:stop]

    @property
    def num_bytes(self):
        return sum(stop - start for start, stop in self.asked)


def test_random_reads_give_the_bytes_of_the_file():
    rng = random.Random(1)
    file = io.BufferedReader(RangeFile(Counted(), len(DATA)))
    for _ in range(300):
        start, length = rng.randrange(len(DATA) + 100), rng.choice([1, 100, 70_000, 400_000])
        file.seek(start)
        assert file.read(length) == DATA[start : start + length]
    file.seek(-5, io.SEEK_END)
    assert file.read() == DATA[-5:]


def test_reading_all_asks_for_each_byte_once_and_in_few_requests():
    get = Counted()
    assert io.BufferedReader(RangeFile(get, len(DATA))).read() == DATA
    assert get.num_bytes == len(DATA)
    assert len(get.asked) <= 6


def test_a_header_and_an_index_at_the_end_cost_little():
    get = Counted()
    file = io.BufferedReader(RangeFile(get, len(DATA)))
    file.read(100)
    file.seek(-50_000, io.SEEK_END)
    file.read()
    assert get.num_bytes < 300_000


def test_two_places_read_in_turn_both_grow():
    get = Counted()
    file = io.BufferedReader(RangeFile(get, len(DATA)))
    for step in range(0, 1_400_000, 20_000):
        for place in (step, 1_500_000 + step):
            file.seek(place)
            assert file.read(20_000) == DATA[place : place + 20_000]
    assert get.num_bytes <= len(DATA)
    assert len(get.asked) <= 12


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr("media.sources.remote.ranges._KEPT", 1_000_000)
    raw = RangeFile(Counted(), len(DATA))
    io.BufferedReader(raw).read()
    assert sum(map(len, raw._blocks.values())) < 2_200_000


def test_positions_are_those_of_a_file():
    file = RangeFile(Counted(b"abc"), 3)
    assert (file.seekable(), file.readable(), file.tell(), file.seek(10), file.read(5)) == (True, True, 0, 10, b"")
    assert (file.seek(-1, io.SEEK_END), file.read(5), file.seek(-2, io.SEEK_CUR), file.read(1)) == (2, b"c", 1, b"b")
    with pytest.raises(ValueError, match="before its start"):
        file.seek(-1)
    assert RangeFile(Counted(b""), 0).read() == b""
