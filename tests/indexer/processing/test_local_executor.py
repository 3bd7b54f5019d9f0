"""Files on several lanes share batches, stop when asked, and an error of the model ends the run."""

import threading

import numpy as np
import pytest
import torch

from indexer.plan import Task
from indexer.processing import local_executor
from indexer.processing.local_executor import LocalExecutor
from indexer.processing.process import Step
from media.sources.source import SourceFile
from search.collection import Failure, FileRows
from tests.fakes import FakeEncoder, write_film, write_picture


class Recorder(FakeEncoder):
    """Keeps the sizes of batches, and the threads of torch that each could use."""

    def __init__(self):
        super().__init__()
        self.batches, self.threads = [], set()

    def encode_pixels(self, pixels):
        self.batches.append(len(pixels))
        self.threads.add(torch.get_num_threads())
        return super().encode_pixels(pixels)


def tasks_of(*files):
    stats = [file.stat() for file in files]
    found = zip(files, stats, strict=True)
    return [Task(n, "r", file.name, SourceFile(str(file), stat.st_size, stat.st_mtime)) for n, (file, stat) in enumerate(found)]


def pictures(folder, count):
    return tasks_of(*(write_picture(folder / f"{number:03}.png", ("red", "green", "blue")[number % 3]) for number in range(count)))


def executor(encoder, *, workers=2, batch=8):
    return LocalExecutor(encoder, workers=workers, batch=batch, video_limit_seconds=30)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_file_gives_its_own_vectors(tmp_path, workers):
    tasks = pictures(tmp_path, 30)
    results = {done.task.media_id: done.result for done in executor(FakeEncoder(), workers=workers).run(tasks)}
    assert sorted(results) == list(range(30))
    for number, result in results.items():
        expected = FakeEncoder().encode_texts([("red", "green", "blue")[number % 3]])[0]
        np.testing.assert_allclose(result.segments[0].vector, expected, atol=1e-6)


def test_a_lane_fills_its_batches(tmp_path):
    encoder = Recorder()
    list(executor(encoder, workers=1, batch=8).run(pictures(tmp_path, 20)))
    assert encoder.batches == [8, 8, 4]


def test_frames_of_a_film_share_batches_with_pictures(tmp_path):
    encoder = Recorder()
    film = write_film(tmp_path / "a.mp4", [("red", 20.0)])
    tasks = [*tasks_of(film), *(Task(each.media_id + 1, "r", each.path, each.file) for each in pictures(tmp_path, 4))]
    results = [done.result for done in executor(encoder, workers=1, batch=20).run(tasks)]
    assert {type(result) for result in results} == {FileRows}
    assert len(results) == 5
    assert encoder.batches[0] == 20  # 16 frames and four pictures


def test_pictures_are_done_before_the_film_that_they_share_a_batch_with(tmp_path):
    film = write_film(tmp_path / "a.mp4", [("red", 20.0)])
    tasks = [*tasks_of(film), *(Task(each.media_id + 1, "r", each.path, each.file) for each in pictures(tmp_path, 4))]
    seen, threads = [], set()

    def on_part(part):
        seen.append((part.task.media_id, part.share))
        threads.add(threading.current_thread())

    for done in executor(FakeEncoder(), workers=1, batch=20).run(tasks, on_part=on_part):
        seen.append((done.task.media_id, 1))
    assert seen == [(1, 1), (2, 1), (3, 1), (4, 1), (0, pytest.approx(0.75, abs=0.1)), (0, pytest.approx(0.95, abs=0.05)), (0, 1)]
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_lane_does_not_start_a_film_while_others_fill_its_batch(tmp_path, monkeypatch, workers):
    is_open, most = set(), []

    def film(task, options):
        is_open.add(task.media_id)
        for _ in range(10):
            most.append(len(is_open))
            yield Step(np.zeros((16, 4, 4, 3), np.uint8), 0.5)
        is_open.remove(task.media_id)
        return task.failure("decode", "not a film")

    monkeypatch.setattr(local_executor, "process", film)
    assert len(list(executor(FakeEncoder(), workers=workers, batch=32).run(pictures(tmp_path, 12)))) == 12
    assert max(most) <= 2 * workers


def test_a_broken_file_is_a_failure_among_the_results(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    results = [done.result for done in executor(FakeEncoder()).run([*tasks_of(broken), *pictures(tmp_path, 3)])]
    assert [type(result) for result in results].count(Failure) == 1
    assert len(results) == 4


def test_lanes_share_the_cores_and_give_them_back(tmp_path):
    before = torch.get_num_threads()
    encoder = Recorder()
    list(executor(encoder, workers=2 * before).run(pictures(tmp_path, 12)))
    assert encoder.threads == {1}
    assert torch.get_num_threads() == before
    fresh = []
    thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert fresh == [before]


def test_an_error_of_the_model_ends_the_run(tmp_path):
    class Fragile(FakeEncoder):
        def encode_pixels(self, pixels):
            raise ValueError("out of memory")

    with pytest.raises(ValueError, match="out of memory"):
        list(executor(Fragile()).run(pictures(tmp_path, 20)))
    assert not [thread for thread in threading.enumerate() if "lane" in thread.name]


def test_a_run_that_is_closed_stops_and_takes_no_more_files(tmp_path):
    taken = []

    def endless():
        task = pictures(tmp_path, 1)[0]
        while True:
            taken.append(task)
            yield task

    results = executor(FakeEncoder(), batch=1).run(endless())
    assert isinstance(next(results).result, FileRows)
    results.close()
    number = len(taken)
    assert not [thread for thread in threading.enumerate() if "lane" in thread.name]
    assert len(taken) == number


def test_an_error_in_the_list_of_tasks_is_raised(tmp_path):
    def faulty():
        yield from pictures(tmp_path, 2)
        raise OSError("the drive is gone")

    with pytest.raises(OSError, match="the drive is gone"):
        list(executor(FakeEncoder()).run(faulty()))
