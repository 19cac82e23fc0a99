"""Figures of papers, in percent, with where they were read and what their T counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A row of somebody's table.

    Args:
        dataset: name as in `spikeconv.data`.
        family: the network, as `trained.Network.family`.
        method: name, and a variant where the paper has several.
        ann: accuracy of the ANN, or None where it is not said.
        figures: T -> accuracy; T as the source counts it.
        source: paper and table, or repository.
        extra: steps before the readout that T leaves out.
        confirmed: read in the source; else recalled from memory.
        note: what a reader must know before comparing.
    """

    dataset: str
    family: str
    method: str
    ann: float | None
    figures: Mapping[int, float]
    source: str
    extra: int = 0
    confirmed: bool = True
    note: str = ""


_QCFS = "QCFS paper (ICLR 2022), table 1"
_QCFS_2 = "QCFS paper (ICLR 2022), table 2"
_CALIBRATION = "README of yhhhli/SNN_Calibration at 4aece7c, mean of 5 seeds"
_WIDE = "their ResNet-20 is 64/128/256 wide, ours 16/32/64"
_OPI = "OPI paper (AAAI 2022)"
_SRP = "README of hzc1208/ANN2SNN_SRP at c31b44c"
_COS = "README of hzc1208/ANN2SNN_COS at ecb3587"
_INFERENCE = "Inference-scale paper (CVPR 2025)"

PUBLISHED: tuple[Published, ...] = (
    Published(
        "cifar10", "resnet20", "OPI", 92.74,
        {8: 66.24, 16: 87.22, 32: 91.88, 64: 92.57}, _OPI, confirmed=False,
    ),
    Published(
        "cifar10", "resnet20", "QCFS", 91.77,
        {2: 73.20, 4: 83.75, 8: 89.55, 16: 91.62, 32: 92.24, 64: 92.35}, _QCFS,
    ),
    Published("cifar10", "resnet20", "TSC", 91.47, {64: 69.38}, _QCFS),
    Published(
        "cifar10", "resnet20", "Calibration, none", 95.68, {16: 67.88}, _CALIBRATION, note=_WIDE,
    ),
    Published(
        "cifar10", "resnet20", "Calibration, light", 95.68, {16: 93.89}, _CALIBRATION, note=_WIDE,
    ),
    Published(
        "cifar10", "resnet20", "Calibration, advanced", 95.68, {16: 94.33}, _CALIBRATION,
        note=_WIDE,
    ),
    Published(
        "cifar10", "vgg16", "OPI", None, {16: 93.38}, "OPI paper (AAAI 2022), abstract",
    ),
    Published(
        "cifar10", "vgg16", "OPI, the other T", 94.57, {8: 90.96, 32: 94.20, 64: 94.45}, _OPI,
        confirmed=False,
    ),
    Published(
        "cifar10", "vgg16", "QCFS", 95.52,
        {2: 91.18, 4: 93.96, 8: 94.95, 16: 95.40, 32: 95.54, 64: 95.55}, _QCFS,
    ),
    Published(
        "cifar10", "vgg16", "QCFS, its author's new code", None, {2: 90.94, 4: 94.01, 8: 95.01},
        "README of putshua/ANN_SNN_QCFS at eca136b",
    ),
    Published("cifar10", "vgg16", "RMP", 93.63, {32: 60.30, 64: 90.35}, _QCFS),
    Published("cifar10", "vgg16", "TSC", 93.63, {64: 92.79}, _QCFS),
    Published("cifar10", "vgg16", "RTS", 95.72, {32: 76.24, 64: 90.64}, _QCFS),
    Published("cifar10", "vgg16", "RNL", 92.82, {16: 57.90, 32: 85.40, 64: 91.15}, _QCFS),
    Published("cifar10", "vgg16", "SNNC-AP", 95.72, {32: 93.71, 64: 95.14}, _QCFS),
    Published("cifar10", "vgg16", "Calibration, none", 95.76, {16: 64.52}, _CALIBRATION),
    Published("cifar10", "vgg16", "Calibration, light", 95.76, {16: 93.30}, _CALIBRATION),
    Published("cifar10", "vgg16", "Calibration, advanced", 95.76, {16: 93.65}, _CALIBRATION),
    Published(
        "cifar10", "vgg16", "robust norm", 92.82, {16: 10.11, 32: 43.03, 64: 81.52},
        "as quoted in the OPI paper (AAAI 2022)", confirmed=False,
    ),
    Published(
        "cifar10", "vgg16", "parallel spiking calculation", None, {4: 95.50},
        "a third party's note on the paper (ICML 2025)",
        note="counts spikes from the mean current, so it is no step-by-step neuron",
    ),
    Published("cifar10", "resnet18", "RTS", 95.46, {32: 84.06, 64: 92.48}, _QCFS,
              note="of another width than QCFS's"),
    Published("cifar10", "resnet18", "SNNC-AP", 95.46, {32: 94.78, 64: 95.30}, _QCFS,
              note="of another width than QCFS's"),
    Published(
        "cifar10", "resnet18", "QCFS", 96.04,
        {2: 75.44, 4: 90.43, 8: 94.82, 16: 95.92, 32: 96.08, 64: 96.06}, _QCFS,
    ),
    Published("cifar10", "resnet18", "SRP", None, {4: 95.25}, "a survey's quotation", extra=4),
    Published("cifar10", "resnet18", "SlipReLU", None, {1: 93.11}, "a survey's quotation"),
    Published("cifar10", "resnet18", "error compensation", None, {2: 94.75},
              "abstract of the paper (ICML 2025)"),
    Published(
        "cifar100", "resnet20", "OPI", 70.43, {8: 23.09, 16: 52.34, 32: 67.18, 64: 69.96}, _OPI,
        confirmed=False,
    ),
    Published(
        "cifar100", "resnet20", "QCFS", 69.94,
        {2: 19.96, 4: 34.14, 8: 55.37, 16: 67.33, 32: 69.82, 64: 70.49}, _QCFS_2,
    ),
    Published("cifar100", "resnet20", "RMP", 68.72, {32: 27.64, 64: 46.91}, _QCFS_2),
    Published(
        "cifar100", "resnet20", "SRP", 69.94, {1: 46.48, 2: 53.96, 4: 59.34, 8: 62.94}, _SRP,
        extra=4,
    ),
    Published(
        "cifar100", "resnet20", "COS", 69.97, {1: 59.22, 2: 64.21, 4: 65.18, 8: 67.17}, _COS,
        extra=4,
    ),
    Published("cifar100", "resnet20", "Calibration, light", 76.52, {16: 73.89}, _CALIBRATION,
              note=_WIDE),
    Published("cifar100", "resnet20", "Calibration, advanced", 76.52, {16: 74.48}, _CALIBRATION,
              note=_WIDE),
    Published(
        "cifar100", "vgg16", "OPI", 76.31, {8: 60.49, 16: 70.72, 32: 74.82, 64: 75.97}, _OPI,
        confirmed=False,
    ),
    Published(
        "cifar100", "vgg16", "QCFS", 76.28,
        {2: 63.79, 4: 69.62, 8: 73.96, 16: 76.24, 32: 77.01, 64: 77.10}, _QCFS_2,
    ),
    Published("cifar100", "vgg16", "RTS", 77.89, {32: 7.64, 64: 21.84}, _QCFS_2),
    Published("cifar100", "vgg16", "SNNC-AP", 77.89, {32: 73.55, 64: 76.64}, _QCFS_2),
    Published(
        "cifar100", "vgg16", "SRP", 76.28, {1: 71.52, 2: 74.31, 4: 75.42, 8: 76.25}, _SRP, extra=4,
    ),
    Published(
        "cifar100", "vgg16", "COS", 76.28, {1: 74.24, 2: 76.03, 4: 76.26, 8: 76.52}, _COS, extra=4,
    ),
    Published("cifar100", "vgg16", "Calibration, light", 77.98, {16: 65.26}, _CALIBRATION),
    Published("cifar100", "vgg16", "Calibration, advanced", 77.98, {16: 70.91}, _CALIBRATION),
    Published(
        "imagenet", "resnet34", "QCFS", 74.32, {16: 59.35, 32: 69.37, 64: 72.35},
        "as quoted in Adaptive Fission and H-MT (AAAI 2026)",
    ),
    Published(
        "imagenet", "resnet34", "SRP", 74.32, {1: 57.78, 2: 64.32, 4: 66.71, 8: 67.62}, _SRP,
        extra=8,
    ),
    Published(
        "imagenet", "resnet34", "COS", 74.22, {1: 69.11, 2: 72.66, 4: 73.81, 8: 74.17}, _COS,
        extra=8,
    ),
    Published(
        "imagenet", "resnet34", "Calibration, light", 75.66, {32: 55.16, 64: 67.56}, _INFERENCE,
        note="with a deep stem",
    ),
    Published(
        "imagenet", "resnet34", "Calibration, advanced", 75.66, {32: 64.65, 64: 71.30}, _INFERENCE,
        note="with a deep stem",
    ),
    Published(
        "imagenet", "resnet34", "threshold balancing, training-free", 73.31, {32: 64.88, 64: 71.17},
        _INFERENCE, note="reads the output after a delay; its T counts all steps",
    ),
    Published(
        "imagenet", "vgg16", "OPI", 74.85, {8: 6.25, 16: 36.02, 32: 64.70, 64: 72.47}, _OPI,
        confirmed=False,
    ),
    Published("imagenet", "vgg16", "QCFS", 74.29, {16: 50.97, 64: 72.85},
              "as quoted in Adaptive Fission and H-MT (AAAI 2026)"),
    Published(
        "imagenet", "vgg16", "SRP", 74.29, {1: 50.37, 2: 61.37, 4: 66.47, 8: 68.37}, _SRP,
        extra=14,
    ),
    Published(
        "imagenet", "vgg16", "COS", 74.19, {1: 63.84, 2: 70.59, 4: 72.94, 8: 73.82}, _COS, extra=8,
    ),
)  # fmt: skip
"""In the order of the tables: dataset, network, method."""
