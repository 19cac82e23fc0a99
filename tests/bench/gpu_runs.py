"""Runs of bench/gpu_networks.py on a network that takes no time."""

import json

import pytest
import torch

from spikeconv import convert

SMALL_NET = torch.nn.Sequential(
    torch.nn.Flatten(), torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 5)
)


@pytest.fixture(scope="module")
def networks(load_script):
    return load_script("gpu_networks")


@pytest.fixture
def smoke(networks, monkeypatch, tmp_path):
    """A run of the networks' script on a network that takes no time."""
    snn = convert(SMALL_NET, torch.rand(64, 3, 2, 2), T=4, method="opi", progress=False)
    monkeypatch.setattr(networks, "convert_network", lambda *given: (SMALL_NET, snn))
    monkeypatch.setattr(networks, "plan", lambda models: SETTINGS(networks))
    path = tmp_path / "networks.json"

    def run(*more):
        images = networks.Images(2)
        monkeypatch.setattr(networks, "Images", lambda size: images)
        status = networks.main(["--device", "cpu", "--json", str(path), *more])
        return status, json.loads(path.read_text())

    return run


def SETTINGS(networks):
    return [networks.Setting("resnet20", 2, batch, 3, False) for batch in (2, 3)]
