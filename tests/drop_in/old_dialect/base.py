"""Old SpikingJelly: modules with a step mode, a backend and memories, by its documentation."""

import copy

import torch
from torch import nn


class StepModule:
    """Something with a step mode."""

    def supported_step_mode(self):
        return ("s", "m")

    @property
    def step_mode(self):
        return self._step_mode

    @step_mode.setter
    def step_mode(self, value):
        if value not in self.supported_step_mode():
            raise ValueError(value)
        self._step_mode = value


class MemoryModule(nn.Module, StepModule):
    """Memories are attributes that `reset` sets back and that no state dict holds."""

    def __init__(self):
        super().__init__()
        self._memories = {}
        self._memories_rv = {}
        self._backend = "torch"
        self.step_mode = "s"

    @property
    def supported_backends(self):
        return ("torch",)

    @property
    def backend(self):
        return self._backend

    @backend.setter
    def backend(self, value):
        if value not in self.supported_backends:
            raise NotImplementedError(value)
        self._backend = value

    def forward(self, *args):
        single = self.step_mode == "s"
        return self.single_step_forward(*args) if single else self.multi_step_forward(*args)

    def register_memory(self, name, value):
        assert not hasattr(self, name)
        self._memories[name] = value
        self._memories_rv[name] = copy.deepcopy(value)

    def reset(self):
        for key in self._memories:
            self._memories[key] = copy.deepcopy(self._memories_rv[key])

    def detach(self):
        for value in self._memories.values():
            if isinstance(value, torch.Tensor):
                value.detach_()

    def __getattr__(self, name):
        memories = self.__dict__.get("_memories", {})
        return memories[name] if name in memories else super().__getattr__(name)

    def __setattr__(self, name, value):
        memories = self.__dict__.get("_memories", {})
        if name in memories:
            memories[name] = value
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name):
        if name in self._memories:
            del self._memories[name], self._memories_rv[name]
        else:
            super().__delattr__(name)

    def _apply(self, fn):
        for key, value in self._memories.items():
            if isinstance(value, torch.Tensor):
                self._memories[key] = fn(value)
        return super()._apply(fn)
