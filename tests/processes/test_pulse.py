"""What becomes of the others where one process ends early, hangs, or all fail alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes.launch import said, torchrun

# Three processes that add up a number; before, `how` happens in rank 1, or in all.
SCRIPT = """
import os, signal, subprocess, sys, time, torch
from spikeconv import cli
from spikeconv.processes import processes, pulse
pulse.BEAT, pulse.PATIENCE = 0.3, 20
how, pids = sys.argv[1:]
with open(pids, "a") as file:
    file.write(f"{os.getpid()}\\n")
one, me = int(os.environ["RANK"]) == 1, os.getpid()

def work(group):
    if one and how == "left":
        os._exit(0)
    if one and how == "stopped":
        # torchrun would wait for half a minute until it kills it.
        wake = ["sh", "-c", f"sleep 9; kill -CONT {me}"]
        subprocess.Popen(wake, start_new_session=True)
        os.kill(me, signal.SIGSTOP)
    if how == "busy":
        if one:
            os.kill(me, signal.SIGKILL)
        time.sleep(60)
    if how == "all terminated":
        if one:
            time.sleep(1)  # until all have joined
            for pid in map(int, open(pids).read().split()):
                os.kill(pid, signal.SIGTERM)
        time.sleep(60)
    if how == "terminated":
        if one:
            os.kill(me, signal.SIGTERM)
        time.sleep(60)
    if one and how == "own error":
        raise ValueError("a wrong label")
    if how == "same error":
        raise ValueError("no such file")
    try:
        group.check_same("the weights", bytes([one]))
    except ValueError as error:
        print(f"{error}", file=sys.stderr)
    group.check_same("the weights", how.encode())
    assert group.sum(torch.tensor(2)) == 6 and group.largest(torch.tensor(group.rank)) == 2

def run(args):
    for _ in range(2):  # a group can be joined more than once
        with processes("cpu", "Start it again.") as group:
            work(group)
    if how == "well" and group.first:
        print("spikeconv: well", file=sys.stderr)

cli.info.run = run
sys.exit(cli.main(["info"]))
"""

LOST = (
    "spikeconv: rank 1 of 3 processes gives no sign of life: killed, perhaps for want of memory, "
    "or stopped, or the machine is gone. Start it again."
)
TERMINATED = "spikeconv: rank 1 of 3 processes was ended by SIGTERM. Start it again."
CASES = {
    "well": "spikeconv: well",
    "terminated": TERMINATED,
    "all terminated": "spikeconv: ended by SIGTERM. Start it again.",
    "left": LOST,
    "stopped": LOST,
    "busy": LOST,
    "own error": "spikeconv: rank 1: a wrong label",
    "same error": "spikeconv: no such file",
}


@pytest.mark.parametrize("how", CASES)
def test_the_run_ends_and_one_process_says_why(tmp_path: Path, how: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = torchrun(script, 3, how, str(tmp_path / "pids"))
    assert said(done) == [CASES[how]], done.stderr
    assert (done.returncode == 0) == (how == "well")
    assert "spikeconv/" not in done.stderr  # no traceback through this package
    differ = "the weights must be the same in all 3 processes, got another in rank 1 than in rank 0"
    assert done.stderr.count(differ) == (6 if how == "well" else 0)  # each says so, twice
