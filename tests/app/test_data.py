"""Datasets: what is read, how it is normalised, what is said when it is not there."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from spikeconv.data import DATASETS, Batches, ImageSet, load_dataset


def write_folder(root: Path, classes: tuple[str, ...] = ("cat", "dog")) -> None:
    """Write two images of 300 x 280 pixels for each class and part: class i is grey 100 * i."""
    for part in ("train", "val"):
        for i, name in enumerate(classes):
            (root / part / name).mkdir(parents=True)
            for j in range(2):
                Image.new("RGB", (300, 280), (100 * i,) * 3).save(root / part / name / f"{j}.png")


def test_images_are_normalised_when_read() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    images = ImageSet(pixels, torch.zeros(1), mean=(0.5, 0.1, 0.0), std=(0.5, 0.1, 2.0))
    torch.testing.assert_close(
        images.read(torch.tensor([0])).flatten(), torch.tensor([-1.0, 1.0, 0.5])
    )


def test_a_limit_takes_evenly_spaced_images() -> None:
    images = ImageSet(torch.zeros(10, 1, 1, 1, dtype=torch.uint8), torch.arange(10))
    labels = [y.tolist() for _, y in images.batches(3, limit=5)]
    assert labels == [[0, 2, 4], [6, 8]]
    batches = images.batches(4)
    assert len(batches) == 3
    assert torch.cat([y for _, y in batches]).tolist() == list(range(10))
    assert torch.cat([y for _, y in batches]).tolist() == list(range(10)), "it can be read twice"
    assert images.batches(4, limit=99).count == 10


@pytest.mark.parametrize(("size", "count"), [(0, 3), (3, 0), (-1, 3)])
def test_batches_of_nothing_are_refused(size: int, count: int) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        Batches(ImageSet(torch.zeros(3, 1, 1, 1), torch.zeros(3)), size, count)


def test_a_sample_is_drawn_without_repetition_by_its_seed() -> None:
    pixels = torch.arange(100, dtype=torch.uint8).reshape(100, 1, 1, 1)
    images = ImageSet(pixels, torch.zeros(100))
    first = images.sample(40, seed=1)
    assert first.unique().numel() == 40
    assert torch.equal(first, images.sample(40, seed=1))
    assert not torch.equal(first, images.sample(40, seed=2))
    for count in (0, 101):
        with pytest.raises(ValueError, match=rf"count must be in 1\.\.100 .*got {count}"):
            images.sample(count)


def test_cifar10_is_read_as_it_was_written(tmp_path: Path, cifar10_pixels: np.ndarray) -> None:
    data = load_dataset("cifar10", tmp_path, mean=(0, 0, 0), std=(1, 1, 1))
    assert data.classes[0] == "airplane" and len(data.classes) == 10
    assert (len(data.train), len(data.test)) == (20, 20)
    assert data.test.labels.tolist() == [i % 10 for i in range(20)]
    expected = torch.from_numpy(cifar10_pixels).reshape(20, 3, 32, 32).float() / 255
    torch.testing.assert_close(data.test.read(torch.arange(20)), expected)
    usual = load_dataset("cifar10", tmp_path / "cifar-10-batches-py")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(
        usual.test.read(torch.arange(2)),
        (expected[:2] - mean[:, None, None]) / std[:, None, None],
    )


@pytest.mark.usefixtures("cifar10_pixels")
def test_a_file_of_cifar10_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match="cifar10: data_batch_3 is missing in "):
        load_dataset("cifar10", tmp_path)


class Program:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return print, ("it ran",)


PIXELS = np.zeros((2, 3072), dtype=np.uint8)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (Program(), "reading it failed: it names builtins.print, which no array needs"),
        ([1, 2], "a dict with 'data' and 'labels'"),
        ({"data": PIXELS}, "a dict with 'data' and 'labels'"),
        ({"data": PIXELS.astype(np.float32), "labels": [0, 1]}, "found float32 "),
        ({"data": PIXELS[:, :100], "labels": [0, 1]}, r"uint8 \[N, 3072\], found uint8 \(2, 100\)"),
        ({"data": [1], "labels": [0]}, "uint8 .*, found <class 'list'>"),
        ({"data": PIXELS, "labels": [0, 1, 2]}, "a label for each of 2 images"),
        ({"data": PIXELS, "labels": [0.5, 1]}, "a label for each of 2 images"),
        ({"data": PIXELS, "labels": [[0], [1, 2]]}, "a label for each of 2 images"),
        ({"data": PIXELS, "labels": [0, 10]}, r"labels in 0\.\.9, found 0 to 10"),
        ({"data": PIXELS[:0], "labels": []}, "at least one image"),
    ],
)
@pytest.mark.usefixtures("cifar10_pixels")
def test_a_damaged_file_of_cifar10_says_what_is_wrong(
    tmp_path: Path, content: object, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=f"cifar10: .*test_batch: wanted .*{wanted}"):
        load_dataset("cifar10", tmp_path)
    assert capsys.readouterr().out == ""
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"cifar10: .*test_batch: wanted a pickled dict"):
        load_dataset("cifar10", tmp_path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.usefixtures("cifar10_pixels")
def test_cifar_is_read_by_whatever_protocol_it_was_pickled(tmp_path: Path, protocol: int) -> None:
    pixels = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    content = {"data": pixels, "labels": np.array([3, 9])}
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    test = load_dataset("cifar10", tmp_path).test
    assert torch.equal(test.raw(torch.arange(2)).flatten(1), torch.from_numpy(pixels))
    assert test.labels.tolist() == [3, 9]


@pytest.mark.parametrize(
    ("name", "wanted"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")]
)
def test_a_folder_without_cifar_says_what_is_wanted(tmp_path: Path, name: str, wanted: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"{name}: looked in .* wanted the folder {wanted}"):
        load_dataset(name, tmp_path)
    with pytest.raises(FileNotFoundError, match=f"{name}: looked in .*none, which is no folder"):
        load_dataset(name, tmp_path / "none")
    with pytest.raises(ValueError, match=f"{name} needs data_dir"):
        load_dataset(name)


def test_an_image_folder_is_cropped_and_normalised(tmp_path: Path) -> None:
    write_folder(tmp_path)
    data = load_dataset("folder", tmp_path)
    assert data.classes == ("cat", "dog")
    (x, labels), *rest = data.test.batches(4)
    assert (x.shape, labels.tolist(), rest) == ((4, 3, 224, 224), [0, 0, 1, 1], [])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(x[0, :, 0, 0], -mean / std)
    torch.testing.assert_close(x[3, :, 100, 7], (100 / 255 - mean) / std)
    assert data.train.sample(3).shape == (3, 3, 224, 224)


def test_an_image_folder_that_is_not_whole(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="wanted the folder train there"):
        load_dataset("imagenet", tmp_path)
    write_folder(tmp_path)
    (tmp_path / "val" / "dog").rename(tmp_path / "val" / "dogs")
    with pytest.raises(ValueError, match="same classes, but only one of them has dog, dogs"):
        load_dataset("imagenet", tmp_path)


@pytest.mark.parametrize("left", [0, 5, 100])
def test_a_damaged_image_is_named(tmp_path: Path, left: int) -> None:
    write_folder(tmp_path)
    path = tmp_path / "val" / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:left])
    data = load_dataset("imagenet", tmp_path)
    data.test.read(torch.tensor([0, 2]))
    said = rf"load_dataset: imagenet: {path}: wanted an image, found none that can be read"
    with pytest.raises(ValueError, match=said):
        data.test.read(torch.tensor([0, 3]))


@pytest.mark.parametrize("name", ["0.png", "0.tiff", "0.pgm"])
def test_16_bits_are_scaled_by_their_full_range(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path)
    grey = np.full((300, 280), 0x6464, dtype=np.uint16)  # 100 in both of its bytes
    path = tmp_path / "val" / "dog" / name
    Image.fromarray(grey).save(path)
    data = load_dataset("folder", tmp_path, mean=(0, 0, 0), std=(1, 1, 1))
    index = data.test.images.paths.index(str(path))
    assert data.test.raw(torch.tensor([index])).unique().tolist() == [100]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_numbers_without_a_range_are_no_image(tmp_path: Path, dtype: type) -> None:
    write_folder(tmp_path)
    path = tmp_path / "train" / "cat" / "0.tiff"
    Image.fromarray(np.full((300, 280), 1000, dtype=dtype)).save(path)
    data = load_dataset("folder", tmp_path)
    with pytest.raises(ValueError, match=rf"{path}: wanted an image, .*of its numbers is white"):
        data.train.read(torch.arange(len(data.train)))


@pytest.mark.parametrize("tags", [{258: 12}, {262: 0}])
def test_other_tiffs_of_16_bits_are_no_image(tmp_path: Path, tags: dict[int, int]) -> None:
    """Of 12 bits white is 4,095, and where 0 is white it is not the largest."""
    write_folder(tmp_path)
    path = tmp_path / "train" / "cat" / "0.tiff"
    Image.fromarray(np.full((300, 280), 4095, dtype=np.uint16)).save(path)
    content = path.read_bytes()
    for tag, value in tags.items():  # an entry: tag, type 3, count 1, value
        place = content.index(struct.pack("<HHI", tag, 3, 1)) + 8
        content = content[:place] + struct.pack("<H", value) + content[place + 2 :]
    path.write_bytes(content)
    data = load_dataset("folder", tmp_path)
    with pytest.raises(ValueError, match=rf"{path}: wanted an image, .*of its numbers is white"):
        data.train.read(torch.arange(len(data.train)))


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path)
    for path in (tmp_path / "train" / "cat").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"folder: {tmp_path / 'train'}: .*classes cat"):
        load_dataset("folder", tmp_path)


def test_digits_are_split_by_the_seed() -> None:
    data = load_dataset("digits")
    assert (len(data.train), len(data.test), len(data.classes)) == (1437, 360, 10)
    x = data.train.read(torch.arange(1437))
    assert x.shape == (1437, 1, 8, 8)
    torch.testing.assert_close(torch.stack([x.mean(), x.std()]), torch.tensor([0.0, 1.0]))
    again, other = load_dataset("digits"), load_dataset("digits", seed=1)
    assert torch.equal(data.test.labels, again.test.labels)
    assert not torch.equal(data.test.labels, other.test.labels)


def test_digits_keep_every_grey_level() -> None:
    data = load_dataset("digits", mean=(0.0,), std=(1.0,))
    both = torch.cat([part.read(torch.arange(len(part))) for part in (data.train, data.test)])
    theirs = torch.from_numpy(load_digits().images).float()
    ours = both * 16
    torch.testing.assert_close(ours.sum(), theirs.sum(), rtol=1e-3, atol=0)
    assert ours.round().unique().tolist() == list(range(17))
    assert float((ours - ours.round()).abs().max()) < 0.05


def test_an_unknown_dataset_and_wrong_statistics(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"one of {', '.join(DATASETS)}, got 'mnist'"):
        load_dataset("mnist", tmp_path)
    with pytest.raises(ValueError, match="cifar10 needs 3 finite numbers as mean"):
        load_dataset("cifar10", tmp_path, mean=(0.5,))
    for name, channels in (("cifar10", 3), ("digits", 1)):
        with pytest.raises(ValueError, match=rf"{name} needs {channels} .* got \(\) and \("):
            load_dataset(name, tmp_path, mean=())
    with pytest.raises(ValueError, match="3 above 0 as std"):
        load_dataset("cifar10", tmp_path, std=(1, 0, 1))


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_statistics_may_be_arrays_and_tensors(kind: Any, tmp_path: Path) -> None:
    write_folder(tmp_path)
    data = load_dataset("folder", tmp_path, mean=kind([0.5] * 3), std=kind([0.25] * 3))
    assert (data.train.mean, data.train.std) == ((0.5,) * 3, (0.25,) * 3)


def test_cifar100_is_read_with_its_fine_labels(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    pixels = np.full((2, 3072), 255, dtype=np.uint8)
    part = {"data": pixels, "fine_labels": [7, 99], "coarse_labels": [0, 1]}
    meta = {"fine_label_names": [f"class {i}" for i in range(100)]}
    for name, content in (("train", part), ("test", part), ("meta", meta)):
        (folder / name).write_bytes(pickle.dumps(content))
    data = load_dataset("cifar100", tmp_path, mean=(0, 0, 0), std=(1, 1, 1))
    assert len(data.classes) == 100
    assert data.test.labels.tolist() == [7, 99]
    assert data.train.read(torch.tensor([1])).min() == 1


def test_images_come_near_a_device_unless_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    images = ImageSet(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.arange(3))
    there = torch.device("meta")
    near = images.near(there)
    assert isinstance(near.images, torch.Tensor)
    assert {near.images.device, near.labels.device} == {there}
    monkeypatch.setattr("spikeconv.data.images._LARGE", 12)
    far = images.near(there)
    assert far.images is images.images and far.labels.device == there
