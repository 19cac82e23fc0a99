"""More than 2^31 neurons: the offsets that no smaller call reaches."""

from __future__ import annotations

import pytest
import torch

from spikeconv.kernels.if_multistep import if_multistep_fwd
from tests.kernels.if_case import DEVICE, currents, thresholds


def check_large(plane: int) -> None:
    """Two steps of [2, 5, plane] neurons with a threshold per channel, plane by plane."""
    pattern = currents(min(plane, 2**20) - 1, dtype=torch.bfloat16).to(DEVICE)
    x = torch.empty(2, 5, plane, dtype=torch.bfloat16, device=DEVICE)
    for index, channel in enumerate(x.view(10, plane)):
        # Of odd length, so that no two planes or powers of two look the same.
        whole = plane // len(pattern) * len(pattern)
        channel[:whole].view(-1, len(pattern)).copy_(pattern.roll(97 * index))
        channel[whole:] = pattern[: plane - whole]
    theta = thresholds(5).to(DEVICE)
    v_init = torch.full((), 0.25, device=DEVICE)
    emitted = torch.full((2, 2, 5, plane), 0x5A, dtype=torch.uint8, device=DEVICE)
    if_multistep_fwd(
        *(x, theta, v_init, None, None, emitted, None),
        T=2,
        sizes=[2, 5, plane],
        x_stride_t=0,
        x_strides=[5 * plane, plane, 1],
        threshold_strides=[0, 1, 0],
        v_init_strides=[0, 0, 0],
        bias_stride_t=0,
        bias_strides=[],
        count_strides=[],
        hard=False,
        v_reset=0.0,
        signed=False,
        tie_fires=True,
        emit="uint8",
        return_v="none",
    )
    for image in range(2):
        for channel in range(5):
            current = x[image, channel].float()
            m = v_init + current
            first = m >= theta[channel]
            assert torch.equal(emitted[0, image, channel], first.byte()), (image, channel)
            m = torch.where(first, m - theta[channel], m) + current
            second = m >= theta[channel]
            assert torch.equal(emitted[1, image, channel], second.byte()), (image, channel)


@pytest.mark.gpu
def test_more_than_2_to_the_31_neurons() -> None:
    assert DEVICE == "cuda", "a GPU is here, but TRITON_INTERPRET=1 is set"
    check_large(2**28 + 7)  # 11 GB of operands


def test_the_same_in_small() -> None:
    check_large(1003)
