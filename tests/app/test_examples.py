"""The examples, in small: each runs, says what it did, and ends well where something was gained."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name: str) -> ModuleType:
    """A script of examples/ as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_digits_are_learned_from_scratch(capsys: pytest.CaptureFixture[str]) -> None:
    assert example("train_digits").main(["--epochs", "2", "--T", "2"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^untrained: \d+\.\d\d% of 360 test digits$", said, re.MULTILINE)
    reached = re.findall(r"test accuracy (\d+\.\d\d)%", said)
    assert len(reached) == 2
    assert float(reached[-1]) > 85


def test_the_same_seed_gives_the_same_network() -> None:
    script = example("train_digits")
    outputs = []
    for _ in range(2):
        torch.manual_seed(3)
        network = script.SpikingDigits(2)
        outputs.append(network(torch.rand(2, 1, 8, 8)))
    assert torch.equal(*outputs)


def test_a_converted_network_is_fine_tuned(
    cifar10_pixels: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Noise and labels at random, of which as much is to be learned as memorised: the way is shown.
    arguments = ["--data", str(tmp_path), "--steps", "3", "--batch", "4", "--test-images", "20"]
    status = example("fine_tune").main([*arguments, "--T", "2"])
    said = capsys.readouterr().out
    before, after = re.findall(r"(\d+\.\d\d)%", said)
    assert re.search(r"^converted, T = 2: ", said, re.MULTILINE)
    assert re.search(r"^step    3: loss \d", said, re.MULTILINE)
    assert status == (0 if float(after) > float(before) else 1)


@pytest.mark.parametrize("rate", ["1e5", "1e30"])
def test_fine_tuning_that_diverges_says_so(
    cifar10_pixels: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str], rate: str
) -> None:
    arguments = ["--data", str(tmp_path), "--steps", "3", "--batch", "4", "--T", "2"]
    assert example("fine_tune").main([*arguments, "--lr", rate]) == 1
    said = re.escape(f"lower --lr, which is {float(rate):g}") + r"\n"
    assert re.fullmatch(
        r"fine_tune: training diverged at step \d; " + said, capsys.readouterr().err
    )


@pytest.mark.parametrize("steps", [1, 10])  # 10: of which a tenth is one, too few to rise in
def test_any_number_of_steps_and_of_test_images(
    cifar10_pixels: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: int
) -> None:
    arguments = ["--data", str(tmp_path), "--steps", str(steps), "--batch", "1", "--T", "1"]
    example("fine_tune").main([*arguments, "--test-images", "999999"])
    said = capsys.readouterr().out
    assert f"% of {len(cifar10_pixels)} test images\n" in said
    assert f"step {steps:4}: loss " in said


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        (
            "fine_tune",
            ["--data", "/none"],
            "argument --data: .*looked in /none, which is",
        ),
        *(
            ("fine_tune", [f"--lr={rate}"], f"argument --lr: wanted a number above 0.*'{rate}'")
            for rate in ("-1", "0", "nan", "inf", "1e38", "fast")
        ),
        ("fine_tune", ["--T", "0"], "argument --T: wanted a whole number of 1 or more, got '0'"),
        (
            "train_digits",
            ["--epochs", "0"],
            "argument --epochs: wanted a whole number of 1 or more",
        ),
        ("train_digits", ["--batch", "1438"], "argument --batch: wanted at most 1437"),
    ],
)
def test_a_wrong_argument_is_one_line(
    name: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        example(name).main(words)
    assert stop.value.code == 2
    assert re.search(message, capsys.readouterr().err.splitlines()[-1])


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_every_example_explains_itself(name: str) -> None:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--seed" in done.stdout
