"""Training of ANNs made to be converted."""

from spikeconv.train.job import Job
from spikeconv.train.loop import Trainer
from spikeconv.train.recipe import OPTIMIZERS, SCHEDULES, Recipe

__all__ = ["OPTIMIZERS", "SCHEDULES", "Job", "Recipe", "Trainer"]
