"""One thread for small networks, and a set of images that a small network can learn."""

from __future__ import annotations

import pytest
import torch

from spikeconv.data import ImageSet
from tests.fixtures import one_thread as one_thread


@pytest.fixture(scope="session")
def images() -> ImageSet:
    """60 images of noise, 8 x 8 pixels, three classes that differ in brightness."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    noise = torch.randint(100, (60, 3, 8, 8), generator=generator)
    pixels = (noise + 60 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    return ImageSet(pixels, labels, (0.4, 0.4, 0.4), (0.2, 0.2, 0.2))
