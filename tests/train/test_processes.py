"""Two processes train one network: equal weights, disjoint images, and no survivor of a death."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from spikeconv.data import ImageSet
from spikeconv.processes import Processes
from spikeconv.train import Trainer
from tests.processes.launch import said, torchrun
from tests.train.runs import network, recipe

# What each process runs: the command, and then its weights and the images it has read in a file.
SCRIPT = """
import os, signal, sys, torch
from dataclasses import replace
from spikeconv.cli import main
from spikeconv.data import ImageSet
from spikeconv.processes import pulse
from spikeconv.train import Trainer, augment, job
pulse.BEAT = 0.3
augment._TOGETHER = 1  # every batch is read alone
torch.set_num_threads(1)
folder, dies, *words = sys.argv[1:]
rank, read, kept = int(os.environ["RANK"]), [], []
raw, run, chosen = ImageSet.raw, Trainer.run, job.network_config

def note(self, indices):
    read.append(indices.tolist())
    if dies == "dies" and rank == 1 and len(read) > 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return raw(self, indices)

def keep(self, *args):
    read.clear()
    run(self, *args)
    torch.save([read, self.model.state_dict(), self.steps], f"{folder}/{rank}.pt")

def narrow(*args):
    return replace(chosen(*args), widths=(4, 4, 8))

ImageSet.raw, Trainer.run, job.network_config = note, keep, narrow
sys.exit(main(words))
"""


def train(folder: Path, dies: str = "lives") -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    words = ["train", "--model", "resnet8", "--dataset", "digits", "--limit", "96", "--batch", "32"]
    words += ["--epochs", "2", "--holdout", "9", "--out", str(folder / "run")]
    return torchrun(script, 2, str(folder), dies, *words)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run of two processes, and what it printed."""
    folder = tmp_path_factory.mktemp("two")
    done = train(folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_both_end_with_the_same_weights(trained: tuple[Path, str]) -> None:
    (_, first, _), (_, second, _) = (
        torch.load(trained[0] / f"{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_each_reads_its_half_of_every_batch(trained: tuple[Path, str]) -> None:
    halves = [torch.load(trained[0] / f"{rank}.pt", weights_only=True)[0] for rank in (0, 1)]
    assert all(len(reads) == 2 * (3 + 1) for reads in halves)  # epochs, steps, held-out images
    for epoch in (0, 4):
        seen: list[int] = []
        for first, second in zip(
            halves[0][epoch : epoch + 3], halves[1][epoch : epoch + 3], strict=True
        ):
            assert len(first) == len(second) == 16
            seen += first + second
        assert len(set(seen)) == 96
        held_out = halves[0][epoch + 3] + halves[1][epoch + 3]
        assert len(set(held_out)) == 9 and not set(held_out) & set(seen)


def test_one_writes_and_prints(trained: tuple[Path, str]) -> None:
    folder, printed = trained
    assert printed.count("epoch 1/2: ") == printed.count("epoch 2/2: ") == 1
    log = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == [1, 2]
    assert all(line["held_out"] * 9 == pytest.approx(round(line["held_out"] * 9)) for line in log)


def test_a_process_that_dies_ends_the_run_and_is_named(tmp_path: Path) -> None:
    done = train(tmp_path, "dies")
    assert done.returncode != 0
    (line,) = said(done)
    assert line.startswith("spikeconv: rank 1 of 2 processes gives no sign of life: killed")
    assert line.endswith(
        f"The same command goes on after the last epoch kept in {tmp_path / 'run'}."
    )


def test_a_batch_that_cannot_be_shared_is_refused(images: ImageSet) -> None:
    with pytest.raises(ValueError, match="batch must be a multiple of the 3 processes, got 16"):
        Trainer(network(), images, recipe(), None, processes=Processes(count=3))
