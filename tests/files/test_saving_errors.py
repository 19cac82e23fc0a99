"""What has no form in a file: one error that names all of it and says what to do."""

from __future__ import annotations

import copy
import operator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from spikeconv.convert import SpikingNetwork
from spikeconv.files.names import ATTRIBUTES, FUNCTIONS, METHODS, NAMES
from spikeconv.network import vocabulary
from spikeconv.passes.sizes import FACTORIES
from tests.convert.bodies import NETWORKS
from tests.convert.nets import Net, converted, images
from tests.files.roundtrip import assert_equal_networks, reloaded


@fx.wrap
def my_gate(x: Tensor) -> Tensor:
    return x.sigmoid() * 2


class Renamed(nn.Conv2d):
    """A layer of torch with other defaults, which computes what torch's does."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)
        self.remark = "mine"


def test_a_class_that_only_renames_is_written_as_its_base(tmp_path: Path) -> None:
    net = Net(lambda s, x: s.head(F.relu(s.mine(F.relu(s.pad(s.c1(x)))))), mine=Renamed(4))
    net.pad = nn.ZeroPad2d(1)
    snn = converted(net, T=3)
    again = reloaded(snn, tmp_path)
    assert type(again.layers["mine"]) is nn.Conv2d
    assert type(again.layers["pad"]) is nn.ZeroPad2d
    x = images(2)
    assert torch.equal(again(x), snn(x))
    assert_equal_networks(reloaded(again, tmp_path), again, x)


def test_more_steps_than_a_reader_takes_are_not_written(tmp_path: Path) -> None:
    snn, path = converted(NETWORKS["plain"]()), tmp_path / "snn.safetensors"
    snn.T = 2**16 + 1
    with pytest.raises(ValueError, match="T must be at most 65536 in a file, got 65537"):
        snn.save(path)
    assert not path.exists()
    snn.T = 2**16
    assert reloaded(snn, tmp_path).T == 2**16


def test_a_network_without_values_is_not_written(tmp_path: Path) -> None:
    snn = converted(NETWORKS["plain"](), T=3).to("meta")
    with pytest.raises(TypeError, match=r"(?s)SpikingNetwork\.save: .*neurons relu: .*\(meta\)"):
        snn.save(tmp_path / "snn.safetensors")


def test_everything_at_once(tmp_path: Path) -> None:
    """A function of one's own, and a layer that only its owner knows."""

    class Gated(nn.Softmax):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    net = Net(lambda s, x: s.head(F.relu(s.c2(F.relu(s.c1(my_gate(x)))))))
    snn = converted(net, T=3, analog=True)
    step = next(step for step in snn.program.steps if step.target is my_gate)
    snn.layers["fc"] = Gated(1)
    with pytest.raises(TypeError) as caught:
        snn.save(tmp_path / "snn.safetensors")
    text = str(caught.value)
    assert text.startswith("SpikingNetwork.save: 2 parts of the network cannot be written: a file")
    assert "torch.save(snn, path)" in text and "convert once more" in text
    first, second = text.splitlines()[1:]
    assert first.startswith("- layer fc: a ") and "Gated, which a file cannot name" in first
    assert second.startswith(f"- step {step.name}: a call of ") and "my_gate, which" in second
    assert not list(tmp_path.iterdir())


def test_a_layer_that_was_changed_after_it_was_made(tmp_path: Path) -> None:
    """To what no argument says: other values above an image than below it."""
    snn = converted(NETWORKS["plain"](), T=3)
    layer = snn.layers["c2"]
    assert isinstance(layer, nn.Conv2d)
    layer.padding_mode, layer._reversed_padding_repeated_twice = "reflect", [1, 1, 2, 0]
    with pytest.raises(TypeError, match=r"layer c2: a Conv2d whose _reversed_padding_.* changed"):
        snn.save(tmp_path / "snn.safetensors")


def test_a_network_of_ones_own_class(tmp_path: Path) -> None:
    class Mine(SpikingNetwork):
        pass

    snn = converted(NETWORKS["plain"](), T=3)
    snn.__class__ = Mine
    with pytest.raises(
        TypeError,
        match=r"^SpikingNetwork\.save: .*one of spikeconv's classes, got a .*Mine; torch.save",
    ):
        snn.save(tmp_path / "snn.safetensors")


def test_neurons_of_another_class_and_neurons_with_nan(tmp_path: Path) -> None:
    snn = converted(NETWORKS["residual"](), T=3)
    other = copy.deepcopy(snn)
    first = next(iter(snn.neurons))
    snn.populations()[first].v_init.fill_(torch.nan)
    with pytest.raises(ValueError, match=f"neurons {first}: NaN in v_init"):
        snn.save(tmp_path / "snn.safetensors")
    other.neurons[first] = nn.ReLU()
    with pytest.raises(TypeError, match=f"neurons {first}: a ReLU, not an IFNode"):
        other.save(tmp_path / "snn.safetensors")


def test_an_argument_of_neurons_that_is_no_plain_value(tmp_path: Path) -> None:
    """As a surrogate function would be."""
    snn = converted(NETWORKS["plain"](), T=3)
    first = next(iter(snn.neurons))
    snn.populations()[first].backend = torch.sigmoid  # type: ignore[assignment]
    with pytest.raises(TypeError, match=f"neurons {first}: backend is a value of type"):
        snn.save(tmp_path / "snn.safetensors")


def test_what_could_not_be_opened_again_is_not_written(tmp_path: Path) -> None:
    """Neurons that were given parameters of other neurons, as a user may."""
    snn = converted(NETWORKS["plain"](), T=3)
    first = next(iter(snn.neurons))
    snn.populations()[first].v_init = torch.zeros(3, 8, 8)
    with pytest.raises(ValueError, match=r"could not be opened again: IFNode: v_threshold, v_init"):
        snn.save(tmp_path / "snn.safetensors")
    assert not list(tmp_path.iterdir())


def test_every_call_that_conversion_understands_has_a_name() -> None:
    functions: list[Any] = [
        *vocabulary.SUM_FUNCTIONS,
        *vocabulary.PRODUCT_FUNCTIONS,
        *vocabulary.CONTRACTION_FUNCTIONS,
        *vocabulary.LINEAR_FUNCTIONS,
        *vocabulary.MAX_POOL_FUNCTIONS,
        *vocabulary.INDEX_POOL_FUNCTIONS,
        *FACTORIES,
        F.batch_norm,
        torch.clone,
    ]
    functions += [choice for choice in vocabulary.CHOICES if callable(choice)]
    assert all(FUNCTIONS[NAMES[function]] is function for function in functions)
    methods = vocabulary.SUM_METHODS | vocabulary.PRODUCT_METHODS | vocabulary.CONTRACTION_METHODS
    methods |= vocabulary.LINEAR_METHODS | vocabulary.RESHAPE_METHODS | vocabulary.CASTS
    assert methods <= METHODS


def test_names_are_of_values_only() -> None:
    """No name reaches out of the program: to Python, to files, or to a tensor's inner life."""
    assert not any("__" in name or name.startswith("_") for name in METHODS | ATTRIBUTES)
    for name in (
        "torch.load",
        "torch.save",
        "torch.compile",
        "operator.attrgetter",
        "eval",
        "exec",
    ):
        assert name not in FUNCTIONS
    for name in (
        "numpy",
        "apply_",
        "map_",
        "register_hook",
        "backward",
        "data_ptr",
        "share_memory_",
    ):
        assert name not in METHODS
    for name in ("data", "grad_fn", "storage", "_backward_hooks", "name"):
        assert name not in ATTRIBUTES
    assert operator.methodcaller not in NAMES
    assert all(hasattr(Tensor, name) for name in METHODS)
