"""Neurons."""

import torch

from . import base, surrogate


class BaseNode(base.MemoryModule):
    def __init__(
        self,
        v_threshold=1.0,
        v_reset=0.0,
        surrogate_function=None,
        detach_reset=False,
        step_mode="s",
        backend="torch",
        store_v_seq=False,
    ):
        assert isinstance(v_threshold, float)
        assert isinstance(v_reset, float) or v_reset is None
        super().__init__()
        self.register_memory("v", 0.0 if v_reset is None else v_reset)
        self.v_threshold = v_threshold
        self.v_reset = v_reset
        self.detach_reset = detach_reset
        self.surrogate_function = surrogate_function or surrogate.Sigmoid()
        self.step_mode = step_mode
        self.backend = backend
        self.store_v_seq = store_v_seq

    @property
    def store_v_seq(self):
        return self._store_v_seq

    @store_v_seq.setter
    def store_v_seq(self, value):
        self._store_v_seq = value
        if value and not hasattr(self, "v_seq"):
            self.register_memory("v_seq", None)

    def single_step_forward(self, x):
        if isinstance(self.v, float):
            self.v = torch.full_like(x, self.v)
        self.neuronal_charge(x)
        spike = self.surrogate_function(self.v - self.v_threshold)
        s = spike.detach() if self.detach_reset else spike
        if self.v_reset is None:
            self.v = self.v - s * self.v_threshold
        else:
            self.v = (1.0 - s) * self.v + s * self.v_reset
        return spike

    def multi_step_forward(self, x_seq):
        spikes, potentials = [], []
        for x in x_seq:
            spikes.append(self.single_step_forward(x))
            potentials.append(self.v)
        if self.store_v_seq:
            self.v_seq = torch.stack(potentials)
        return torch.stack(spikes)


class IFNode(BaseNode):
    @property
    def supported_backends(self):
        return ("torch", "cupy")

    def neuronal_charge(self, x):
        self.v = self.v + x


class LIFNode(BaseNode):
    def __init__(self, tau=2.0, **options):
        super().__init__(**options)
        self.tau = tau

    def neuronal_charge(self, x):
        self.v = self.v + (x - self.v) / self.tau
