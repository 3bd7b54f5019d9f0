"""A film in a bucket: what PyAV downloads of it for its metadata and its first frames, and that all of it is right."""

import io

import av
import numpy as np
import pytest

from media.errors import MediaError
from media.sources.choose import source_of
from media.video.decoder import VideoDecoder
from media.video.film import read_film
from media.video.frame_at import frame_at
from media.video.messages import Request


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


@pytest.mark.parametrize("name", ["end", "start", "mkv"])
def test_the_worker_reads_a_film_of_a_bucket_once_and_as_a_file(bucket, films, name, tmp_path):
    bucket.put("film", films[name])
    (tmp_path / "film").write_bytes(films[name])
    with VideoDecoder() as videos:
        with videos.open(tmp_path / "film") as video:
            expected = [(frame.pts_seconds, frame.pixels.tobytes()) for frame in video.frames], video.metadata
        bucket.traffic.reset()
        with videos.open(bucket.uri("film")) as video:
            assert ([(frame.pts_seconds, frame.pixels.tobytes()) for frame in video.frames], video.metadata) == expected
    assert bucket.traffic.num_bytes < 1.1 * len(films[name])


def test_one_frame_of_a_film_downloads_a_part_of_it(bucket, films):
    bucket.put("film", films["start"])
    bucket.traffic.reset()
    assert frame_at(bucket.uri("film"), 0.2).size == (320, 240)
    assert bucket.traffic.num_bytes < 0.3 * len(films["start"])


def test_a_film_that_cannot_be_read_to_its_end_is_no_damaged_film(bucket, films):
    bucket.put("film", films["end"])
    with VideoDecoder() as videos, videos.open(bucket.uri("film")) as video:
        next(video.frames)
    bucket.traffic.fault("GET", "film", times=99, status=403, code="AccessDenied")
    with VideoDecoder() as videos, pytest.raises(MediaError, match="No permission") as error, videos.open(bucket.uri("film")):
        pass
    assert error.value.stage == "read"
    bucket.traffic.reset()
    requests = iter(range(99))

    def replace():
        if next(requests) == 2:
            bucket.put("film", films["start"])

    bucket.traffic.fault("GET", "film", times=99, before=replace)
    with pytest.raises(MediaError, match="replaced while it was read") as error:
        list(read_film(Request(bucket.uri("film"))))
    assert error.value.stage == "read"
