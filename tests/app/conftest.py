"""One thread for small networks, and a dataset in CIFAR-10's format, written in a test."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship"]
IMAGES = 20


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from a second thread, and lose much on shared cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def cifar10_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Write 20 training and 20 test images under tmp_path; return the test pixels [20, 3072].

    The pixels are noise and the labels 0..9 twice. torchvision compares md5, so it is told ours.
    """
    cifar10 = torchvision.datasets.CIFAR10
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)

    def write(name: str, content: object) -> tuple[str, str]:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return name, hashlib.md5(data).hexdigest()

    labels = [i % 10 for i in range(IMAGES)]
    train, test = (rng.integers(0, 256, (IMAGES, 3072), dtype=np.uint8) for _ in range(2))
    train_list = [write("data_batch_1", {"data": train, "labels": labels})]
    test_list = [write("test_batch", {"data": test, "labels": labels})]
    name, md5 = write("batches.meta", {"label_names": [*CLASSES, "truck"]})
    monkeypatch.setattr(cifar10, "train_list", train_list)
    monkeypatch.setattr(cifar10, "test_list", test_list)
    monkeypatch.setattr(cifar10, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return test
