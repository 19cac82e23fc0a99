"""Calibration data in every form it may come in, and what is said of any other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import spikeconv
from spikeconv.calibrate import Batches
from tests.convert.nets import Net, converted, dyadic, images

LIKE = torch.empty(0)


def pairs(x: Tensor, batch: int) -> list[tuple[Tensor, Tensor]]:
    return [(part, torch.zeros(len(part), dtype=torch.long)) for part in x.split(batch)]


class Stream(IterableDataset[Tensor]):
    """A dataset without a length."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.x)


FORMS: dict[str, Any] = {
    "tensor": lambda x: x,
    "list of tensors": lambda x: list(x.split(7)),
    "tuple of tensors": lambda x: x.split(7),
    "list of pairs": lambda x: pairs(x, 7),
    "list of lists": lambda x: [list(pair) for pair in pairs(x, 7)],
    "triples": lambda x: [(part, label, "more") for part, label in pairs(x, 7)],
    "generator": lambda x: (part for part in x.split(7)),
    "generator of pairs": lambda x: (pair for pair in pairs(x, 7)),
    "with batches of no images": lambda x: [x[:0], x[:10], x[:0], (x[10:], None), x[:0]],
    "DataLoader of pairs": lambda x: DataLoader(TensorDataset(x, torch.arange(len(x))), 7),
    "DataLoader of tensors": lambda x: DataLoader(x, 7),  # type: ignore[arg-type]
    "DataLoader, shuffled": lambda x: DataLoader(TensorDataset(x), 7, shuffle=True),
    "DataLoader of a stream": lambda x: DataLoader(Stream(x), 7),
    "images one by one": lambda x: x.split(1),
    "float64": lambda x: x.double(),
    "in inference mode": lambda x: torch.inference_mode()(lambda: x + 0)(),
    "with gradient": lambda x: x.clone().requires_grad_(),
}


def state(form: Any, **options: Any) -> dict[str, Tensor]:
    """All parameters of a network that was calibrated on the same 32 images in some form.

    Its arithmetic is exact, so that currents do not depend on the batch.
    """
    torch.manual_seed(0)
    net = Net(lambda s, x: s.head(F.relu(s.c2(F.relu(s.c1(x))))))
    dyadic(net)  # rounds its weights
    snn = converted(net, form(images(32)), T=4, **{"threshold": "mse", **options})
    assert snn.report().settings["calibration_images"] == 32
    return snn.state_dict()


@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str) -> None:
    wanted = state(FORMS["tensor"])
    given = state(FORMS[name])
    assert all(torch.equal(given[key], value) for key, value in wanted.items())


@pytest.mark.parametrize("granularity", ("channel", "layer"))
@pytest.mark.parametrize("threshold", ("max", "percentile", "mse", "mse-closed", "balance"))
def test_neither_order_nor_batches_matter(threshold: str, granularity: str) -> None:
    """Bit for bit the same thresholds, for any permutation in any batches."""
    options = {"threshold": threshold, "granularity": granularity}
    wanted = state(lambda x: x, **options)
    for form in (
        lambda x: x[torch.randperm(32)].split(5),
        lambda x: [x[:1], x[1:30], x[30:]],
        lambda x: x[x.flatten(1).amax(1).argsort()].split(1),
        lambda x: x[x.flatten(1).amax(1).argsort(descending=True)].split(1),
    ):
        given = state(form, **options)
        assert all(torch.equal(given[key], value) for key, value in wanted.items())


@pytest.mark.parametrize("nothing", (torch.zeros(0, 2), [], [torch.zeros(0, 2)], iter(())))
def test_empty(nothing: Any) -> None:
    with pytest.raises(ValueError, match="convert: calibration is empty"):
        Batches(nothing, LIKE)


@pytest.mark.parametrize("bad", (float("nan"), float("inf"), -float("inf")))
def test_not_finite(bad: float) -> None:
    """In a later batch too, of which the number is told."""
    x = torch.ones(6, 2)
    x[4, 1] = bad
    with pytest.raises(ValueError, match="batch 2 holds NaN or infinity"):
        list(Batches(x.split(2), LIKE))
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(ValueError, match="batch 2 holds NaN or infinity"):
        spikeconv.convert(net, x.split(2), progress=False)


def test_images_without_values() -> None:
    with pytest.raises(ValueError, match=r"batch 0 must have values, got shape \[8, 3, 0, 4\]"):
        Batches(torch.zeros(8, 3, 0, 4), LIKE)
    with pytest.raises(TypeError, match="must have values, got a tensor on the meta device"):
        Batches(torch.zeros(8, 3, device="meta"), LIKE)
    with pytest.raises(TypeError, match="must have values, got a tensor on the meta device"):
        Batches([torch.zeros(8, 3, device="meta")], LIKE)


@pytest.mark.parametrize(
    ("data", "says"),
    (
        (None, "a tensor or an iterable of tensors or of .* pairs, got NoneType"),
        (3, "got int"),
        ("images", "got str"),
        ({"x": [torch.ones(2, 2)]}, "got dict"),
        (nn.Linear(2, 2), "got Linear"),
        (torch.ones(2, 2, dtype=torch.uint8), r"0 must .*got torch\.uint8; give images \.float"),
        ([torch.ones(2, 2)] * 2 + [torch.ones(2, 2).int()], r"batch 2 must be .*got torch\.int32"),
        ([[1.0, 2.0]], "batch 0 must be .*got float"),
        ([{"x": [1.0]}], "batch 0 must be .*got list"),
        ([None], "batch 0 must be .*got NoneType"),
        ([()], "batch 0 must be .*got tuple"),
        ((torch.ones(4, 2), torch.zeros(4).long()), "give the images without their labels"),
        (TensorDataset(torch.ones(4, 2)), r"give DataLoader\(dataset, batch_size=64\)"),
        (torch.ones(4, 2).to_sparse(), r"must be dense, got torch\.sparse_coo"),
    ),
)
def test_wrong_types(data: Any, says: str) -> None:
    with pytest.raises(TypeError, match=f"convert: calibration.*{says}"):
        list(Batches(data, LIKE))


@pytest.mark.parametrize("data", (torch.tensor(1.0), [torch.tensor(1.0)]))
def test_scalars(data: Any) -> None:
    with pytest.raises(ValueError, match=r"calibration.* must be .*\.\.\.\], got a scalar"):
        Batches(data, LIKE)


def test_taken_to_the_network_s_dtype_in_batches_read_once() -> None:
    read: list[int] = []

    def source() -> Iterator[Tensor]:
        for index in range(3):
            read.append(index)
            yield torch.full((2, 1), float(index))

    batches = Batches(source(), LIKE.double())
    assert read == [0]  # the first is there to be looked at
    assert batches.first.flatten().tolist() == [0, 0]
    values = list(batches)
    assert read == [0, 1, 2] and batches.images == 6
    assert torch.cat(values).flatten().tolist() == [0, 0, 1, 1, 2, 2]
    assert {value.dtype for value in values} == {torch.float64}


def test_a_tensor_is_cut_into_batches() -> None:
    assert [len(batch) for batch in Batches(torch.zeros(130, 1), LIKE)] == [64, 64, 2]


@pytest.mark.parametrize("form", ("tensor", "generator", "DataLoader of a stream"))
def test_progress(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    net = Net(lambda s, x: s.head(F.relu(s.c1(x))))
    spikeconv.convert(net, FORMS[form](images(8)), progress=False)
    assert capsys.readouterr() == ("", "")
    spikeconv.convert(net, FORMS[form](images(8)))
    out, err = capsys.readouterr()
    assert out == "" and "calibrating" in err and "batch" in err


def test_a_batch_with_which_a_layer_fails() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 8), nn.ReLU())
    batches: Any = [torch.randn(4, 2, 4), torch.randn(0, 2, 4), torch.randn(4, 2, 5)]
    says = r"calibration batch 2 must be like \[B, 2, 4\], got shape \[4, 2, 5\], .*4x10 and 8x8"
    with pytest.raises(ValueError, match=says):
        converted(net, batches)


def test_data_is_not_written() -> None:
    x = images(8)
    before = x.clone()
    spikeconv.convert(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(2, 2, 3)), x, progress=False)
    assert torch.equal(x, before)


def test_a_network_that_overflows() -> None:
    """The data is fine, the currents are not; the activation is named."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    nn.init.constant_(net[0].weight, 3e38)
    with pytest.raises(ValueError, match=r"activation '1' .*a current is NaN or infinite"):
        spikeconv.convert(net, torch.ones(4, 2), progress=False)
