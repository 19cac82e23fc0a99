"""One thread for small networks, and a dataset in CIFAR-10's format, written in a test."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.fixtures import one_thread as one_thread

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship"]
IMAGES = 20


@pytest.fixture
def cifar10_pixels(tmp_path: Path) -> np.ndarray:
    """Write 20 training and 20 test images under tmp_path; return the test pixels [20, 3072].

    The pixels are noise and the labels 0..9 twice; of training images four lie in each file.
    """
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    labels = [i % 10 for i in range(IMAGES)]
    train, test = (rng.integers(0, 256, (IMAGES, 3072), dtype=np.uint8) for _ in range(2))
    files = {
        "batches.meta": {"label_names": [*CLASSES, "truck"]},
        "test_batch": {"data": test, "labels": labels},
    }
    for i in range(5):
        part = slice(4 * i, 4 * i + 4)
        files[f"data_batch_{i + 1}"] = {"data": train[part], "labels": labels[part]}
    for name, content in files.items():
        (folder / name).write_bytes(pickle.dumps(content))
    return test
