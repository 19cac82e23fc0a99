"""Train a small spiking ResNet on handwritten digits from scratch, through its spikes.

    python examples/train_digits.py

The image is the current of the first neurons at every time-step. Every activation is an `IFNode`
with a surrogate for the derivative of its spikes, so that the whole network is trained by ordinary
backpropagation. Nothing is downloaded: the digits come with scikit-learn.
"""

from __future__ import annotations

import argparse
import sys
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv import IFNode
from spikeconv.cli.arguments import positive, seed
from spikeconv.data import Dataset, load_dataset
from spikeconv.surrogate import ATan


def at_every_step(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer without memory on x ``[T, B, *]``: all steps are one batch."""
    y: Tensor = layer(x.flatten(0, 1))
    return y.unflatten(0, x.shape[:2])


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """A convolution with batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


def neurons() -> IFNode:
    """A population with threshold 1 and reset by subtraction."""
    return IFNode(v_threshold=1.0, v_init="half", surrogate_function=ATan(), detach_reset=True)


class Block(nn.Module):
    """Two convolutions and a shortcut; their currents meet in the second neurons."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, 3, stride)
        self.middle = neurons()
        self.second = convolution(outputs, outputs, 3)
        self.shortcut = convolution(inputs, outputs, 1, stride)
        self.last = neurons()

    def forward(self, spikes: Tensor) -> Tensor:
        inner = self.middle(at_every_step(self.first, spikes))
        current = at_every_step(self.second, inner) + at_every_step(self.shortcut, spikes)
        fired: Tensor = self.last(current)
        return fired


class SpikingDigits(nn.Module):
    """A spiking ResNet of three blocks: images ``[B, 1, 8, 8]`` to logits ``[B, 10]``."""

    def __init__(self, T: int) -> None:
        super().__init__()
        self.T = T
        self.stem, self.first = convolution(1, 16, 3), neurons()
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        spikes = self.first(self.stem(images), self.T)  # the current stays: computed once
        rates = self.blocks(spikes).mean((0, 3, 4))
        logits: Tensor = self.head(rates)
        return logits


@torch.no_grad()
def accuracy(network: nn.Module, data: Dataset) -> float:
    """Share of the test digits that are recognised."""
    network.eval()
    images = data.test.read(torch.arange(len(data.test)))
    right = (network(images).argmax(1) == data.test.labels).double().mean().item()
    network.train()
    return right


def train(network: nn.Module, data: Dataset, epochs: int, batch: int) -> float:
    """Adam with a learning rate that falls to 0; prints each epoch, returns the test accuracy."""
    steps = epochs * (len(data.train) // batch)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    reached = accuracy(network, data)
    print(f"untrained: {reached:.2%} of {len(data.test)} test digits")
    for epoch in range(1, epochs + 1):
        start, total = perf_counter(), 0.0
        chosen = torch.randperm(len(data.train)).split(batch)[: len(data.train) // batch]
        for indices in chosen:
            loss = F.cross_entropy(network(data.train.read(indices)), data.train.labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        reached = accuracy(network, data)
        print(
            f"epoch {epoch:2}: loss {total / len(chosen):.3f}, test accuracy {reached:.2%}, "
            f"{perf_counter() - start:.1f} s",
            flush=True,
        )
    return reached


def main(arguments: list[str] | None = None) -> int:
    """Train, print how."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--T", type=positive, default=4, help="time-steps")
    parser.add_argument("--epochs", type=positive, default=10)
    parser.add_argument("--batch", type=positive, default=64)
    parser.add_argument("--seed", type=seed, default=0, help="draws weights, order and split")
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)
    data = load_dataset("digits", seed=options.seed)
    if options.batch > len(data.train):
        parser.error(f"argument --batch: wanted at most {len(data.train)}, the training digits")
    network = SpikingDigits(options.T)
    count = sum(parameter.numel() for parameter in network.parameters())
    print(f"{count:,} parameters, T = {options.T}, {len(data.train):,} training digits")
    train(network, data, options.epochs, options.batch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
