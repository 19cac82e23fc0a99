"""torch's own checks of the operator: schema, fake kernel, autograd key, dynamic shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers import runnable
from tests.ops.cases import LAYOUTS, SHAPE, counts, currents, thresholds

ONE, ZERO = torch.tensor(1.0), torch.tensor(0.0)

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
