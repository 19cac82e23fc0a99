"""Augmentations: what they do to an image, and that the generator alone decides."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from spikeconv.data import ImageSet, Photos
from spikeconv.data.photos import random_window
from spikeconv.train.augment import AUGMENTATIONS, augmented, crop, cutout, default_names, flip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def noise() -> Tensor:
    return torch.randint(1, 256, (40, 3, 32, 32), generator=generator(7), dtype=torch.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> ImageSet:
    """Two pictures whose red grows to the right and whose green grows downwards."""
    paths = []
    for name, (width, height) in {"wide": (300, 240), "tall": (230, 290)}.items():
        picture = Image.new("RGB", (width, height))
        picture.putdata(
            [(255 * x // width, 255 * y // height, 9) for y in range(height) for x in range(width)]
        )
        paths.append(str(tmp_path / f"{name}.png"))
        picture.save(paths[-1])
    return ImageSet(Photos(paths), torch.tensor([0, 1]))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_generator_alone_decides(noise: Tensor, name: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = AUGMENTATIONS[name](noise, generator())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(AUGMENTATIONS[name](noise, generator()), first)
    assert not torch.equal(AUGMENTATIONS[name](noise, generator(1)), first)
    assert (first.shape, first.dtype) == (noise.shape, torch.uint8)


def test_a_crop_is_a_window_of_the_padded_image(noise: Tensor) -> None:
    padded = torch.nn.functional.pad(noise, (4, 4, 4, 4))
    windows = padded.unfold(2, 32, 1).unfold(3, 32, 1)  # [B, C, 9, 9, 32, 32]
    cropped = crop(noise, generator())
    same = (windows == cropped[:, :, None, None]).all(-1).all(-1).all(1)
    assert same.flatten(1).any(1).all()
    assert len({tuple(place.tolist()) for place in same.nonzero()[:, 1:]}) > 20


def test_a_flip_mirrors_about_half_of_the_images(noise: Tensor) -> None:
    flipped = flip(noise, generator())
    mirrored = (flipped == noise.flip(3)).flatten(1).all(1)
    kept = (flipped == noise).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 10 < int(mirrored.sum()) < 30


def test_cutout_blackens_one_square(noise: Tensor) -> None:
    cut = cutout(noise, generator())
    black = (cut == 0).all(1)
    assert torch.equal(cut, noise.masked_fill(black.unsqueeze(1), 0))
    for hole in black:
        rows, columns = hole.any(1).nonzero(), hole.any(0).nonzero()
        height = int(rows.max() - rows.min()) + 1
        width = int(columns.max() - columns.min()) + 1
        assert 8 <= height <= 16 and 8 <= width <= 16
        assert int(hole.sum()) == height * width


def test_cutout_comes_after_the_normalisation(noise: Tensor) -> None:
    """Wherever it is named, its hole is the mean; the rest is as without it."""
    images = ImageSet(noise, torch.zeros(len(noise)), (0.25, 0.5, 0.75), (0.5, 0.25, 0.125))
    indices = torch.arange(len(noise))
    for names in (("cutout",), ("cutout", "flip"), ("flip", "cutout")):
        x = augmented(images, indices, names, generator())
        without = augmented(
            images, indices, [name for name in names if name != "cutout"], generator()
        )
        hole = (x == 0).all(1, keepdim=True)
        assert hole.flatten(1).sum(1).min() >= 8 * 8 and hole.flatten(1).sum(1).max() <= 16 * 16
        assert torch.equal(x, without.masked_fill(hole, 0))


def test_cutout_leaves_three_quarters_of_a_small_image() -> None:
    white = torch.full((50, 1, 8, 8), 255, dtype=torch.uint8)
    holes = (cutout(white, generator()) == 0).sum((1, 2, 3))
    assert holes.min() >= 2 * 2 and holes.max() == 4 * 4


def test_autoaugment_changes_most_images_and_keeps_their_content(noise: Tensor) -> None:
    changed = AUGMENTATIONS["autoaugment"](noise, generator())
    assert 20 < sum(not torch.equal(a, b) for a, b in zip(changed, noise, strict=True)) <= 40


def test_jitter_is_weak(noise: Tensor) -> None:
    grey = torch.full((20, 3, 4, 4), 100, dtype=torch.uint8)
    changed = AUGMENTATIONS["jitter"](grey, generator())
    # Contrast, saturation and hue leave an even grey alone; brightness changes it by 20 % at most.
    assert 79 <= int(changed.min()) < int(changed.max()) <= 121


def test_photos_are_cut_to_windows_of_their_own(photos: ImageSet) -> None:
    indices = torch.tensor([0, 1, 0])
    first = augmented(photos, indices, ("crop",), generator())
    assert first.shape == (3, 3, 224, 224)
    assert torch.equal(augmented(photos, indices, ("crop",), generator()), first)
    assert not torch.equal(first[0], first[2])
    # A window keeps what the picture has: red grows to the right, green downwards.
    assert (first[:, 0].diff(dim=2) >= 0).all() and (first[:, 1].diff(dim=1) >= 0).all()
    centre = augmented(photos, indices, (), generator())
    assert torch.equal(centre, photos.read(indices))


@pytest.mark.parametrize(("height", "width"), [(224, 224), (50, 1000), (1000, 50), (1, 1), (3, 2)])
def test_a_window_lies_in_its_image(height: int, width: int) -> None:
    draw = generator()
    for _ in range(200):
        top, left, tall, wide = random_window(height, width, draw)
        assert 0 <= top <= top + tall <= height and 0 <= left <= left + wide <= width
        assert tall >= 1 and wide >= 1
        if min(height, width) > 40:
            assert 0.74 < wide / tall < 1.35


def test_each_dataset_has_its_augmentations() -> None:
    assert default_names("digits") == ()
    assert default_names("cifar100") == ("crop", "flip")
    assert default_names("folder") == ("crop", "flip", "jitter")
