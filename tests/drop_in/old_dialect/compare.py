"""Run in a process of its own, where the stand-in of SpikingJelly 0.0.0.0.14 comes first."""

from __future__ import annotations

import copy
import logging
import pickle
from importlib import import_module
from typing import Any

import torch
from torch import nn

import spikeconv
from tests.drop_in.libraries import gradients, steps


def main() -> None:
    ab = "spikingjelly.activation_based"
    neuron, surrogate, functional, base = (
        import_module(f"{ab}.{name}") for name in ("neuron", "surrogate", "functional", "base")
    )
    assert not hasattr(neuron, "HalfThresholdIFNode")  # it is the stand-in
    warned: list[str] = []
    logging.basicConfig(handlers=[_Kept(warned)], level=logging.WARNING, force=True)

    for step_mode in ("s", "m"):
        for v_reset in (None, 0.0, -0.25):
            theirs = nn.Sequential(
                neuron.IFNode(0.7, v_reset, surrogate.ATan(), True, step_mode, "cupy", True),
                neuron.LIFNode(step_mode=step_mode),
            )
            x = steps(3, 5)
            _run(theirs, x)
            mine = copy.deepcopy(theirs)
            report = spikeconv.replace_neurons(mine)
            assert [layer.kind for layer in report.replaced] == ["IFNode"], report
            assert [layer.why for layer in report.left] == ["LIFNode leaks"], report
            node = mine[0]
            assert isinstance(node, spikeconv.IFNode)
            assert isinstance(node, base.MemoryModule)
            for _ in range(2):
                assert torch.equal(_run(mine, x), _run(theirs, x))
                assert torch.equal(node.v, theirs[0].v)
                for net in (mine, theirs):
                    functional.reset_net(net)
                assert node.v == (v_reset or 0.0)
            twin = pickle.loads(pickle.dumps(mine))
            assert torch.equal(_run(twin, x), _run(mine, x))
            functional.reset_net(mine)

            def call(net: nn.Module, x: Any) -> Any:
                return _run(net, x)

            (s, g), (their_s, their_g) = (gradients(net, x, call) for net in (mine, theirs))
            assert torch.equal(s, their_s)
            torch.testing.assert_close(g, their_g, rtol=1e-5, atol=1e-6)
            functional.detach_net(mine)
            functional.reset_net(mine)
            functional.set_step_mode(mine, "m")
            functional.set_backend(mine, "cupy", instance=spikeconv.IFNode)
            assert (node.step_mode, node.backend) == ("m", None)
            functional.set_backend(mine, "torch")
            assert node.backend is None
            assert not mine.state_dict()
    assert not warned, warned
    print("the old dialect agrees")


def _run(net: nn.Module, x: Any) -> Any:
    return net(x) if net[0].step_mode == "m" else torch.stack([net(step) for step in x])


class _Kept(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__()
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


if __name__ == "__main__":
    main()
