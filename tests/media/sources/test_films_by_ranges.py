"""A film in a bucket: what PyAV downloads of it for its metadata and its first frames, and that all of it is right."""

import io

import av
import numpy as np
import pytest

from media.sources.choose import source_of


def film(path, *, seconds=20, **options):
    """A film of noise of several MB, so that its frames are much larger than its index."""
    rng = np.random.default_rng(0)
    with av.open(path, "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 240, "yuv420p", 8_000_000
        for _ in range(seconds * 10):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    made = {"end": film(folder / "a.mp4"), "start": film(folder / "b.mp4", movflags="faststart"), "mkv": film(folder / "c.mkv")}
    assert made["end"].index(b"moov") > len(made["end"]) // 2 > made["start"].index(b"moov")
    assert min(map(len, made.values())) > 5_000_000
    return made


@pytest.mark.parametrize("name", ["end", "start", "mkv"])
def test_metadata_and_first_frames_download_a_small_part_of_a_film(bucket, films, name):
    bucket.put("film", films[name])
    bucket.traffic.reset()
    with source_of(bucket.uri()).open(bucket.uri("film")) as file, av.open(file) as container:
        assert container.duration == pytest.approx(20e6, rel=0.02)
        assert container.streams.video[0].width == 320
        opened = bucket.traffic.num_bytes
        frames = [frame.time for frame, _ in zip(container.decode(video=0), range(5), strict=False)]
    assert frames == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4], abs=0.01)
    assert opened < 0.15 * len(films[name])
    assert bucket.traffic.num_bytes < 0.2 * len(films[name])


@pytest.mark.parametrize("name", ["end", "start", "mkv"])
def test_a_whole_film_is_downloaded_once_and_decodes_as_from_a_file(bucket, films, name):
    bucket.put("film", films[name])
    bucket.traffic.reset()
    with source_of(bucket.uri()).open(bucket.uri("film")) as file, av.open(file) as container:
        times = [frame.time for frame in container.decode(video=0)]
    with av.open(io.BytesIO(films[name])) as container:
        assert times == [frame.time for frame in container.decode(video=0)]
    assert bucket.traffic.num_bytes < 1.1 * len(films[name])
    assert len(bucket.traffic.of("GET", "film")) < 12


def test_a_film_is_read_through_cut_connections(bucket, films):
    bucket.put("film", films["end"])
    source = source_of(bucket.uri())
    with source.open(bucket.uri("film")) as file, av.open(file) as container:
        for number, _ in enumerate(container.decode(video=0), start=1):
            if number % 50 == 1:
                bucket.traffic.fault("GET", "film", times=2, keep=10_000)
    assert number == 200
    assert not any(rule.times for rule in bucket.traffic.rules[:2])
