"""Fixtures shared by the tests of several packages, one section a package."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from coca_model import CoCaConfig, Encoder
    from coca_model.tokenizer import Tokenizer
    from tests.bucket_server import Bucket, Traffic
    from training.examples.example import Example

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers already use every core, so more threads would only wait
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

# --- every test -------------------------------------------------------------------------------------------------------


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed torch. Skip tests marked `gpu` on a machine without CUDA; with REQUIRE_CUDA=1 they fail instead."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)  # the tests that ran before do not change the random numbers
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            if os.environ.get("REQUIRE_CUDA") == "1":
                pytest.fail("torch finds no GPU, and REQUIRE_CUDA=1")
            pytest.skip("torch finds no GPU")


# --- media, indexer, search: buckets -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Traffic]:
    from tests.bucket_server import serving_buckets

    with serving_buckets() as traffic:
        yield traffic


@pytest.fixture
def bucket(s3_server: Traffic, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucket]:
    """An empty bucket of a server with the protocol of S3, where the environment says. Nothing waits between attempts."""
    from media.sources.remote import faults
    from media.sources.remote.s3 import s3
    from tests.bucket_server import REGION, SECRET, Bucket

    values = {"ACCESS_KEY_ID": "AKIDTEST", "SECRET_ACCESS_KEY": SECRET, "DEFAULT_REGION": REGION, "ENDPOINT_URL": s3_server.url}
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(faults, "WAITS_SECONDS", (0.0,) * len(faults.WAITS_SECONDS))
    s3().files.connect()  # the client of this process, before a test changes the environment
    s3_server.reset()
    yield Bucket(s3_server, f"bucket-{hashlib.md5(request.node.nodeid.encode()).hexdigest()}")
    s3_server.reset()


# --- coca_model: a tiny real CoCa ------------------------------------------------------------------------------------

TINY_SENTENCES = (
    "a dog jumping into a lake",
    "a brown dog runs on the beach",
    "two dogs play with a red ball",
    "a cat sleeps on a sofa",
    "a black cat looks out of the window",
    "a child throws snow",
    "children play football in the park",
    "a man rides a bicycle down a street",
    "a woman reads a book under a tree",
    "people wait for a train",
    "a train crosses a bridge",
    "a red car stands in front of a house",
    "a white boat on the sea",
    "the sun sets behind the mountains",
    "a mountain with snow on its top",
    "a plate of pasta with tomatoes",
    "a cup of coffee on a wooden table",
    "flowers in a vase",
    "a bird sits on a branch",
    "a horse gallops over a field",
)


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    """A byte-level BPE tokenizer trained on `TINY_SENTENCES`. Each of their words is one token; other words are split into letters."""
    from coca_model.tokenizer import train_tokenizer

    return train_tokenizer(TINY_SENTENCES, vocabulary_size=512, context_length=12)


@pytest.fixture(scope="session")
def tiny_config(tiny_tokenizer: Tokenizer) -> CoCaConfig:
    from coca_model.architecture.config import CoCaConfig, ImageConfig, PoolerConfig, TextConfig

    return CoCaConfig(
        image=ImageConfig(32, 8, "patch", width=32, layers=2, heads=2, mlp_width=64, resize="squash"),
        pooler=PoolerConfig(caption_queries=4, heads=2),
        text=TextConfig(
            32, 2, 2, heads=2, mlp_width=64, context_length=12, vocabulary_size=tiny_tokenizer.vocabulary_size, tied_output=True
        ),
        embedding_width=16,
    )


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_config: CoCaConfig, tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 checkpoint folder with random weights from a fixed seed. Copy it before you change it."""
    import torch

    from coca_model.architecture.coca import CoCa
    from coca_model.checkpoints.read_write import save_checkpoint

    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-coca"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_checkpoint(folder, CoCa(tiny_config), tiny_tokenizer, dtype=torch.float32)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tiny_checkpoint: Path) -> Encoder:
    import torch

    from coca_model import load

    return load(tiny_checkpoint, device="cpu", dtype=torch.float32)


# --- training: pictures with captions --------------------------------------------------------------------------------


@pytest.fixture
def make_examples(tmp_path: Path) -> Callable[..., list[Example]]:
    """Return a function that makes `count` examples with the given fields. Each picture is a different JPEG of coarse noise."""
    import numpy as np
    from PIL import Image

    from training.examples.example import Example

    def make(count: int, *, source: str = "pictures", **fields: object) -> list[Example]:
        examples = []
        for number in range(count):
            path = tmp_path / source / f"{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            values = np.random.default_rng(number).integers(0, 256, (5, 7, 3), dtype=np.uint8)
            Image.fromarray(values).resize((70, 50), Image.Resampling.BICUBIC).save(path)
            texts = (f"picture {number}", f"number {number}")
            values_of = {"name": f"{source}/{path.name}", "source": source, "split": "train", "kind": "caption", "texts": texts}
            examples.append(Example(**values_of | {"read": path.read_bytes} | fields))
        return examples

    return make
