"""The store through which the processes that torchrun started find each other."""

from __future__ import annotations

import itertools
import os
from functools import cache

import torch.distributed as dist

# How often this process has joined a group: what one group wrote, the next must not read.
_joined = itertools.count()


def stores() -> tuple[dist.Store, dist.Store]:  # type: ignore[name-defined]
    """Two connections of a new group: one for torch, and one for the thread that beats.

    All processes join their groups in the same order.
    """
    run, attempt = os.environ["TORCHELASTIC_RUN_ID"], os.environ["TORCHELASTIC_RESTART_COUNT"]
    prefix = f"spikeconv/{run}/{attempt}/{next(_joined)}"
    kind = dist.PrefixStore  # type: ignore[attr-defined]
    return kind(f"{prefix}/group", _connected()), kind(f"{prefix}/pulse", _connected())


def is_host() -> bool:
    """Whether this process hosts the store, because torchrun does not."""
    return os.environ["RANK"] == "0" and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"


def _connected() -> dist.Store:  # type: ignore[name-defined]
    if is_host():
        _hosted()
    return _tcp_store(is_master=False)


@cache
def _hosted() -> dist.Store:  # type: ignore[name-defined]
    """The store itself, which lives as long as this process."""
    return _tcp_store(is_master=True)


def _tcp_store(is_master: bool) -> dist.Store:  # type: ignore[name-defined]
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return dist.TCPStore(  # type: ignore[attr-defined]
        host, port, is_master=is_master, wait_for_workers=False
    )
