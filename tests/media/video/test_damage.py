"""Truncated and damaged films give frames or a MediaError."""

import random
from contextlib import suppress

import pytest

from media.errors import MediaError
from media.video.film import read_film
from media.video.messages import Request, VideoFrame
from tests.clock_films import RATE, number_in, write_clock

GROUPS = {"g": "12", "bf": "2", "sc_threshold": "0"}
FILMS = {
    "film.mp4": {"codec_options": GROUPS},
    "film.mkv": {"codec_options": GROUPS, "container_options": {"cluster_time_limit": "400"}},
    "film.ts": {"codec": "mpeg2video", "codec_options": {"g": "12"}, "format": "mpegts"},
    "film.avi": {"codec": "mpeg4", "codec_options": {"g": "12", "bf": "2"}},
    "film.flv": {"codec_options": GROUPS},
    "film.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}


def read(path):
    *replies, end = read_film(Request(str(path)))
    return replies[0] | end.metadata, [reply for reply in replies if isinstance(reply, VideoFrame)]


@pytest.mark.parametrize("name", ["film.mkv", "film.ts", "film.flv", "film.avi"])
def test_a_recording_that_was_cut_off_gives_what_is_there(tmp_path, name):
    film = write_clock(tmp_path / name, **FILMS[name])
    film.write_bytes(film.read_bytes()[: film.stat().st_size * 7 // 10])
    metadata, frames = read(film)
    assert [frame.pts_seconds * RATE for frame in frames] == pytest.approx([number_in(frame.pixels) for frame in frames], abs=0.1)
    assert 1.5 < metadata["duration_seconds"] < 4.05
    assert metadata.get("damaged") is (None if name == "film.ts" else True)  # a broadcast does not say how long it is


@pytest.mark.parametrize("name", FILMS)
def test_damage_in_the_middle_does_not_hide_the_rest(tmp_path, name):
    film = write_clock(tmp_path / name, **FILMS[name])
    data = bytearray(film.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 100] = random.Random(0).randbytes(100)
    film.write_bytes(data)
    metadata, frames = read(film)
    assert max(number_in(frame.pixels) for frame in frames) > 80
    assert metadata["duration_seconds"] == pytest.approx(4.0, abs=0.3)


def test_damage_that_a_decoder_reports_is_told(tmp_path):
    film = write_clock(tmp_path / "film.mov", **FILMS["film.mov"])
    data = bytearray(film.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 20_000] = bytes(20_000)
    film.write_bytes(data)
    metadata, frames = read(film)
    assert metadata["damaged"] is True
    assert frames


def test_damage_before_the_first_frame_is_told(tmp_path):
    film = write_clock(tmp_path / "film.mp4", codec_options=GROUPS, container_options={"movflags": "faststart"})
    data = bytearray(film.read_bytes())
    start = data.index(b"mdat") + 4
    data[start : start + 200] = bytes(200)
    film.write_bytes(data)
    assert read(film)[0]["damaged"] is True


def test_a_film_that_starts_late_is_not_damaged(tmp_path):
    assert "damaged" not in read(write_clock(tmp_path / "film.mkv", start=100 * RATE))[0]


def test_a_whole_film_is_not_damaged(tmp_path):
    for name, how in FILMS.items():
        assert "damaged" not in read(write_clock(tmp_path / name, **how))[0], name


@pytest.mark.parametrize("name", FILMS)
def test_any_damage_gives_frames_in_order_or_an_error(tmp_path, name):
    whole = write_clock(tmp_path / name, **FILMS[name], frames=40).read_bytes()
    film, rng = tmp_path / f"damaged-{name}", random.Random(name)
    for _ in range(25):
        data = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.4 else whole)
        for _ in range(rng.choice([0, 1, 10, 100])):
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        film.write_bytes(data)
        times = []
        with suppress(MediaError):
            times = [frame.pts_seconds for frame in read(film)[1]]
        assert times == sorted(set(times))


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:4,\n{film}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {film}\n", "v=0\nm=video 1 RTP/AVP 96\n"]
)
def test_a_list_of_other_files_is_not_a_film(tmp_path, text):
    other = write_clock(tmp_path / "other.ts", format="mpegts")
    (tmp_path / "list.mp4").write_text(text.format(film=other))
    with pytest.raises(MediaError, match="not a video that can be read"):
        read(tmp_path / "list.mp4")


def test_a_name_that_looks_like_an_address_or_a_pattern_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a|b.mp4", "film%03d.mp4", "http:film.mp4", "pipe:0.mkv"):
        write_clock(tmp_path / "film.mkv", frames=3).rename(tmp_path / name)
        assert read(name)[1]


def test_sound_without_pictures_is_not_a_video(tmp_path):
    import wave

    with wave.open(str(tmp_path / "film.mp4"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16_000))
    with pytest.raises(MediaError, match="the file holds no video stream"):
        read(tmp_path / "film.mp4")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"<html><body>404</body></html>", "a web page"),
        (bytes.fromhex("00000018 66747970 6d703432 00000000 6d703432 69736f6d 00001000 6d646174") + bytes(99), "moov.* is missing"),
    ],
)
def test_the_reason_why_a_film_cannot_be_opened_is_told_in_plain_words(tmp_path, data, reason):
    (tmp_path / "film.mp4").write_bytes(data)
    with pytest.raises(MediaError, match=reason):
        read(tmp_path / "film.mp4")
