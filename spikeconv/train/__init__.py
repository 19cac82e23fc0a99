"""Training of ANNs made to be converted."""

from spikeconv.train.job import Job
from spikeconv.train.loop import Trainer
from spikeconv.train.recipe import SCHEDULES, Recipe

__all__ = ["SCHEDULES", "Job", "Recipe", "Trainer"]
