"""Several processes measure what one does: the same counts, whatever the shares."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch

from spikeconv.cli import main
from spikeconv.models import build_model
from tests.processes.launch import said, torchrun

# Each of three processes runs the command with all of some further words, one after another.
SCRIPT = """
import json, sys, torch
from spikeconv.cli import main
torch.set_num_threads(1)
base, *runs = map(json.loads, sys.argv[1:])
sys.exit(max(main([*base, *words]) for words in runs))
"""

# The same, and the second of two is killed after its first batch.
DYING = """
import json, os, signal, sys
from spikeconv import evaluate
from spikeconv.cli import main
from spikeconv.processes import pulse
pulse.BEAT = 0.3
add = evaluate._Count._add

def dying(self, *batch):
    add(self, *batch)
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)

evaluate._Count._add = dying
sys.exit(main([*json.loads(sys.argv[1]), *json.loads(sys.argv[2])]))
"""

Ran: TypeAlias = tuple[Path, subprocess.CompletedProcess[str]]

RUNS = {
    "seven batches, the last one smaller": "--limit 325 --batch 50 --T 2 5",
    "fewer images than processes": "--limit 2 --batch 1 --T 3 --signed",
    "one batch, steps before the readout": "--limit 5 --T 4 --method opi --srp 1 --cos 1",
    "thresholds of the layer, drawn potentials": "--T 4 --granularity layer --v-init uniform",
}


def command(folder: Path) -> list[str]:
    weights = folder / "weights.pt"
    torch.manual_seed(0)
    torch.save(build_model("resnet8", in_channels=1, widths=(4, 4, 8)).state_dict(), weights)
    words = ["evaluate", "--weights", str(weights), "--dataset", "digits"]
    return [*words, "--calibration-images", "64"]


def several(script: str, folder: Path, count: int, *runs: list[str]) -> Any:
    path = folder / "script.py"
    path.write_text(script)
    return torchrun(path, count, *map(json.dumps, (command(folder), *runs)))


@pytest.fixture(scope="module")
def three(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder of all runs in three processes, and what they printed."""
    folder = tmp_path_factory.mktemp("three")
    runs = [
        [*run.split(), "--json", str(folder / f"{index}.json")]
        for index, run in enumerate(RUNS.values())
    ]
    done = several(SCRIPT, folder, 3, *runs)
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.mark.parametrize("run", RUNS)
def test_all_counts_are_those_of_one_process(three: Ran, tmp_path: Path, run: str) -> None:
    alone = tmp_path / "alone.json"
    assert main([*command(tmp_path), *RUNS[run].split(), "--json", str(alone)]) == 0
    wanted = json.loads(alone.read_text())
    index = list(RUNS).index(run)
    found = json.loads((three[0] / f"{index}.json").read_text())
    assert (wanted.pop("processes"), found.pop("processes")) == (1, 3)
    for measured in (wanted, found):
        assert measured.pop("seconds").keys() == {"ann", "snn"}
        measured.pop("machine")
    assert found == wanted
    assert found["images"] == (325, 2, 5, 360)[index]


def test_one_prints(three: Ran) -> None:
    done = three[1]
    assert done.stdout.count("converted for T = 2\n") == 1
    assert done.stdout.count("images in 3 processes: ") == 5
    assert said(done) == []


def test_a_process_that_dies_ends_the_run_and_is_named(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    words = ["--T", "2", "--method", "opi", "--batch", "50", "--json", str(result)]
    done = several(DYING, tmp_path, 2, words)
    assert done.returncode != 0
    (line,) = said(done)
    assert line.startswith("spikeconv: rank 1 of 2 processes gives no sign of life: killed")
    assert line.endswith("Nothing was written; start the same command again.")
    assert not result.exists()
