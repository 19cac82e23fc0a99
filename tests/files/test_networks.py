"""Every kind of converted network comes out of its file as it went in, bit for bit."""

from __future__ import annotations

import copy
import io
import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv
from spikeconv import SpikingResNet, SpikingVGG
from spikeconv.convert.given import convert_given
from spikeconv.models import build_model
from spikeconv.network.network import SpikingNetwork
from tests.convert.bodies import NETWORKS
from tests.convert.nets import Net, converted, images, settled
from tests.convert.test_analog import OPERATIONS, sandwich
from tests.convert.test_together import EVERYTHING, TwoImages, pairs
from tests.files.roundtrip import assert_equal_networks, assert_equal_outputs, reloaded


@pytest.mark.parametrize("signed", (False, True), ids=("unsigned", "signed"))
@pytest.mark.parametrize("name", NETWORKS)
def test_structures(name: str, signed: bool, tmp_path: Path) -> None:
    snn = converted(NETWORKS[name](), T=4, signed=signed)
    assert_equal_networks(reloaded(snn, tmp_path), snn, images(3))


@pytest.mark.parametrize("name", ("residual", "scaled"))
def test_corrections(name: str, tmp_path: Path) -> None:
    """Refitted weights beside the ANN's own, biases of every kind, and what was tried."""
    snn = converted(NETWORKS[name](), T=4, corrections=EVERYTHING, signed=True)
    assert len(snn.originals)
    assert all(node.step_bias is not None for node in snn.populations().values())
    assert_equal_networks(reloaded(snn, tmp_path), snn, images(3))
    best = converted(NETWORKS[name](), T=4, method="best", threshold=None)
    again = reloaded(best, tmp_path)
    assert len(again.report().tried) == 3
    assert_equal_networks(again, best, images(3))


@pytest.mark.parametrize("v_init", (0.25, "uniform", "gaussian"))
@pytest.mark.parametrize("granularity", ("layer", "channel"))
def test_potentials(v_init: Any, granularity: str, tmp_path: Path) -> None:
    options = {"v_init": v_init, "granularity": granularity, "seed": 3}
    snn = converted(NETWORKS["plain"](), T=4, **options)
    assert_equal_networks(reloaded(snn, tmp_path), snn, images(3))


def test_timing(tmp_path: Path) -> None:
    """Also what it was set to after conversion, and the report of other images."""
    snn = converted(NETWORKS["residual"](), T=9, srp=2, cos=1, delay=3)
    again = reloaded(snn, tmp_path)
    assert_equal_networks(again, snn, images(3))
    x = images(4)
    assert repr(again.report(x)) == repr(snn.report(x))
    snn.T = 12
    assert_equal_networks(reloaded(snn, tmp_path), snn, images(3))


def test_several_inputs(tmp_path: Path) -> None:
    snn = converted(TwoImages(), [pairs(16)], T=4)
    again = reloaded(snn, tmp_path)
    x = pairs(3)
    assert_equal_networks(again, snn, *x)
    assert_equal_outputs(again(other=x[1], x=x[0]), snn(*x))


class _Indexed(nn.Module):
    """Reads whole numbers beside the images, and weights in functions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor, kind: Tensor) -> Any:
        gate = torch.sigmoid(self.embed(kind))[..., None, None]
        return self.fc(F.relu(self.conv(x) + gate).mean((2, 3)))


def test_whole_numbers_and_analog_layers(tmp_path: Path) -> None:
    data = [(images(16), torch.randint(0, 7, (16,)))]
    snn = converted(_Indexed(), data, T=4, analog=True)
    again = reloaded(snn, tmp_path)
    assert [kept.operation for kept in again.report().analog] == ["Embedding", "torch.sigmoid"]
    assert_equal_networks(again, snn, images(3), torch.randint(0, 7, (3,)))


def test_arithmetic_with_sizes_and_checks_of_them(tmp_path: Path) -> None:
    def body(s: Net, x: Tensor) -> Any:
        torch._assert(x.shape[2] % 2 == 0, "rows in twos")
        missing = math.ceil(x.shape[2] / 3) * 3 - x.shape[2]
        h = F.relu(s.c1(F.pad(x, (0, 0, missing, 0))))
        return s.head(h / math.sqrt(x.shape[2]) + math.floor(x.shape[3] / 5))

    snn = converted(Net(body), T=4)
    again = reloaded(snn, tmp_path)
    assert_equal_networks(again, snn, images(3))
    with pytest.raises(AssertionError, match="rows in twos"):
        again(images(3, 2, 7, 8))


@pytest.mark.parametrize("where", ("before", "after"))
@pytest.mark.parametrize("name", OPERATIONS)
def test_kept_analog(name: str, where: str, tmp_path: Path) -> None:
    snn = converted(sandwich(**{where: OPERATIONS[name]}), T=4, analog=True)
    assert_equal_networks(reloaded(snn, tmp_path), snn, images(3))


class _Attention(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(2, 4, 3), nn.Linear(4, 3)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **options)

    def forward(self, x: Tensor) -> Any:
        h = F.relu(self.conv(x)).flatten(2).transpose(1, 2)
        return self.fc(self.attention(h, h, h, need_weights=False)[0].mean(1))


@pytest.mark.parametrize(
    "options", ({}, {"bias": False}, {"add_bias_kv": True, "add_zero_attn": True})
)
def test_attention_after_the_neurons(options: dict[str, Any], tmp_path: Path) -> None:
    snn = converted(_Attention(**options), T=4, analog=True)
    assert_equal_networks(reloaded(snn, tmp_path), snn, images(3))


class Answer(NamedTuple):
    logits: Tensor
    features: dict[str, list[Tensor]]


def test_structured_outputs(tmp_path: Path) -> None:
    """A named tuple comes back with its names, as a tuple of another class of this name."""

    def body(net: Net, x: Tensor) -> Any:
        h = F.relu(net.c1(x))
        return Answer(net.head(h), {"maps": [h, h + 1]})

    snn = converted(Net(body), T=4)
    again = reloaded(snn, tmp_path)
    x = images(2)
    got, wanted = again(x), snn(x)
    assert type(got).__name__ == "Answer" and got._fields == ("logits", "features")
    assert type(wanted) is Answer
    assert_equal_outputs(got.logits, wanted.logits)
    assert_equal_outputs(got.features, wanted.features)
    assert_equal_networks(reloaded(again, tmp_path), again, x)


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16, torch.float64))
def test_dtypes(dtype: torch.dtype, tmp_path: Path) -> None:
    snn = converted(settled(NETWORKS["scaled"]()).to(dtype), images(16).double(), T=4)
    assert_equal_networks(reloaded(snn, tmp_path), snn, images(3).to(dtype))


def test_strides_in_memory(tmp_path: Path) -> None:
    """Channels-last weights stay so, also where a kernel of one pixel hides it."""
    net = Net(lambda s, x: s.head(F.relu(s.c2(s.point(F.relu(s.c1(x)))))), point=nn.Conv2d(4, 4, 1))
    snn = converted(net, T=4).to(memory_format=torch.channels_last)
    assert snn.state_dict()["layers.point.weight"].stride() == (4, 1, 4, 4)
    x = images(3).contiguous(memory_format=torch.channels_last)
    assert_equal_networks(reloaded(snn, tmp_path), snn, x)


def test_what_is_shared_is_written_once(tmp_path: Path) -> None:
    """A layer that is called twice, and weights that two layers share."""
    tied = nn.Conv2d(4, 4, 3, padding=1)
    net = Net(lambda s, x: s.head(F.relu(s.tied(F.relu(s.c2(F.relu(s.c2(F.relu(s.c1(x))))))))))
    net.tied = tied
    tied.weight = net.c2.weight
    snn = converted(net, T=4)
    again = reloaded(snn, tmp_path)
    assert_equal_networks(again, snn, images(3))
    twice = [name for name, layer in again.layers.items() if isinstance(layer, nn.Conv2d)]
    first, second = (again.layers[name] for name in twice[1:3])
    assert first is second
    assert len({again.layers[name].weight for name in twice}) == 2  # one parameter, to learn as one
    assert (tmp_path / "snn.safetensors").stat().st_size < 20_000


@pytest.mark.parametrize("kind", (SpikingResNet, SpikingVGG))
def test_kinds(kind: type[SpikingNetwork], tmp_path: Path) -> None:
    if kind is SpikingResNet:
        ann, x = build_model("resnet8", widths=(4, 8, 8)), torch.rand(8, 3, 32, 32)
    else:
        ann = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
        x = torch.rand(8, 1, 8, 8)
    snn = kind.from_ann(ann, x, T=4, progress=False)
    assert_equal_networks(reloaded(snn, tmp_path), snn, x[:2])


def test_networks_that_no_image_has_seen(tmp_path: Path) -> None:
    """Their report says NaN; a network of shipped weights is one of them."""
    snn = SpikingResNet.from_pretrained("resnet20-cifar10", T=4)
    again = reloaded(snn, tmp_path)
    assert_equal_networks(again, snn, torch.rand(1, 3, 32, 32))
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    given = convert_given(SpikingNetwork, net, {"1": torch.rand(6) + 0.5}, (4,))
    assert_equal_networks(reloaded(given, tmp_path), given, torch.rand(3, 4))


def test_a_loaded_network_can_be_copied_and_saved(tmp_path: Path) -> None:
    """deepcopy, torch.save of the module, state dicts: as of one that was just converted."""
    snn, x = converted(NETWORKS["branches"](), T=3, corrections=("weights", "search")), images(2)
    again = reloaded(snn, tmp_path)
    file = io.BytesIO()
    torch.save(again, file)
    file.seek(0)
    for other in (copy.deepcopy(again), torch.load(file, weights_only=False)):
        assert_equal_networks(other, snn, x)
        theirs = {value.data_ptr() for value in other.state_dict().values()}
        assert theirs.isdisjoint(value.data_ptr() for value in again.state_dict().values())
    changed = {name: value * 2 for name, value in snn.state_dict().items()}
    snn.load_state_dict(changed)
    again.load_state_dict(changed)
    assert_equal_outputs(again(x), snn(x))


def test_the_file_may_change_after_it_was_opened(tmp_path: Path) -> None:
    snn, x = converted(NETWORKS["plain"](), T=3), images(2)
    again = reloaded(snn, tmp_path)
    path = tmp_path / "snn.safetensors"
    with path.open("r+b") as stream:
        stream.truncate(10)
    assert_equal_outputs(again(x), snn(x))


def test_saving_leaves_the_network_alone(tmp_path: Path) -> None:
    """And writes the same bytes again."""
    snn = converted(NETWORKS["concat"](), T=3)
    before = copy.deepcopy(snn)
    snn.save(tmp_path / "one.safetensors")
    assert_equal_networks(snn, before, images(2))
    snn.save(str(tmp_path / "two.safetensors"))
    assert (tmp_path / "one.safetensors").read_bytes() == (
        tmp_path / "two.safetensors"
    ).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "one.safetensors",
        "two.safetensors",
    ]


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "snn.safetensors"
    snn = converted(NETWORKS["plain"](), T=3)
    snn.save(path)
    old = path.read_bytes()

    def fail(*args: Any) -> None:
        Path(args[1]).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        snn.save(path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["snn.safetensors"]


def test_where_it_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "snn.safetensors"
    converted(NETWORKS["plain"](), T=3).save(path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="load: device is 'cuda:1', but torch finds no CUDA GPUs"):
        spikeconv.load(path, device="cuda:1")
    with pytest.raises(ValueError, match="load: device is 'hpu', which torch cannot use here"):
        spikeconv.load(path, device="hpu")
    for device in ("gpu", None):
        with pytest.raises(ValueError, match=rf"load: device must be one of torch, .*{device!r}"):
            spikeconv.load(path, device=device)  # type: ignore[arg-type]


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    snn = converted(NETWORKS["plain"](), T=3)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        snn.save(tmp_path / "missing" / "snn.safetensors")
    with pytest.raises(ValueError, match="found a folder"):
        snn.save(tmp_path)


def test_names_of_the_tensors_are_those_of_the_state_dict(tmp_path: Path) -> None:
    """So that other programs find the weights."""
    from safetensors.torch import load_file

    snn = converted(NETWORKS["scaled"](), T=3, corrections=("weights",))
    snn.save(tmp_path / "snn.safetensors")
    state = load_file(tmp_path / "snn.safetensors")
    assert state.keys() <= snn.state_dict().keys()
    assert all(torch.equal(snn.state_dict()[name], value) for name, value in state.items())
