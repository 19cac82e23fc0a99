"""The whole path on scikit-learn's digits: train, convert, measure, compare; no download."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from textwrap import indent
from time import perf_counter

import torch
from torch import Tensor, nn

from spikeconv.convert import SpikingNetwork, convert
from spikeconv.data import Dataset, load_dataset
from spikeconv.environment import machine
from spikeconv.evaluate import evaluate
from spikeconv.metrics import correct
from spikeconv.models import ResNet, build_model
from spikeconv.models.weights import Weights, write_weights
from spikeconv.network.naive import NaiveSimulation
from spikeconv.output import check_apart, check_output
from spikeconv.plot import SUFFIXES, figure_class, plot_accuracy
from spikeconv.train import Recipe, Trainer

STEPS = (1, 2, 4, 8, 16, 32)
V_INITS = {"v_init = 0": "zero", "v_init = theta/2": "half"}
CALIBRATION_IMAGES = 512
TIMED_T = 16
ROUNDS = 7


def demo(
    plot: str | Path = "spikeconv-demo.png",
    *,
    epochs: int = 20,
    seed: int = 0,
    save: str | Path | None = None,
) -> None:
    """Train a ResNet-8 on handwritten digits, convert it, print what comes out, save a plot.

    Args:
        plot: picture of accuracy against T, ``.png``, ``.svg`` or ``.pdf``.
        epochs: passes over the training digits, 1 or more.
        seed: draws the weights, the order of the digits and the calibration digits. The split is
            that of `spikeconv evaluate`, which measures saved weights on the same test digits.
        save: file for the ANN's weights, or None.

    Raises:
        ImportError: scikit-learn or matplotlib is not installed.
        ValueError, FileNotFoundError: the plot or the weights cannot be written there.
    """
    plot = check_output(plot, SUFFIXES)
    figure_class()
    check_apart({"the plot": plot, "the weights": save}, {})
    if save is not None:
        check_output(save)
    data = load_dataset("digits")
    print(f"on {machine()}\n\n1. A ReLU network with batch norm")
    ann, ann_accuracy = train(data, epochs, seed)
    if save is not None:
        if Path(save).suffix.lower() == ".safetensors":
            write_weights(save, Weights(ann.state_dict()))
        else:
            torch.save(ann.state_dict(), save)
        print(f"   wrote its weights: {Path(save).resolve()}")
    print("\n2. The spiking network, converted anew for each T")
    calibration = data.train.sample(CALIBRATION_IMAGES, seed)
    print(f"   thresholds per channel by squared error on {CALIBRATION_IMAGES} training digits")
    curves, snn = sweep(ann, data, calibration)
    print(f"\n3. What conversion did, T = {TIMED_T}, v_init = theta/2")
    print(indent(str(snn.report()), "   "))
    print(f"\n4. Speed, T = {TIMED_T}, all {len(data.test)} test digits in one batch")
    compare_speed(snn, data.test.read(torch.arange(len(data.test))))
    plot_accuracy(plot, curves, ann_accuracy, "Handwritten digits, ResNet-8")
    print(f"\n5. Accuracy against T as a picture: {plot.resolve()}")


def train(data: Dataset, epochs: int, seed: int) -> tuple[ResNet, float]:
    """Train a ResNet-8, and print how; return it and its accuracy on the test digits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ann = build_model("resnet8", num_classes=len(data.classes), in_channels=1)
    assert isinstance(ann, ResNet)
    count = sum(p.numel() for p in ann.parameters())
    print(f"   {ann.config}, {count:,} parameters")
    start = perf_counter()
    recipe = Recipe(epochs=epochs, batch=64, schedule="onecycle", augment=(), holdout=0, seed=seed)
    Trainer(ann, data.train, recipe, None).run(say=lambda line: None)
    print(
        f"   trained for {epochs} epochs on {len(data.train):,} handwritten digits of 8 x 8 pixels "
        f"in {perf_counter() - start:.1f} s"
    )
    with torch.inference_mode():
        logits = ann(data.test.read(torch.arange(len(data.test))))
    accuracy = correct(logits, data.test.labels).item() / len(data.test)
    print(f"   accuracy {accuracy:.2%} on {len(data.test)} test digits")
    return ann, accuracy


def sweep(
    ann: nn.Module, data: Dataset, calibration: Tensor
) -> tuple[dict[str, dict[int, float]], SpikingNetwork]:
    """Convert for every T and v_init, and print the table.

    Returns:
        Name of the run -> {T: accuracy}, and the network for `TIMED_T` and theta/2.
    """
    loader = data.test.batches(len(data.test))
    curves: dict[str, dict[int, float]] = {name: {} for name in V_INITS}
    converted: dict[tuple[int, str], SpikingNetwork] = {}
    print("   accuracy on the test digits, and rate: spikes per neuron and step\n")
    print(f"   {'':>6}  " + "  ".join(f"{name:>16}  rate" for name in V_INITS))
    for T in STEPS:
        cells = []
        for name, v_init in V_INITS.items():
            snn = convert(ann, calibration, T=T, method="opi", v_init=v_init, progress=False)
            result = evaluate(ann, snn, loader, progress=False)
            curves[name][T] = result.snn[-1]
            converted[T, v_init] = snn
            cells.append(f"{result.snn[-1]:16.2%}  {result.firing_rate:.2f}")
        print(f"   {f'T = {T}':>6}  " + "  ".join(cells))
    print(f"   {'ANN':>6}  " + "        ".join([f"{result.ann:16.2%}"] * len(V_INITS)))
    return curves, converted[TIMED_T, "half"]


@torch.inference_mode()
def compare_speed(snn: SpikingNetwork, images: Tensor) -> dict[str, float]:
    """Print and return images/s of a network and of the same one as a plain torch loop.

    Both run in turn; the medians are compared. Outputs are compared first.

    Raises:
        RuntimeError: the two give different classes.
    """
    runs = {"spikeconv": snn, "plain torch loop": NaiveSimulation(snn)}
    ours, naive = (run(images) for run in runs.values())
    same = int((ours.argmax(-1) == naive.argmax(-1)).sum())
    difference = float((ours - naive).abs().max())
    # Sums in another order may move a neuron across its threshold once in many images.
    if same < 0.99 * len(images):
        raise RuntimeError(
            f"demo: both simulations must give the same classes, got {same} of {len(images)}"
        )
    print(f"   same class for {same} of {len(images)}, logits differ by {difference:.1g} at most")
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = perf_counter()
            run(images)
            seconds[name].append(perf_counter() - start)
    speed = {name: len(images) / median(times) for name, times in seconds.items()}
    for name, value in speed.items():
        print(f"   {name:<16}  {value:9,.0f} images/s")
    print(f"   {speed['spikeconv'] / speed['plain torch loop']:.1f} times as fast")
    return speed
