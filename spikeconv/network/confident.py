"""A run that stops: images leave once the network is sure of them, the others go on."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeconv.early_exit import Exit, certainty
from spikeconv.network.simulation import Simulation


def run_until_confident(simulation: Simulation, T: int, at_once: int, confidence: float) -> Exit:
    """Each image's logits and steps at its exit; at most T steps, `at_once` at a time.

    Args:
        simulation: at its start; it is used up.

    Raises:
        TypeError: the output is not one tensor of logits ``[B, C]``.
    """
    batch = simulation.batch
    left = torch.arange(batch, device=simulation.bad.device)
    steps = torch.zeros_like(left)
    logits = simulation.bad.new_empty(0)
    done = 0
    for running in simulation.running_outputs(T, at_once):
        if not isinstance(running, Tensor) or running.dim() != 3:
            given = list(running.shape[1:]) if isinstance(running, Tensor) else type(running)
            raise TypeError(
                "SpikingNetwork: exit_early needs a network whose output is logits [B, C], "
                f"got {given}"
            )
        n, _, classes = running.shape
        if done == 0:
            logits = running.new_empty(batch, classes)
        sure = certainty(running) >= confidence
        # The first True; where there is none, the last step of the run if this is it.
        at = torch.where(sure.any(0), sure.int().argmax(0), n - 1)
        leaving = sure.any(0) | (done + n == T)
        who = leaving.nonzero().flatten()
        logits[left[who]] = running[at[who], who]
        steps[left[who]] = done + at[who] + 1
        done += n
        stay = (~leaving).nonzero().flatten()
        if len(stay) == 0:
            break
        if len(stay) < len(left):
            left = left[stay]
            simulation.keep(stay)
    return Exit(logits, steps)
