"""Run from another folder by an environment that holds only the wheel: what it installed works.

Usage: python installed.py FOLDER_OF_THE_ENVIRONMENT
"""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from pathlib import Path

import torch

import spikeconv
import spikeconv.kernels.if_multistep


def main(environment: Path) -> None:
    for module in (spikeconv, spikeconv.kernels):
        assert Path(str(module.__file__)).is_relative_to(environment), module.__file__

    installed = distribution("spikeconv")
    files = [Path(str(file)) for file in installed.files or []]
    names = {file.parts[0] for file in files if file.parts[0] != ".."}
    assert names == {"spikeconv", f"spikeconv-{installed.version}.dist-info"}, names
    assert not [file for file in files if "test" in file.name], files

    x = torch.tensor([[0.75, 0.25], [0.75, 0.25]])
    spikes, v = spikeconv.if_multistep(x, v_init=0.5, backend="cpp")
    assert spikes.tolist() == [[1.0, 0.0], [1.0, 1.0]], spikes
    assert v is not None and v.tolist() == [0.0, 0.0], v
    print(f"spikeconv {installed.version} works from {Path(str(spikeconv.__file__)).parent}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
