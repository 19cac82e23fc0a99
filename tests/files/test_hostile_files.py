"""A damaged, cut or forged file is one ValueError, at once, and nothing in it is run."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import spikeconv
from spikeconv.convert import SpikingNetwork, simulation
from spikeconv.files.file import dumped
from spikeconv.models.weights import Weights, write_weights
from tests.convert.bodies import NETWORKS
from tests.convert.nets import converted, images
from tests.files.roundtrip import assert_equal_networks

Json = dict[str, Any]

# Deep in Hypothesis, files are written again and again into one folder of a test.
fuzz = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def snn() -> SpikingNetwork:
    torch.manual_seed(0)
    return converted(NETWORKS["branches"](), T=4, corrections=("step-bias", "weights"), delay=1)


@pytest.fixture(scope="module")
def whole(snn: SpikingNetwork, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "snn.safetensors"
    snn.save(path)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A call of the network, or of anything in its program, fails the test."""

    def run(*args: Any) -> None:
        raise AssertionError("opening a file has run a step of it")

    monkeypatch.setattr(simulation, "run_step", run)
    yield
    monkeypatch.undo()


def content(whole: bytes, folder: Path) -> tuple[Json, dict[str, Tensor]]:
    """The description and the tensors of a file."""
    path = folder / "whole.safetensors"
    path.write_bytes(whole)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["spikeconv.network"])["network"], tensors


def forged(description: Any, tensors: dict[str, Tensor], folder: Path) -> Path:
    """A file of this content with the right digest."""
    path = folder / "forged.safetensors"
    save_file(tensors, path, {"spikeconv.network": dumped(description, tensors)})
    return path


def refused(path: Path) -> str:
    """What opening the file says, in less than two seconds."""
    start = time.perf_counter()
    with pytest.raises(ValueError) as caught:
        spikeconv.load(path)
    assert time.perf_counter() - start < 2
    assert type(caught.value) is ValueError
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and len(text) < 1000
    return text


@fuzz
@given(data=st.data())
def test_flipped_bytes(
    data: st.DataObject, whole: bytes, snn: SpikingNetwork, tmp_path: Path
) -> None:
    """Wherever they are: in the header, in the description, in the values."""
    broken = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
        broken[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "broken.safetensors"
    path.write_bytes(broken)
    try:
        again = spikeconv.load(path)
    except ValueError as error:
        assert type(error) is ValueError and str(error).startswith(f"{path}: ")
    else:  # one kind of white space for another, or a flip that was taken back
        assert repr(again.program) == repr(snn.program)
        assert all(
            torch.equal(value, snn.state_dict()[name]) for name, value in again.state_dict().items()
        )


def test_every_bit_of_a_value_counts(whole: bytes, tmp_path: Path) -> None:
    (header,) = struct.unpack("<Q", whole[:8])
    for place in range(8 + header, len(whole), 97):
        broken = bytearray(whole)
        broken[place] ^= 1
        (tmp_path / "broken.safetensors").write_bytes(broken)
        assert "damaged" in refused(tmp_path / "broken.safetensors")


def test_cut_files(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    for size in (*range(0, 200, 7), *range(200, len(whole), 1009), len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(path)
    path.write_bytes(whole + b"\0")
    refused(path)


def test_other_files(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    with pytest.raises(FileNotFoundError, match="found nothing there"):
        spikeconv.load(path)
    with pytest.raises(ValueError, match="found a folder"):
        spikeconv.load(tmp_path)
    path.write_text("import os")
    assert "damaged" in refused(path)
    torch.save(nn.Linear(2, 2), path)
    assert "wanted a .safetensors file" in refused(path)
    save_file({"weight": torch.zeros(2)}, path)
    assert "found a file of something else" in refused(path)
    write_weights(path, Weights({"weight": torch.zeros(2)}))
    assert "spikeconv.models.load_model" in refused(path)
    # A header that says it is longer than any file.
    path.write_bytes(struct.pack("<Q", 2**62) + whole[8:])
    refused(path)


@pytest.mark.parametrize(
    ("text", "says"),
    (
        ("", "is no JSON"),
        ("{", "is no JSON"),
        ("[" * 100_000 + "]" * 100_000, "is no JSON"),
        ("[" * 500 + "]" * 500, "nested more than"),
        ('{"version": ' + "9" * 10_000 + "}", "is no JSON"),
        ('{"version": NaN}', "is no JSON"),
        ('{"version": 1, "version": 2}', "is no JSON"),
        ("[1]", "has no version"),
        ('{"version": true}', "has no version"),
        ('{"version": 999}', "of version 999 and this spikeconv reads version 1; install a later"),
        ('{"version": 0}', "of version 0"),
        ('{"version": 1}', "its description has"),
        ('{"version": 1, "sha256": 7, "network": {}}', "damaged, or was changed"),
    ),
    ids=range(13),
)
def test_descriptions_that_are_none(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "forged.safetensors"
    save_file({"weight": torch.zeros(2)}, path, {"spikeconv.network": text})
    assert says in refused(path)


def _step(network: Json, **changes: Any) -> None:
    """Change the last step, which is the head's addition or its like."""
    network["steps"][-1].update(changes)


def _first(network: Json, kind: str) -> Json:
    return next(step for step in network["steps"] if step["kind"] == kind)


FORGERIES: dict[str, tuple[Callable[[Json, dict[str, Tensor]], Any], str]] = {
    "a function of Python": (
        lambda n, t: _step(n, kind="function", target="os.system", args=["true"]),
        "'os.system' is no function that a file may name",
    ),
    "eval": (lambda n, t: _step(n, kind="function", target="builtins.eval"), "no function"),
    "a file": (lambda n, t: _step(n, kind="function", target="torch.load"), "no function"),
    "a module": (lambda n, t: _step(n, kind="function", target="torch"), "no function"),
    "an inner name": (
        lambda n, t: _step(n, kind="method", target="__class__"),
        "'__class__' is no method that a file may name",
    ),
    "a hook": (lambda n, t: _step(n, kind="method", target="register_hook"), "no method"),
    "an attribute": (
        lambda n, t: _step(
            n, kind="function", target="getattr", args=[{"ref": "input"}, "__globals__"]
        ),
        "reads no attribute that a file may name",
    ),
    "an attribute by name": (
        lambda n, t: _step(
            n, kind="function", target="getattr", args=[{"ref": "input"}], kwargs={"name": "data"}
        ),
        "reads no attribute",
    ),
    "an attribute of a string": (
        lambda n, t: _step(n, kind="function", target="getattr", args=["", "shape"]),
        "reads no attribute",
    ),
    "a method of a string": (
        lambda n, t: _step(n, kind="method", target="split", args=["a b"]),
        "must be one of a value",
    ),
    "a kind": (lambda n, t: _step(n, kind="import"), "'import' is no kind of step"),
    "a phase": (lambda n, t: _step(n, phase="before"), "'before' is no phase"),
    "another phase": (lambda n, t: _step(n, phase="static"), "its phase is readout, not static"),
    "a constant that is none": (lambda n, t: _step(n, phase="constant"), "it is no constant"),
    "a number for a name": (lambda n, t: _step(n, name=7), "7 is no name of a step"),
    "a dunder for a name": (lambda n, t: _step(n, name="__init__"), "no name of a step"),
    "a method of ModuleDict": (lambda n, t: _step(n, name="clear"), "no name of a step"),
    "a path for a name": (lambda n, t: _step(n, name="a.b"), "no name of a step"),
    "a name twice": (lambda n, t: _step(n, name=n["steps"][0]["name"]), "two steps have the name"),
    "a value of its own": (
        lambda n, t: _step(n, args=[{"ref": n["steps"][-1]["name"]}, 1]),
        "which is not there",
    ),
    "a circle": (
        lambda n, t: n["steps"][0].update(args=[{"ref": n["steps"][-1]["name"]}]),
        "which is not there",
    ),
    "an output that is not there": (
        lambda n, t: n["program"].update(output={"ref": "nowhere"}),
        "the output reads 'nowhere'",
    ),
    "a field too many": (lambda n, t: _step(n, code="print()"), "is no step"),
    "a negative shape": (lambda n, t: _step(n, shape=[-1]), "is no shape"),
    "a huge shape": (lambda n, t: _step(n, shape=[2**40, 2**40]), "is no shape"),
    "a huge input": (
        lambda n, t: n["program"]["inputs"][0].update(shape=[10**30]),
        "is no shape",
    ),
    "an input of another kind": (
        lambda n, t: n["program"]["inputs"][0].update(dtype={"dtype": "load"}),
        "'load' is no dtype of torch",
    ),
    "no inputs": (lambda n, t: n["program"].update(inputs=[]), "must have inputs"),
    "integers alone": (
        lambda n, t: n["program"]["inputs"][0].update(dtype={"dtype": "int64"}),
        "none of the inputs is floating-point",
    ),
    "a value of no kind": (
        lambda n, t: _step(n, args=[{"call": "os.system"}]),
        "'call' is no kind of value",
    ),
    "a dunder for a tuple": (
        lambda n, t: n["program"].update(output={"named": ["Out", ["__class__"], [1]]}),
        "is no name of a tuple's value",
    ),
    "code for a tuple": (
        lambda n, t: _step(n, kind="function", target=["Out", ["a=print()"]]),
        "is no name of a tuple's value",
    ),
    "values nested too deep": (
        lambda n, t: _step(n, args=[_nested(40)]),
        "values are nested more than 32 deep",
    ),
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
        "v_init must be numbers, found NaN",
    ),
    "neurons of another shape": (
        lambda n, t: t.update({"neurons.relu.v_init": torch.zeros(3, 1, 1)}),
        "IFNode: v_threshold, v_init, bias and each step of step_bias must broadcast",
    ),
    "neurons that do not fit": (
        lambda n, t: t.update({"neurons.relu.v_init": torch.zeros(4, 99, 1)}),
        "v_init must fit neurons [4, 8, 8], found [4, 99, 1]",
    ),
    "an unknown reset": (
        lambda n, t: n["neurons"]["relu"].update(reset="explode"),
        "reset must be one of",
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
    "endless timing": (lambda n, t: n["timing"].update(srp=10**40), "is no timing"),
    "a timing of text": (lambda n, t: n["timing"].update(delay="1"), "Timing.delay is '1'"),
    "a report of others": (
        lambda n, t: n["report"]["rows"][0].update(name="other"),
        "the report is one of other neurons",
    ),
    "a report of text": (lambda n, t: n.update(report="all fine"), "'all fine' is no Report"),
    "no report": (lambda n, t: n["report"].pop("rows"), "a Report has rows, T, images"),
    "widths of text": (lambda n, t: n["program"].update(widest="1"), "are no sizes of a program"),
}


def _nested(depth: int) -> Any:
    return 0 if depth == 0 else [_nested(depth - 1)]


@pytest.mark.parametrize("name", FORGERIES)
def test_forged(name: str, whole: bytes, tmp_path: Path) -> None:
    """What says such a thing with the right digest."""
    forge, says = FORGERIES[name]
    description, tensors = content(whole, tmp_path)
    forge(description, tensors)
    assert says in refused(forged(description, tensors, tmp_path))


def test_a_change_without_its_digest(whole: bytes, tmp_path: Path) -> None:
    description, tensors = content(whole, tmp_path)
    text = dumped(description, tensors)
    assert '"T": 4' in text
    path = tmp_path / "forged.safetensors"
    save_file(tensors, path, {"spikeconv.network": text.replace('"T": 4', '"T": 5')})
    assert "damaged, or was changed" in refused(path)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in JSON, as what holds it and where."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", "input", "relu", "torch.add", "add", "__class__", "os.system", "c1", "\0"]
    ),
    st.text(max_size=5),
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["ref", "tuple", "dict", "slice", "float", "named", "tensor", "dtype"]),
            inner,
            max_size=2,
        )
    ),
    max_leaves=4,
)


@fuzz
@given(data=st.data())
def test_mutated_descriptions(data: st.DataObject, whole: bytes, tmp_path: Path) -> None:
    """Any part replaced, left out or exchanged for another: a network, or one ValueError."""
    description, tensors = content(whole, tmp_path)
    for _ in range(data.draw(st.integers(1, 2))):
        places = list(_places(description))
        holder, key = places[data.draw(st.integers(0, len(places) - 1))]
        change = data.draw(st.sampled_from(["replace", "remove", "exchange"]))
        if change == "replace":
            holder[key] = data.draw(_VALUES)
        elif change == "remove":
            del holder[key]
        else:
            other, place = places[data.draw(st.integers(0, len(places) - 1))]
            holder[key] = json.loads(json.dumps(other[place]))
    path = forged(description, tensors, tmp_path)
    start = time.perf_counter()
    try:
        assert isinstance(spikeconv.load(path), SpikingNetwork)
    except ValueError as error:
        assert type(error) is ValueError and str(error).startswith(f"{path}: ")
    assert time.perf_counter() - start < 5


def test_the_whole_file_is_a_network(
    whole: bytes, snn: SpikingNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is one that was only taken apart and put together: the tests above change nothing."""
    monkeypatch.undo()
    path = forged(*content(whole, tmp_path), tmp_path)
    assert_equal_networks(spikeconv.load(path), snn, images(2))
