"""Parts of the GPU's benchmarks that a CPU can try: who is admitted, what is replayed or run."""

import os
import subprocess
import sys

import pytest
import torch

import gpu_contest
from gpu_contest import Entry
from replay import replayed
from rival_networks import spikingjelly_default
from spikeconv import convert
from spikeconv.convert import NaiveSimulation

NET = torch.nn.Sequential(
    torch.nn.Flatten(), torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 5)
)


@pytest.fixture(scope="module")
def snn():
    return convert(NET, torch.rand(64, 3, 2, 2), T=4, method="opi", progress=False)


def test_without_a_gpu_nothing_is_replayed():
    task = object
    assert replayed(task, torch.device("cpu")) == (task, False)


def test_the_timed_batch_is_held_against_untuned_tiles(snn, monkeypatch):
    monkeypatch.delenv("SPIKECONV_TUNE", raising=False)
    x = torch.rand(4, 3, 2, 2)

    def tuned_wrongly(x):
        untuned = os.environ.get("SPIKECONV_TUNE") == "0"
        return snn(x) if untuned else snn(x) + 1

    wrong = tuned_wrongly(x)
    entries = {
        "ours": Entry(tuned_wrongly, "int8"),
        # A graph replays the tiles it was made with, whatever is said later.
        "ours-graph": Entry(lambda x: wrong if x.shape == wrong[:, :1].shape else snn(x), "int8"),
    }
    contest = gpu_contest.GpuContest(snn, entries, {"int8": snn})
    with torch.no_grad():
        for name in entries:
            said = gpu_contest.verdict(contest, {}, name, x, wrong)
            assert said == "20 logits differ from their definition"
            assert gpu_contest.verdict(contest, {}, name, x, snn(x)) is None
    assert "SPIKECONV_TUNE" not in os.environ


@pytest.mark.spikingjelly
def test_spikingjelly_as_it_comes_simulates_the_same(snn):
    x = torch.rand(9, 3, 2, 2)
    theirs = spikingjelly_default(snn)
    with torch.no_grad():
        for _ in range(2):  # and again, from a fresh membrane
            assert torch.equal(theirs(x).argmax(1), NaiveSimulation(snn)(x).argmax(1))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("def test_it(): pass", 0),
        ("def test_it(): assert False", 123),
        ("", 0),
        ("syntax error", 123),
    ],
    ids=["passes", "fails", "no test", "broken"],
)
def test_side_by_side(bench, tmp_path, body, status):
    files = [tmp_path / "test_good.py", tmp_path / "test_other.py"]
    files[0].write_text("def test_good(): pass\n")
    files[1].write_text(body + "\n")
    command = ["bash", str(bench / "side_by_side.sh"), f"-p no:cacheprovider --rootdir {tmp_path}"]
    run = subprocess.run(
        [*command, *map(str, files)],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == status, run.stdout + run.stderr
