"""Datasets that are already on this machine, as labelled images."""

from spikeconv.data.images import Batches, Dataset, ImageSet
from spikeconv.data.load import (
    CHANNELS,
    DATASETS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    load_dataset,
)
from spikeconv.data.photos import Photos

__all__ = [
    "CHANNELS",
    "DATASETS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Batches",
    "Dataset",
    "ImageSet",
    "Photos",
    "load_dataset",
]
