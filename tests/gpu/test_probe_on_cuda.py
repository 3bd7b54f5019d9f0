"""The attentional pooler of `coca-search eval classify` trains on CUDA and on the CPU with the same result."""

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.gpu


class Tokens:
    """Features of 40 pictures in two classes. The classes differ in half of the dimensions."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.labels = np.arange(40) % 2
        shift = 2 * self.labels[:, None, None, None] * (np.arange(32) < 16)
        self.tokens = (random.normal(size=(40, 1, 4, 32)) + shift).astype(np.float16)

    def load(self, rows):
        return [{"tokens": self.tokens[row]} for row in rows]


def test_the_pooler_learns_the_classes_and_its_scores_agree_with_the_cpu():
    for package in ("av", "decord"):
        pytest.importorskip(package, reason=f"{package}, which the probe's reader of videos needs, is not installed")
    from evaluation.tasks.probe import ProbeOptions, pooler_scores, train_pooler

    data, scores = Tokens(), {}
    options = ProbeOptions(epochs=5, batch_size=8, learning_rate=3e-3)
    for device in ("cpu", "cuda"):
        probe = train_pooler(data, data.labels, 2, options, heads=2, device=torch.device(device))
        assert next(probe.parameters()).device.type == device
        scores[device] = pooler_scores(probe, data, range(40))
    assert (scores["cuda"].argmax(1) == data.labels).all()
    np.testing.assert_allclose(scores["cuda"], scores["cpu"], atol=0.05)
