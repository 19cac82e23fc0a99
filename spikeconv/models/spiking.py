"""The spiking forms of residual and of plain networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from spikeconv.convert import Calibration, SpikingNetwork, convert_as
from spikeconv.convert.given import convert_given
from spikeconv.models.checkpoint import open_weights
from spikeconv.models.pretrained import load_pretrained, pretrained_path, thresholds_for
from spikeconv.network.program import Phase, Program, Step, refs
from spikeconv.network.timing import check_steps
from spikeconv.network.vocabulary import ADDITIONS

Network = TypeVar("Network", bound="_FromANN")


class _FromANN(SpikingNetwork):
    @classmethod
    def from_ann(
        cls: type[Network], ann: nn.Module, calibration: Calibration, T: int = 16, **options: Any
    ) -> Network:
        """Convert a trained ANN, and make sure that it is one of this kind.

        Args:
            ann: any network of this kind that `spikeconv.convert` takes: this package's,
                torchvision's, or one of your own. It is not modified.
            calibration: as in `spikeconv.convert`.
            T: time-steps, 1 to 2^24.
            **options: the further arguments of `spikeconv.convert`.

        Returns:
            The spiking network.

        Raises:
            TypeError: the network is of another kind.
            ConversionError, ValueError: as `spikeconv.convert`.
        """
        return convert_as(cls, ann, calibration, T=T, **options)

    @classmethod
    def from_pretrained(
        cls: type[Network],
        name: str | Path,
        calibration: Calibration | None = None,
        T: int = 16,
        *,
        v_init: str | float = "half",
        signed: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> Network:
        """Convert a network with shipped weights, or with your own; no image is needed.

        Args:
            name: as in `spikeconv.models.load_pretrained`.
            calibration: training images, on which the network is converted as by `from_ann`; or
                None for the thresholds in the file of weights, which are those of least square
                error on training images, or the bounds that the network was trained with.
            T: time-steps, 1 to 2^24.
            v_init: as in `spikeconv.convert`.
            signed: neurons that also fire -1.
            seed: draws random initial potentials, 0 or more.
            **options: with calibration images, the further arguments of `spikeconv.convert`.

        Returns:
            The spiking network. It takes images divided by 255 and normalised as
            `spikeconv.models.pretrained_about` says.

        Raises:
            ValueError: no such name (lists those there are), options without images, or a file
                that says nothing of its images or has no thresholds, and no images.
            TypeError: the network is of another kind.
            FileNotFoundError, ImportError: as `spikeconv.models.load_pretrained`.
        """
        T = check_steps(cls.__name__, "T", T)
        ann = load_pretrained(name)
        if calibration is not None:
            chosen: dict[str, Any] = {"v_init": v_init, "signed": signed, "seed": seed, **options}
            return cls.from_ann(ann, calibration, T, **chosen)
        if options:
            raise ValueError(
                f"{cls.__name__}: {', '.join(options)} needs calibration images; give some as "
                "calibration, or leave it out"
            )
        weights = open_weights(pretrained_path(name))
        thresholds = thresholds_for(weights, T)
        shape = tuple(weights.about.get("image_shape", ()))
        if not shape:
            raise ValueError(
                f"{cls.__name__}: {name} does not say for which images it is, as weights by "
                "`spikeconv train` do; give calibration images"
            )
        return convert_given(cls, ann, thresholds, shape, T, v_init, signed, seed)


class SpikingResNet(_FromANN):
    """A spiking network with residual additions, made by `from_ann` or `from_pretrained`.

    Example:
        >>> import torch
        >>> from spikeconv.models import build_model
        >>> ann = build_model("resnet8", widths=(4, 8, 8))
        >>> snn = SpikingResNet.from_ann(ann, torch.rand(8, 3, 32, 32), T=4, progress=False)
        >>> snn(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    @classmethod
    def check_program(cls, program: Program) -> None:
        """Raise TypeError where no residual addition stands in the network."""
        if next(residual_additions(program), None) is None:
            raise TypeError(
                f"{cls.__name__}: ann must have residual additions (x + f(x)), found none among "
                f"its {len(program.steps)} calls; use SpikingVGG or spikeconv.convert"
            )


class SpikingVGG(_FromANN):
    """A spiking network without residual additions, made by `from_ann` or `from_pretrained`.

    Example:
        >>> import torch
        >>> ann = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
        >>> snn = SpikingVGG.from_ann(ann, torch.rand(8, 1, 8, 8), T=4, progress=False)
        >>> snn(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    @classmethod
    def check_program(cls, program: Program) -> None:
        """Raise TypeError where a residual addition stands in the network."""
        found = [step.label for step in residual_additions(program)]
        if found:
            raise TypeError(
                f"{cls.__name__}: ann must have no residual addition, found {len(found)}, the "
                f"first at {found[0]}; use SpikingResNet or spikeconv.convert"
            )


def residual_additions(program: Program) -> Iterator[Step]:
    """Yield every addition of two different values that both depend on the image."""
    constants = {step.name for step in program.phase(Phase.CONSTANT)}
    for step in program.steps:
        if step.kind in ("function", "method") and step.target in ADDITIONS:
            operands = {ref.name for ref in refs((step.args, step.kwargs))} - constants
            if len(operands) > 1:
                yield step
