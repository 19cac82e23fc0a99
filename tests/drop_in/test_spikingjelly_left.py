"""SpikingJelly 2.0.0: which of its neurons are replaced, and which are left with a reason."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.drop_in.libraries import assert_equal, library, reasons, replaced, steps

pytestmark = pytest.mark.spikingjelly

neuron: Any = library("spikingjelly.activation_based.neuron")
surrogate: Any = library("spikingjelly.activation_based.surrogate")


def test_what_means_something_else_is_left_with_the_reason() -> None:
    class Louder(neuron.IFNode):  # type: ignore[misc]
        def single_step_functional_forward(self, *args: Any, **kwargs: Any) -> Any:
            return super().single_step_functional_forward(*args, **kwargs)

    class OwnStep(surrogate.Sigmoid):  # type: ignore[misc]
        pass

    patched = neuron.IFNode()
    patched.forward = lambda x: x
    learned = neuron.IFNode()
    del learned.v_threshold
    learned.v_threshold = nn.Parameter(torch.tensor(1.0))
    negative = neuron.IFNode(-1.0)
    compiled = neuron.IFNode()
    compiled.compile(backend="eager")
    cases = [
        (neuron.LIFNode(), "LIFNode leaks"),
        (neuron.ParametricLIFNode(), "ParametricLIFNode leaks"),
        (neuron.QIFNode(), "QIFNode leaks"),
        (neuron.NonSpikingIFNode(), "NonSpikingIFNode is no plain IF neuron"),
        (neuron.ActivationAwareIFNode(v_offset=0.25), "fires on v + v_offset"),
        (Louder(), "Louder is IFNode with its own single_step_functional_forward"),
        (patched, "forward was set on the module itself"),
        (compiled, "compiled by its compile"),
        (learned, "v_threshold is learned"),
        (negative, "v_threshold must be positive"),
        (neuron.IFNode(v_reset=math.inf), "v_reset must be finite"),
        (neuron.ActivationAwareIFNode().to("meta"), "no data yet"),
        (neuron.IFNode(surrogate_function=OwnStep()), "OwnStep, of which it is not known"),
        (neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False)), "smooth"),
        (neuron.IFNode(surrogate_function=lambda u: u), "plain function"),
        (neuron.IFNode(surrogate_function=surrogate.PoissonPass()), "does not emit a step"),
    ]
    for module, why in cases:
        before = type(module)
        (reason,) = reasons(nn.Sequential(module))
        assert why in reason
        assert type(module) is before


def test_a_subclass_that_only_constructs_is_replaced() -> None:
    class Soft(neuron.IFNode):  # type: ignore[misc]
        """With other defaults."""

        def __init__(self) -> None:
            super().__init__(0.5, None, step_mode="m")

    theirs = Soft()
    x = steps(2, 5)
    mine = replaced(nn.Sequential(Soft()))
    assert_equal(mine(x), theirs(x))
