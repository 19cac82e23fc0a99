"""torch's own checks of the operator: schema, fake kernel, autograd key, dynamic shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers import runnable
from tests.ops.cases import LAYOUTS, SHAPE, counts, currents, thresholds

ONE, ZERO = torch.tensor(1.0), torch.tensor(0.0)


def leaf(
    *shape: int, dtype: torch.dtype = torch.float32, layout: str = "contiguous"
) -> torch.Tensor:
    """An operand that wants a gradient; all are positive, as thresholds have to be."""
    return LAYOUTS[layout](thresholds(*shape).to(dtype)).detach().requires_grad_()


CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "default": ((currents(3, 4), ONE, ZERO), {}),
    "per_channel_psp": (
        (currents(*SHAPE), thresholds(5, 1, 1), ZERO, currents(5, 1, 1)),
        {"emit": "psp", "return_v": "all"},
    ),
    "bias_of_each_step": (
        (currents(*SHAPE), thresholds(5, 1, 1), ZERO, currents(3, 1, 5, 1, 1)),
        {"emit": "psp", "return_v": "all"},
    ),
    "bias_of_each_step_static": (
        (currents(4, 5), ONE, ZERO, currents(7, 1, 5)),
        {"T": 7, "emit": "words"},
    ),
    "channels_last": (
        (LAYOUTS["channels_last"](currents(*SHAPE)), thresholds(5, 1, 1), ZERO),
        {"emit": "uint8"},
    ),
    "strided": (
        (LAYOUTS["slice"](currents(*SHAPE)), LAYOUTS["every_other"](thresholds(3, 7)), ZERO),
        {"emit": "spikes"},
    ),
    "static_words": ((currents(4, 5), ONE, ZERO), {"T": 7, "emit": "words", "return_v": None}),
    "signed": (
        (currents(3, 4, 5), ONE, ZERO, None, counts(4, 5)),
        {"signed": True, "emit": "count"},
    ),
    "ties_wait": ((currents(3, 4), ONE, ZERO), {"fires": "gt"}),
    "hard": ((currents(3, 4), ONE, ZERO), {"reset": "hard", "v_reset": -0.25}),
    "half": ((currents(3, 4, dtype=torch.float16), ONE, ZERO), {"return_v": "all"}),
    "no_neurons": ((torch.empty(3, 0), ONE, ZERO), {}),
    "one_neuron_without_dimensions": ((currents(3), ONE, ZERO), {"return_v": "all"}),
    "wants_a_gradient": ((currents(3, 4).requires_grad_(), ONE, ZERO), {}),
}

# Their backward pass runs too.
TRAINED: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "atan": ((leaf(3, 4), leaf(), leaf()), {"surrogate": "atan", "surrogate_parameter": 2.0}),
    "sigmoid_per_channel_psp": (
        (leaf(*SHAPE), leaf(5, 1, 1), leaf(3, 7), leaf(3, 1, 5, 1, 1)),
        {"surrogate": "sigmoid", "emit": "psp", "return_v": "all", "detach_reset": True},
    ),
    "own_static_hard": (
        (leaf(4, 5), leaf(5), leaf(), leaf(5), None, thresholds(7, 4, 5)),
        {"surrogate": "given", "T": 7, "reset": "hard", "v_reset": -0.25},
    ),
    "half_channels_last": (
        (leaf(*SHAPE, dtype=torch.float16, layout="channels_last"), leaf(5, 1, 1), leaf()),
        {"surrogate": "piecewise_linear", "return_v": None},
    ),
}

ALL_WANTED = {"wanted": [True] * 4}
BACKWARD: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "all": (
        (currents(3, 4), currents(4), currents(3, 4), ONE, ZERO, currents(3, 1), None),
        ALL_WANTED,
    ),
    "own_static_potentials": (
        (None, currents(7, 4, 5), currents(4, 5), thresholds(5), ZERO, None, thresholds(7, 4, 5)),
        {"T": 7, "surrogate": "given", "return_v": "all", **ALL_WANTED},
    ),
    "x_alone": (
        (currents(3, 4).bfloat16(), None, currents(3, 4).bfloat16(), ONE, ZERO, None, None),
        {"return_v": None, "wanted": [True, False, False, False]},
    ),
}


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("name", TRAINED)
def test_opcheck_of_training(name: str, backend: str) -> None:
    arguments, options = TRAINED[name]
    torch.library.opcheck(
        torch.ops.spikeconv.if_multistep, arguments, {**options, "backend": backend}
    )


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("name", BACKWARD)
def test_opcheck_of_the_backward_operator(name: str, backend: str) -> None:
    arguments, changes = BACKWARD[name]
    options = {
        "T": None,
        "reset": "soft",
        "v_reset": 0.0,
        "fires": "ge",
        "emit": "psp",
        "return_v": "last",
        "surrogate": "atan",
        "surrogate_parameter": 2.0,
        "detach_reset": False,
        "backend": backend,
    }
    operator = torch.ops.spikeconv.if_multistep_backward
    torch.library.opcheck(operator, arguments, {**options, **changes})


@pytest.mark.parametrize("backend", runnable())
@pytest.mark.parametrize("name", CALLS)
def test_opcheck(name: str, backend: str) -> None:
    arguments, options = CALLS[name]
    utilities = ["test_schema", "test_autograd_registration", "test_faketensor"]
    if not arguments[0].requires_grad:  # it runs the backward, which is an error on purpose
        utilities.append("test_aot_dispatch_dynamic")
    outcome = torch.library.opcheck(
        torch.ops.spikeconv.if_multistep,
        arguments,
        {**options, "backend": backend},
        test_utils=utilities,
    )
    assert outcome == dict.fromkeys(utilities, "SUCCESS")
