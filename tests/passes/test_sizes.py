"""Constants whose size is that of the images, and what such a network then takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikeconv
from tests.convert.nets import Net, check, converted, images, refusal


def coordinates(s: Net, x: Tensor) -> Any:
    """Of CoordConv: where every pixel lies, beside an image and beside spikes."""
    b, _, height, width = x.shape
    grid = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width))
    where = torch.stack(grid).expand(b, -1, -1, -1)
    h = F.relu(s.c1(x + where))
    return s.head(F.relu(s.c2(h + torch.cat([where, where], 1))))


def empty_state(s: Net, x: Tensor) -> Any:
    """Of a recurrent network: a row of zeros for every image."""
    h = torch.zeros(x.size(0), 4, device=x.device)
    for row in range(3):
        h = F.relu(s.read(x[:, 0, row]) + s.keep(h))
    return s.fc(h)


def padded_channels(s: Net, x: Tensor) -> Any:
    """Of ResNet's shortcut without weights."""
    h = F.relu(s.c1(x))[:, :2]
    none = h.new_zeros(h.size(0), 2, h.size(2), h.size(3))
    return s.head(F.relu(s.c2(torch.cat([h, none], 1))))


def zeros_of_images(s: Net, x: Tensor) -> Any:
    """At the steps of h there are more rows than images, and x has the number of images."""
    h = F.relu(s.c1(x))
    none = h.new_zeros(x.size(0), 2, h.size(2), h.size(3))
    return s.head(F.relu(s.c2(torch.cat([h[:, :2], none], 1))))


def halves_for_every_image(s: Net, x: Tensor) -> Any:
    h = F.relu(s.c1(x))
    half = h.new_full((len(x), 4, 1, 1), 0.5)
    return s.head(F.relu(s.c2(h) + half))


ANY_SIZE: dict[str, Any] = {
    "zeros of images": zeros_of_images,
    "halves for every image": halves_for_every_image,
    "state": empty_state,
    "channels": padded_channels,
    "expanded number": lambda s, x: s.head(
        F.relu(s.c1(x) + torch.full((1, 4, 1, 1), 0.5).expand(x.shape[0], -1, -1, -1))
    ),
    "one value an image": lambda s, x: s.head(
        F.relu(s.c1(x + torch.ones(x.shape[0], 1, 1, 1))) + torch.full((len(x.shape),), 0.1).sum()
    ),
    "like spikes": lambda s, x: s.head(F.relu(s.c2(ones(F.relu(s.c1(x)))))),
    "on a device": lambda s, x: s.head(
        F.relu(s.c1(x)) * torch.arange(4, device=x.device).view(4, 1, 1)
    ),
    "of channels": lambda s, x: s.head(F.relu(s.c1(x * s.table[: x.size(1)].view(-1, 1, 1)))),
}


def ones(h: Tensor) -> Tensor:
    return torch.ones_like(h) + torch.full_like(h, 0.5) * h - torch.zeros_like(h)


ONE_SIZE: dict[str, Any] = {
    "coordinates": coordinates,
    "shape": lambda s, x: s.head(F.relu(s.c1(x + torch.ones(x.shape[1:])))),
    "matrix": lambda s, x: s.head(F.relu(s.c1(x)) @ torch.tril(torch.ones(x.shape[2], x.shape[3]))),
    "positions": lambda s, x: s.head(F.relu(s.c1(x)) + s.table[: x.shape[3]]),
    "like another's dtype": lambda s, x: s.head(F.relu(s.c1(x)) * torch.arange(x.size(3)).to(x)),
    "of another's type": lambda s, x: s.head(F.relu(s.c1(x)) * torch.arange(x.size(3)).type_as(x)),
    "embedding": lambda s, x: s.head(F.relu(s.c1(x)) + s.embed(torch.arange(x.size(2)))),
}


def net_of(body: Any) -> Net:
    parts = {"read": nn.Linear(8, 4), "keep": nn.Linear(4, 4), "embed": nn.Embedding(9, 8)}
    return Net(body, **parts, table=nn.Parameter(torch.rand(12)))


@pytest.mark.parametrize("name", ANY_SIZE)
def test_what_depends_on_no_size_of_an_image(name: str) -> None:
    """A single image, and of some networks one of another size, too."""
    net = net_of(ANY_SIZE[name])
    two = "channels", "like spikes", "zeros of images", "halves for every image"
    snn = check(net, neurons=3 if name == "state" else 1 + (name in two))
    for x in (images(1), images(3)) if name == "state" else (images(1), images(3, 2, 6, 10)):
        with torch.no_grad():
            torch.testing.assert_close(snn.analog(x), net(x))


@pytest.mark.parametrize("name", ONE_SIZE)
@pytest.mark.filterwarnings("ignore:torch.meshgrid")
def test_what_depends_on_the_size_of_an_image(name: str) -> None:
    """Any number of images; another size is an error, not a wrong answer."""
    snn = check(net_of(ONE_SIZE[name]), neurons=2 if name == "coordinates" else 1)
    assert snn(images(1)).shape == (1, 3)
    with pytest.raises(ValueError, match=r"x must be of shape \[B, 2, 8, 8\], got \[2, 2, 6, 6\]"):
        snn(images(2, 2, 6, 6))


def test_expand_is_torchs_own_again(tmp_path: Path) -> None:
    plain = torch.Tensor.expand
    snn = check(net_of(ANY_SIZE["expanded number"]), neurons=1)
    assert torch.Tensor.expand is plain
    snn.save(tmp_path / "snn.safetensors")  # which names what is called
    x = images(3)
    assert torch.equal(spikeconv.load(tmp_path / "snn.safetensors")(x), snn(x))


def test_as_many_tokens_as_in_calibration() -> None:
    net = nn.Sequential(nn.Linear(4, 8), Positions(), nn.ReLU(), nn.Linear(8, 3))
    snn = check(net, images(32, 5, 4), neurons=1)
    with pytest.raises(ValueError, match=r"a batch like \[B, 5, 4\], got shape \[2, 6, 4\]"):
        snn(images(2, 6, 4))


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pos = nn.Parameter(torch.randn(1, 9, 8))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pos[:, : x.size(1)]


def test_zeros_are_no_operations() -> None:
    """Weights behind channels of zeros are reached by nothing; behind ones, once an image."""
    found = {}
    for fill in (0.0, 1.0):
        net = Net(
            lambda s, x: s.head(
                F.relu(s.c2(torch.cat([h := F.relu(s.c1(x))[:, :2], s.like(h)], 1)))
            )
        )
        net.like = lambda h, fill=fill: torch.full_like(h, fill)
        snn, x = converted(net, T=4), images(2)
        with snn.monitor() as monitor:
            snn(x)
        found[fill] = next(row for row in snn.operations(monitor).rows if row.layer == "c2").macs
    assert found == {0.0: 0, 1.0: 2 * 2 * 22**2 * 4}


@pytest.mark.parametrize(
    "body",
    (
        lambda s, x: s.head(F.relu(s.c1(x)) * torch.arange(x.shape[0]).view(-1, 1, 1, 1)),
        lambda s, x: torch.eye(x.shape[0]) @ s.head(F.relu(s.c1(x))),
        lambda s, x: s.head(F.relu(s.c1(x)) + s.table[: x.shape[0]].sum()),
    ),
)
def test_what_depends_on_the_number_of_images_is_refused(body: Any) -> None:
    assert "mixes the images of a batch" in refusal(net_of(body))[0].reason


@pytest.mark.parametrize("options", ({"corrections": ("bias",)}, {"method": "best"}))
def test_images_of_other_sizes_are_told_where_corrections_cannot_use_them(options: Any) -> None:
    net = Net(lambda s, x: s.head(F.relu(s.c2(F.relu(s.c1(x))))))
    batches = [images(3), images(5, 2, 6, 9), images(4)]
    with pytest.warns(UserWarning, match="corrections are fitted and compared on 7 of 12"):
        converted(net, batches, **options)  # type: ignore[arg-type]


def test_images_of_any_sizes_set_thresholds() -> None:
    net = Net(lambda s, x: s.head(F.relu(s.c1(x))))
    batches = [images(3), images(5, 2, 6, 9)]
    snn = converted(net, batches, threshold="max", method="opi")  # type: ignore[arg-type]
    most = max(float(F.relu(net.c1(batch)).detach().max()) for batch in batches)
    (node,) = snn.neurons.values()
    assert float(node.v_threshold.max()) == pytest.approx(most, rel=1e-2)


def test_potentials_of_every_neuron_tie_a_network_to_a_size() -> None:
    net = Net(lambda s, x: s.head(F.relu(s.c1(x))))
    snn, other = converted(net, v_init="uniform", method="opi"), images(2, 2, 6, 9)
    says = r"SpikingNetwork: x must be like \[B, 2, 8, 8\], got shape \[2, 2, 6, 9\], .*v_init"
    for call in (snn, snn.fuse(), snn.stream().step, snn.report):
        with pytest.raises(ValueError, match=says):
            call(other)
