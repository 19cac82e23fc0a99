"""One thread for small networks, and a set of images that a small network can learn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from spikeconv.data import ImageSet


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from a second thread, and lose much on shared cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def images() -> ImageSet:
    """60 images of noise, 8 x 8 pixels, three classes that differ in brightness."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    noise = torch.randint(100, (60, 3, 8, 8), generator=generator)
    pixels = (noise + 60 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    return ImageSet(pixels, labels, (0.4, 0.4, 0.4), (0.2, 0.2, 0.2))
