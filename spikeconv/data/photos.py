"""Image files of any size, opened when they are asked for and cut to 224 x 224 pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

SIZE = 224
_RESIZED = 256
# Of a random window: its share of the area, its width over its height, how often one is drawn.
_AREA = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)
_ATTEMPTS = 10
# Formats of which Pillow gives 16 bits as its 32-bit integers.
_IN_16_BITS = ("PNG", "PPM")
# Of a TIFF: bits of a sample, and whether its largest is white, 1, or black.
_TAGS = (258, 262)


@dataclass(frozen=True)
class Photos:
    """Image files as uint8 ``[3, 224, 224]``, opened when they are read.

    Args:
        paths: the files.
        name: of the dataset, for errors.

    Reading raises ValueError, naming the file, where one is no image or damaged.
    """

    paths: Sequence[str]
    name: str = "folder"

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Return the images at int64 indices ``[n]``, uint8 ``[n, 3, 224, 224]``.

        Args:
            indices: which.
            seeds: int64 ``[n]``, each of which draws a window of its image, as `random_window`
                does; without, the shorter side becomes 256 pixels and the centre is cut out.
        """
        chosen = [None] * len(indices) if seeds is None else seeds.tolist()
        # Threads are enough: decoding and resizing run outside the interpreter's lock.
        with ThreadPoolExecutor() as pool:
            return torch.stack(list(pool.map(self._open, indices.tolist(), chosen)))

    def _open(self, index: int, seed: int | None) -> Tensor:
        from PIL import Image
        from torchvision.transforms import functional as F

        path = self.paths[index]
        try:
            with Image.open(path) as opened:
                image = _rgb(opened)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise whatever the bytes lead them to
            raise ValueError(
                f"load_dataset: {self.name}: {path}: wanted an image, found none that can be read "
                f"({error or type(error).__name__}); replace it, or take it out of the folder"
            ) from error
        if seed is None:
            image = F.center_crop(F.resize(image, _RESIZED), [SIZE, SIZE])
        else:
            width, height = image.size
            window = random_window(height, width, torch.Generator().manual_seed(seed))
            image = F.resized_crop(image, *window, [SIZE, SIZE])
        pixels: Tensor = F.pil_to_tensor(image)
        return pixels


def _rgb(image: Any) -> Any:
    """An image of Pillow's in 8 bits and three colours; 16 bits are scaled by their full range.

    Raises:
        ValueError: its numbers have no known range.
    """
    from PIL import Image

    # Pillow's own conversion takes all above 255 for white.
    unknown = image.mode == "F" or (image.mode == "I" and image.format not in _IN_16_BITS)
    if image.mode.startswith("I;16") and image.format == "TIFF":
        unknown = [image.tag_v2.get(tag) for tag in _TAGS] != [(16,), 1]
    if unknown:
        raise ValueError(f"which of its numbers is white is not known: Pillow's mode {image.mode}")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int32)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    return image.convert("RGB")


def random_window(height: int, width: int, generator: torch.Generator) -> tuple[int, int, int, int]:
    """Draw a window (top, left, height, width) of an image.

    Its area is 8 % to all of the image's, the ratio of its sides 3/4 to 4/3 with an even logarithm.
    After ten windows that do not fit, it is the largest central one with such a ratio.

    Source: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 6.

    Example:
        >>> random_window(100, 1000, torch.Generator().manual_seed(0))[2] <= 100
        True
    """
    low, high = map(math.log, _RATIO)
    for _ in range(_ATTEMPTS):
        area, ratio, top, left = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        pixels = height * width * (_AREA[0] + area * (_AREA[1] - _AREA[0]))
        shape = math.exp(low + ratio * (high - low))
        tall, wide = round(math.sqrt(pixels / shape)), round(math.sqrt(pixels * shape))
        if 0 < tall <= height and 0 < wide <= width:
            return int(top * (height - tall + 1)), int(left * (width - wide + 1)), tall, wide
    shape = min(max(width / height, _RATIO[0]), _RATIO[1])
    tall = min(height, max(1, round(width / shape)))
    wide = min(width, max(1, round(height * shape)))
    return (height - tall) // 2, (width - wide) // 2, tall, wide
