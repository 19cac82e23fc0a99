"""Spike functions with a derivative."""

import math

import torch
from torch import nn


class SurrogateFunctionBase(nn.Module):
    """The step at 0 forwards, something smooth backwards."""

    def __init__(self, alpha, spiking=True):
        super().__init__()
        self.spiking = spiking
        self.alpha = alpha

    def forward(self, x):
        smooth = self.primitive_function(x, self.alpha)
        if not self.spiking:
            return smooth
        return (x >= 0).to(x) + (smooth - smooth.detach())


class Sigmoid(SurrogateFunctionBase):
    def __init__(self, alpha=4.0, spiking=True):
        super().__init__(alpha, spiking)

    @staticmethod
    def primitive_function(x, alpha):
        return (x * alpha).sigmoid()


class ATan(SurrogateFunctionBase):
    def __init__(self, alpha=2.0, spiking=True):
        super().__init__(alpha, spiking)

    @staticmethod
    def primitive_function(x, alpha):
        return torch.atan(math.pi / 2 * alpha * x) / math.pi + 0.5
