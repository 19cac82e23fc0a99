"""A damaged, cut or mutated file is one ValueError, at once, and nothing in it is run."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

import spikeconv
from spikeconv.convert import SpikingNetwork
from spikeconv.files.file import dumped
from spikeconv.models.weights import Weights, write_weights
from tests.convert.nets import images
from tests.files.hostile import content, forged, nothing_runs, refused, snn, whole
from tests.files.roundtrip import assert_equal_networks

__all__ = ["nothing_runs", "snn", "whole"]

# Deep in Hypothesis, files are written again and again into one folder of a test.
fuzz = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


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
