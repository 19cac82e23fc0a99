"""Forged layers, tensors, neurons and reports, with the right digest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.files.hostile import Forgery, assert_refused, nothing_runs, snn, whole

__all__ = ["nothing_runs", "snn", "whole"]


FORGERIES: dict[str, Forgery] = {
    "a layer of Python": (
        lambda n, t: n["layers"]["c1"].update({"class": "subprocess.Popen"}),
        "'subprocess.Popen' is no layer that a file may name",
    ),
    "a container": (
        lambda n, t: n["layers"]["c1"].update({"class": "torch.nn.Sequential"}),
        "no layer that a file may name",
    ),
    "an argument of nothing": (
        lambda n, t: n["layers"]["c1"]["arguments"].update(forward=1),
        "are no arguments of torch.nn.Conv2d",
    ),
    "a device": (
        lambda n, t: n["layers"]["c1"]["arguments"].update(device="cpu"),
        "are no arguments of torch.nn.Conv2d",
    ),
    "a huge layer": (
        lambda n, t: n["layers"]["c1"]["arguments"].update(in_channels=10**12),
        "weight of torch.nn.Conv2d must be",
    ),
    "a layer beyond integers": (
        lambda n, t: n["layers"]["c1"]["arguments"].update(in_channels=10**30),
        "torch.nn.Conv2d cannot be made with",
    ),
    "a layer of nothing": (
        lambda n, t: n["layers"]["c1"]["arguments"].update(kernel_size=None),
        "torch.nn.Conv2d cannot be made with",
    ),
    "a stride of 0": (
        lambda n, t: n["layers"]["c1"]["arguments"].update(stride={"tuple": [0, 0]}),
        "the layer of c1 cannot run",
    ),
    "an argument that refers": (
        lambda n, t: n["layers"]["c1"]["arguments"].update(stride={"ref": "input"}),
        "refers to a value of the network",
    ),
    "a layer that is another": (
        lambda n, t: n["layers"].update(c1={"same": "c2"}),
        "layer c1 is that of 'c2', which is not there",
    ),
    "a missing layer": (lambda n, t: n["layers"].pop("c1"), "the layer 'c1' is missing"),
    "a refitted layer that is not there": (
        lambda n, t: n["originals"].update(c9=n["layers"]["c1"]),
        "a layer was refitted that is not there",
    ),
    "a missing tensor": (lambda n, t: t.pop("layers.c1.weight"), "'layers.c1.weight' is missing"),
    "a tensor too many": (
        lambda n, t: t.update(more=torch.zeros(1)),
        "nothing refers to the tensor 'more'",
    ),
    "a tensor of another shape": (
        lambda n, t: t.update({"layers.c1.bias": torch.zeros(5)}),
        "bias of torch.nn.Conv2d must be [4], found [5]",
    ),
    "whole numbers for weights": (
        lambda n, t: t.update({"layers.c1.bias": torch.zeros(4, dtype=torch.int64)}),
        "must be torch.float32, found torch.int64",
    ),
    "strides that overlap": (
        lambda n, t: n["layers"]["c1"]["tensors"]["bias"].update(stride=[0]),
        "[0] are no strides of a tensor [4]",
    ),
    "strides that reach far": (
        lambda n, t: n["layers"]["c1"]["tensors"]["bias"].update(stride=[2**40]),
        "are no strides of a tensor [4]",
    ),
    "no neurons": (lambda n, t: n["neurons"].clear(), "its neurons are missing"),
    "neurons too many": (
        lambda n, t: n["neurons"].update(more=n["neurons"]["relu"]),
        "neurons that no step runs",
    ),
    "a threshold of NaN": (
        lambda n, t: t["neurons.relu.v_threshold"].fill_(torch.nan),
        "v_threshold must be positive and finite everywhere",
    ),
    "a threshold of 0": (
        lambda n, t: t["neurons.relu.v_threshold"].zero_(),
        "v_threshold must be positive and finite everywhere",
    ),
    "a potential of NaN": (
        lambda n, t: t["neurons.relu.v_init"].fill_(torch.nan),
        "v_init must be finite everywhere",
    ),
    "neurons of another shape": (
        lambda n, t: t.update({"neurons.relu.v_init": torch.zeros(3, 1, 1)}),
        "IFNode: v_threshold, v_init, bias and each step of step_bias must broadcast",
    ),
    "neurons that do not fit": (
        lambda n, t: t.update({"neurons.relu.v_init": torch.zeros(4, 99, 1)}),
        "v_init must fit neurons [4, 8, 8], found [4, 99, 1]",
    ),
    "a potential of text": (
        lambda n, t: n["neurons"]["relu"].update(v_reset="explode"),
        "v_reset must be",
    ),
    "an argument no neuron has": (
        lambda n, t: n["neurons"]["relu"].update(hook="print"),
        "are no neurons: they have",
    ),
    "an unknown backend": (
        lambda n, t: n["neurons"]["relu"].update(backend="shell"),
        "backend must be one of",
    ),
    "an unknown class": (lambda n, t: n.update(kind="Popen"), "'Popen' is no spiking network"),
    "another class": (
        lambda n, t: n.update(kind="SpikingVGG"),
        "SpikingVGG: ann must have no residual addition",
    ),
    "no steps": (lambda n, t: n.update(T=0), "in 0 steps is no spiking network"),
    "endless steps": (lambda n, t: n.update(T=10**40), "is no spiking network"),
    "a timing": (lambda n, t: n["timing"].update(delay=-1), "delay must be at least 0, got -1"),
    "endless timing": (lambda n, t: n["timing"].update(srp=2**20), "is no timing"),
    "timing without end": (lambda n, t: n["timing"].update(srp=10**40), "srp must be at most 167"),
    "a timing of text": (lambda n, t: n["timing"].update(delay="1"), "Timing.delay is '1'"),
    "a report of others": (
        lambda n, t: n["report"]["rows"][0].update(name="other"),
        "the report is one of other neurons",
    ),
    "a report of text": (lambda n, t: n.update(report="all fine"), "'all fine' is no Report"),
    "no report": (lambda n, t: n["report"].pop("rows"), "a Report has rows, T, images"),
    "widths of text": (lambda n, t: n["program"].update(widest="1"), "are no sizes of a program"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged(name: str, whole: bytes, tmp_path: Path) -> None:
    assert_refused(FORGERIES[name], whole, tmp_path)
