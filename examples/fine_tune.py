"""Fine-tune a converted ResNet-20 at T = 4 on CIFAR-10 for a few hundred steps, and gain accuracy.

    python examples/fine_tune.py --data ../shared/data

Conversion keeps what a ReLU network has learned; at 4 time-steps that costs accuracy. Here the
spiking network itself goes on learning from labelled training images, its thresholds too. Accuracy
is measured on test images, which it never learns from, before and after.
"""

from __future__ import annotations

import argparse
import math
import sys
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeconv import SpikingNetwork, SpikingResNet
from spikeconv.cli.arguments import positive, seed
from spikeconv.data import Dataset, ImageSet, load_dataset
from spikeconv.metrics import correct

_MOST_RATE = 1e30


@torch.no_grad()
def accuracy(network: SpikingNetwork, images: ImageSet, count: int) -> float:
    """Share of so many evenly spaced images that are recognised."""
    batches = images.batches(200, count)
    return sum(int(correct(network(x), labels)) for x, labels in batches) / batches.count


def rate(text: str) -> float:
    """Parse a learning rate; Adam's steps are several times as large, and are to fit float32."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= _MOST_RATE:
        wanted = f"wanted a number above 0, at most {_MOST_RATE:g}"
        raise argparse.ArgumentTypeError(f"{wanted}, got {text!r}")
    return value


def draw(images: ImageSet, count: int) -> tuple[Tensor, Tensor]:
    """Random images, half of them mirrored, and their labels."""
    chosen = torch.randint(len(images), (count,))
    x = images.read(chosen)
    mirrored = torch.rand(count) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1), x.flip(3), x), images.labels[chosen]


def is_sound(network: SpikingNetwork) -> bool:
    """Whether all weights are numbers, and all thresholds above 0."""
    finite = all(bool(parameter.isfinite().all()) for parameter in network.parameters())
    return finite and all(bool((n.v_threshold > 0).all()) for n in network.populations().values())


def fine_tune(network: SpikingNetwork, data: Dataset, steps: int, batch: int, lr: float) -> None:
    """Adam on the weights and thresholds; the learning rate rises for a tenth, then falls to 0.

    Raises:
        FloatingPointError: training diverged.
    """
    network.trainable(thresholds=True)
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learned, lr=lr)
    rising = 0.1 if steps > 10 else 0.0  # of which OneCycleLR wants more than one step, or none
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=steps, pct_start=rising
    )
    start, total = perf_counter(), 0.0
    for step in range(1, steps + 1):
        images, labels = draw(data.train, batch)
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if not is_sound(network):
            raise FloatingPointError(
                f"fine_tune: training diverged at step {step}; lower --lr, which is {lr:g}"
            )
        total += loss.item()
        if step % 50 == 0 or step == steps:
            since = (step - 1) % 50 + 1
            took = perf_counter() - start
            print(f"step {step:4}: loss {total / since:.3f}, {took:.0f} s", flush=True)
            total = 0.0


def main(arguments: list[str] | None = None) -> int:
    """Convert, measure, fine-tune, measure; 1 if nothing was gained or training diverged."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="../shared/data", help="folder that holds CIFAR-10")
    parser.add_argument("--T", type=positive, default=4, help="time-steps")
    parser.add_argument("--steps", type=positive, default=300, help="optimizer steps")
    parser.add_argument("--batch", type=positive, default=32)
    parser.add_argument("--lr", type=rate, default=5e-4)
    parser.add_argument(
        "--test-images", type=positive, default=2000, help="to measure on, evenly spaced"
    )
    parser.add_argument("--seed", type=seed, default=0, help="draws the training images")
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)
    try:
        data = load_dataset("cifar10", options.data)
    except (OSError, ValueError) as error:
        parser.error(f"argument --data: {error}")
    network = SpikingResNet.from_pretrained("resnet20-cifar10", T=options.T)
    images = min(options.test_images, len(data.test))
    before = accuracy(network, data.test, images)
    print(f"converted, T = {options.T}: {before:.2%} of {images} test images")
    try:
        fine_tune(network, data, options.steps, options.batch, options.lr)
    except FloatingPointError as error:
        print(error, file=sys.stderr)
        return 1
    after = accuracy(network, data.test, images)
    print(f"fine-tuned: {after:.2%}, {100 * (after - before):+.2f} points")
    return 0 if after > before else 1


if __name__ == "__main__":
    sys.exit(main())
