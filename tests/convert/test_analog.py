"""Operations without a spiking form, kept analog on request where no spikes pass through them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.convert import ConversionError, NaiveSimulation, SpikingNetwork
from tests.convert.nets import Net, converted, images, refusal, relative_error


def sandwich(before: Any = None, between: Any = None, after: Any = None, **layers: Any) -> Net:
    """A network with functions of feature maps before, between and after its two rectifiers."""

    def same(h: Tensor) -> Tensor:
        return h

    first, second, third = (f or same for f in (before, between, after))

    def body(s: Net, x: Tensor) -> Any:
        return s.head(third(F.relu(s.c2(second(F.relu(first(s.c1(x))))))))

    return Net(body, **layers)


def kept(snn: SpikingNetwork) -> list[tuple[str, str]]:
    return [(item.operation, item.phase) for item in snn.report().analog]


OPERATIONS: dict[str, Any] = {
    "silu": F.silu,
    "silu in place": lambda h: F.silu(h, inplace=True),
    "sigmoid_": lambda h: h.sigmoid_(),
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "softmax": lambda h: h.softmax(1),
    "layer_norm": lambda h: F.layer_norm(h, (8,))[..., ::3],
    "normalize": lambda h: F.normalize(h + 1, dim=1),
    "product": lambda h: h * h.flip(1),
    "quotient": lambda h: h / (h.flip(1) + 9),
    "gate": lambda h: h * torch.sigmoid(h.mean((2, 3), keepdim=True)),
    "lp_pool": lambda h: F.lp_pool2d(h, 2, 2),
    "attention": lambda h: F.scaled_dot_product_attention(h, h, h),
    "argmax": lambda h: h + h.argmax(1, keepdim=True),
}


@pytest.mark.parametrize("where", ("before", "after"))
@pytest.mark.parametrize("name", OPERATIONS)
def test_before_and_after_the_neurons(name: str, where: str) -> None:
    """The same as ANN and, with time, in spikes; the image is not written; the report tells."""
    net, x = sandwich(**{where: OPERATIONS[name]}), images(32)
    with pytest.raises(ConversionError) as refused:
        converted(net, x)
    place = "before the first" if where == "before" else "after the last"
    assert all(f"it stands {place} neuron" in p.reason for p in refused.value.problems)
    snn = converted(net, x, analog=True)
    operations = [problem.operation for problem in refused.value.problems]
    phase = "static" if where == "before" else "readout"
    assert kept(snn) == [(operation, phase) for operation in operations]
    before = x.clone()
    with torch.no_grad():
        wanted = net(x.clone())
        torch.testing.assert_close(snn.analog(x), wanted)
        if name != "argmax" or where == "before":  # a step function of the mean does not tend
            assert relative_error(snn(x, T=1024), wanted) < 0.02
    assert torch.equal(x, before)


def test_of_the_image_itself_and_of_the_logits() -> None:
    """The very first and the very last operation, which may write in place and give integers."""

    def body(s: Net, x: Tensor) -> Any:
        logits = s.head(F.relu(s.c1(s.silu(x))))
        return {"probabilities": logits.softmax(1), "class": logits.argmax(1)}

    net, x = Net(body, silu=nn.SiLU(inplace=True)), images(16)
    before = x.clone()
    snn = converted(net, x, analog=True)
    out = snn(x, T=512)
    assert torch.equal(x, before)
    with torch.no_grad():
        wanted = net(x.clone())
    torch.testing.assert_close(out["probabilities"], wanted["probabilities"], atol=0.01, rtol=0)
    torch.testing.assert_close(out["probabilities"].sum(1), torch.ones(16))
    assert out["class"].dtype == torch.int64
    assert torch.equal(snn.analog(x)["class"], wanted["class"])
    running = snn(x, T=6, readout="all")
    assert running["probabilities"].shape == (6, 16, 3) and running["class"].shape == (6, 16)
    torch.testing.assert_close(running["probabilities"][-1], snn(x, T=6)["probabilities"])


def test_between_neurons_it_stays_refused() -> None:
    """With the reason, whatever was asked for; what can be kept is not complained of."""
    net = sandwich(torch.tanh, torch.sigmoid, lambda h: h.softmax(1))
    for analog in (True, ["torch.sigmoid", "torch.tanh", "Tensor.softmax"]):
        with pytest.raises(ConversionError) as refused:
            converted(net, analog=analog)
        (problem,) = refused.value.problems
        assert problem.operation == "torch.sigmoid"
        assert "it cannot be kept analog, as spikes go in and a neuron reads" in problem.reason


def test_names() -> None:
    """A collection keeps what it names, a layer by its path or its operation, and no more."""
    layers = {"first": nn.Tanh(), "last": nn.Softmax(1), "other": nn.Softmax(1)}
    net = Net(
        lambda s, x: s.other(s.last(s.head(F.relu(s.c1(s.first(x)))).sigmoid())),
        **layers,
    )
    everything = [
        ("Tanh", "static"),
        ("Tensor.sigmoid", "readout"),
        ("Softmax", "readout"),
        ("Softmax", "readout"),
    ]
    for names in (
        ["first", "Tensor.sigmoid", "last", "other"],
        {"Tanh", "Softmax", "Tensor.sigmoid"},
    ):
        assert kept(converted(net, analog=names)) == everything
    with pytest.raises(ConversionError) as refused:
        converted(net, analog=("Tanh", "last"))
    assert [p.path for p in refused.value.problems] == ["", "other"]
    with pytest.raises(ConversionError) as refused:
        converted(net)
    asked = [p.reason.rpartition("analog=")[2] for p in refused.value.problems]
    assert asked == [
        f"[{name!r}] keeps it as it is" for name in ("first", "Tensor.sigmoid", "last", "other")
    ]


def test_what_is_asked_for_must_be_there() -> None:
    net = sandwich(after=torch.tanh)
    with pytest.raises(ValueError, match=r"analog names 'softmax', but every .* 'torch\.tanh'"):
        converted(net, analog=["torch.tanh", "softmax"])
    with pytest.raises(ValueError, match=r"analog names 'c1', but every .* has a spiking form"):
        converted(sandwich(), analog=["c1"])
    assert kept(converted(sandwich(), analog=True)) == []
    for wrong in ("torch.tanh", 1, None, [nn.Tanh()]):
        with pytest.raises(TypeError, match="convert: analog must"):
            converted(net, analog=wrong)


def test_the_report_says_so() -> None:
    """Nothing analog is left in a spiking network unseen: in print, as data, after measuring."""
    snn = converted(sandwich(torch.tanh, after=lambda h: h.softmax(1)), analog=True)
    for report in (snn.report(), snn.report(images(4))):
        lines = str(report).splitlines()
        assert [line for line in lines if line.startswith("kept analog")] == [
            "kept analog: torch.tanh at tanh, before the first neuron, computed once",
            "kept analog: Tensor.softmax at softmax, after the last neuron, on the mean over time",
        ]
        plain = json.loads(json.dumps(report.to_dict()))
        assert [item["phase"] for item in plain["analog"]] == ["static", "readout"]
    assert "analog" not in str(converted(sandwich()).report())


def test_what_mixes_images_or_is_random_is_not_kept() -> None:
    for refused, says in (
        (lambda h: h.softmax(0), "mixes the images of a batch"),
        (lambda h: F.layer_norm(h, (4, 8, 8)).mean(0, keepdim=True) + h, "mixes the images"),
        (lambda h: h + h.flatten().argmax(), "mixes the images of a batch"),
        (lambda h: h + torch.rand_like(h), "it draws random numbers"),
    ):
        for where in ("before", "after"):
            with pytest.raises(ConversionError, match=says):
                converted(sandwich(**{where: refused}), analog=True)


def test_a_network_without_rectifiers() -> None:
    net = Net(lambda s, x: s.head(F.silu(s.c1(x))))
    with pytest.raises(ConversionError, match="there is no ReLU in it"):
        converted(net, analog=True)
    with pytest.raises(ConversionError) as refused:
        converted(net)
    assert "analog=" not in str(refused.value)


def test_a_recurrent_layer_without_gates() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.RNNCell(4, 4, nonlinearity="relu"))
    assert "write the loop with nn.Linear and ReLU" in refusal(net, images(8, 4))[0].reason


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_layer_of_a_sequence(kind: type[nn.Module]) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), kind(4, 4, batch_first=True))
    for analog in (False, True):
        with pytest.raises(ConversionError) as refused:
            converted(net, images(8, 5, 4), analog=analog)
        (problem,) = refused.value.problems
        assert "cannot be kept analog, as only its cells can" in problem.reason
        assert "take it off the network's end" in problem.reason


def test_a_recurrent_cell() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.GRUCell(4, 4))
    assert "multiplies its gates" in refusal(net, images(8, 4))[0].reason
    snn = converted(net, images(8, 4), analog=True)
    assert [kept.operation for kept in snn.report().analog] == ["GRUCell"]


def test_pools_with_indices() -> None:
    def body(s: Net, x: Tensor) -> Any:
        pooled, indices = F.max_pool2d(s.c1(x), 2, return_indices=True)
        return s.head(F.relu(F.max_unpool2d(pooled, indices, 2)))

    net, x = Net(body), images(16)
    snn = converted(net, x, analog=True)
    with torch.no_grad():
        assert relative_error(snn(x, T=512), net(x)) < 0.02
    assert [operation.rpartition(".")[2] for operation, _ in kept(snn)] == [
        "max_pool2d_with_indices",
        "max_unpool2d",
    ]


@pytest.mark.parametrize("analog", (True, ["attend"]))
def test_multihead_attention(analog: Any) -> None:
    """Refused in one clear message; kept as the head; between neurons never."""
    attend = nn.MultiheadAttention(4, 2, batch_first=True)

    def head(s: Net, x: Tensor) -> Any:
        tokens = F.relu(s.c1(x)).flatten(2).transpose(1, 2)
        return s.fc(s.attend(tokens, tokens, tokens)[0].mean(1))

    net, x = Net(head, attend=attend), images(16)
    with pytest.raises(ConversionError, match=r"attend: MultiheadAttention .* attention mult"):
        converted(net, x)
    snn = converted(net, x, analog=analog)
    with torch.no_grad():
        assert relative_error(snn(x, T=1024), net.eval()(x)) < 0.02

    def middle(s: Net, x: Tensor) -> Any:
        return F.relu(head(s, x))

    with pytest.raises(ConversionError, match="cannot be kept analog"):
        converted(Net(middle, attend=attend), x, analog=analog)


def test_the_naive_simulation_has_no_analog_readout() -> None:
    with pytest.raises(ValueError, match="network must be linear after its last neuron, got torch"):
        NaiveSimulation(converted(sandwich(after=torch.tanh), analog=True))
    snn, x = converted(sandwich(torch.tanh), analog=True), images(4)
    assert relative_error(NaiveSimulation(snn)(x, T=8), snn(x, T=8)) < 1e-5
