"""Training of ANNs made to be converted."""

from spikeconv.train.classifier import train_classifier
from spikeconv.train.loop import Trainer
from spikeconv.train.recipe import Recipe

__all__ = ["Recipe", "Trainer", "train_classifier"]
