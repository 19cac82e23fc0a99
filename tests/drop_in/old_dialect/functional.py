"""What is done to all modules of a network."""

import logging

from torch import nn

from . import base


def reset_net(net):
    for m in net.modules():
        if hasattr(m, "reset"):
            if not isinstance(m, base.MemoryModule):
                logging.warning("%s is no MemoryModule", m)
            m.reset()


def set_step_mode(net, step_mode):
    for m in net.modules():
        if hasattr(m, "step_mode"):
            if not isinstance(m, base.StepModule):
                logging.warning("%s is no StepModule", m)
            m.step_mode = step_mode


def set_backend(net, backend, instance=(nn.Module,)):
    for m in net.modules():
        if isinstance(m, instance) and hasattr(m, "backend"):
            if not isinstance(m, base.MemoryModule):
                logging.warning("%s is no MemoryModule", m)
            if backend in m.supported_backends:
                m.backend = backend
            else:
                logging.warning("%s has no backend %s", m, backend)


def detach_net(net):
    for m in net.modules():
        if hasattr(m, "detach"):
            m.detach()
