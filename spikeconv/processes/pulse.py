"""A sign of life from every process, and the end of this one where another gives none."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from types import FrameType
from typing import NoReturn

import torch.distributed as dist

from spikeconv.processes.store import is_host

BEAT = 1.0
"""Seconds between two signs of life."""

PATIENCE = 60
"""Beats of this process after which another that gave none counts as gone."""

# Beats that others wait once a process has failed: torchrun is to see first which one it was.
_GRACE = 5

# What a process writes last: that it has done its part, that SIGTERM ended it, or why it failed.
_LEFT, _TERMINATED, _FAILED = ".", "~", "!"
_STOP = b"\0"


class ProcessLost(RuntimeError):
    """Another of the processes is gone, so this one cannot go on."""


class Pulse:
    """Tells the other processes that this one lives, and ends it where one of them is gone.

    A thread writes the number of its beats into a store and reads the others'. A collective of
    torch would wait for a process that was killed or stopped until its timeout, and then not know
    which it was. torchrun ends all processes of a machine by SIGTERM where one of them died; then
    too this says which one.

    Args:
        store: what all processes reach.
        rank: this process's number.
        count: how many there are.
        advice: what to do once one is lost.

    Raises:
        torch.distributed.DistStoreError: not all processes came.
    """

    def __init__(
        self,
        store: dist.Store,  # type: ignore[name-defined]
        rank: int,
        count: int,
        advice: str,
    ) -> None:
        self._store = store
        self.rank = rank
        self.count = count
        self.advice = advice
        self._beats = 0
        self._wakes, self._waker = socket.socketpair()
        self._wakes.settimeout(BEAT)
        self._waker.setblocking(False)
        self._catches = self._catch_sigterm()
        self._beat()
        store.wait([str(r) for r in range(count)], timedelta(seconds=PATIENCE * BEAT))
        self._thread = threading.Thread(target=self._watch, name="spikeconv-pulse", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """This process has done its part; if it hosts the store, it waits for the others."""
        self._stop()
        self._write(_LEFT)
        self._let_go()
        while is_host() and any(state.isdigit() for state in self._states()):
            time.sleep(BEAT / 10)

    def fail(self, error: BaseException) -> None:
        """This process leaves the group by an error: say so, or say why it is not the cause.

        Raises:
            ProcessLost: another process is gone, and this is the first of those that are left.
            SystemExit: the error is of another process, which tells it.
        """
        self._stop()  # if the thread has just found the same, it ends this process instead
        try:
            self._blame(error)
        except dist.DistError as broken:
            raise ProcessLost(self._unreachable(broken)) from error
        finally:
            self._let_go()

    def _blame(self, error: BaseException) -> None:
        # What a collective raises where a process is gone; it does not say which.
        if isinstance(error, RuntimeError):
            gone = self.gone()
            terminated = self._terminated()
            if (gone or terminated) and self._is_first_but(gone):
                self._write(_FAILED)
                raise ProcessLost(self._lost(gone, terminated)) from error
            if gone or terminated or self._others_failed():
                self._write(_LEFT)
                time.sleep(_GRACE * BEAT)
                raise SystemExit(1) from error
        words = f"{_FAILED}{type(error).__name__}: {error}"[:1000]
        self._write(words)
        if self.rank > 0 and self._first_says(words):
            raise SystemExit(2) from error

    def gone(self) -> list[int]:
        """Ranks that end without having said so, found by waiting for three of this one's beats."""
        before = self._states()
        for _ in range(3):
            time.sleep(BEAT)
            self._beat()
        after = self._states()
        others = [r for r in range(self.count) if r != self.rank]
        return [r for r in others if after[r] == before[r] and after[r].isdigit()]

    def _watch(self) -> None:
        """Beat, and look at the others, until told to stop."""
        try:
            still = [0] * self.count
            since_failure = 0
            last = self._states()
            while _STOP not in (woken := self._sleep()):
                if signal.SIGTERM in woken:
                    self._end_by_sigterm()
                self._beat()
                states = self._states()
                for r, state in enumerate(states):
                    still[r] = still[r] + 1 if state == last[r] and state.isdigit() else 0
                last = states
                gone = [r for r, beats in enumerate(still) if beats >= PATIENCE]
                if gone:
                    self._end(self._lost(gone, []) if self._is_first_but(gone) else None)
                since_failure += self._others_failed()
                if since_failure > _GRACE:
                    self._end(None)
        except RuntimeError as error:  # all that a store raises
            _exit(self._unreachable(error))

    def _end_by_sigterm(self) -> NoReturn:
        """torchrun wants this process to end, because another has, or somebody else does."""
        before = self._terminated()
        gone = self.gone()
        if not self._is_first_but(gone):
            self._end(None, _TERMINATED)
        if gone or before:
            self._end(self._lost(gone, before))
        self._end(f"ended by SIGTERM. {self.advice}")

    def _end(self, message: str | None, state: str = _LEFT) -> NoReturn:
        """End this process from the watching thread; what it says, the others do not."""
        self._write(state if message is None else _FAILED)
        _exit(message)

    def _lost(self, gone: Sequence[int], terminated: Sequence[int]) -> str:
        """Why this process cannot go on, where some are silent or were ended by SIGTERM."""
        ranks = gone or terminated
        who = f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))} of {self.count} processes"
        if gone:
            give = "gives" if len(ranks) == 1 else "give"
            why = f"{give} no sign of life: killed, perhaps for want of memory, or stopped, or the "
            why += "machine is gone"
        else:
            why = f"{'was' if len(ranks) == 1 else 'were'} ended by SIGTERM"
        return f"{who} {why}. {self.advice}"

    def _unreachable(self, error: Exception) -> str:
        return (
            f"rank {self.rank} of {self.count} processes cannot reach torchrun's store: torchrun, "
            f"or the machine of rank 0, is gone ({error}). {self.advice}"
        )

    def _is_first_but(self, gone: Sequence[int]) -> bool:
        """Whether this is the lowest of the ranks that are left, and none has failed."""
        states = self._states()
        ended = (_LEFT, _TERMINATED)
        lower_ended = all(r in gone or states[r] in ended for r in range(self.rank))
        return lower_ended and not self._others_failed()

    def _terminated(self) -> list[int]:
        """Ranks that SIGTERM has ended."""
        return [r for r, state in enumerate(self._states()) if state == _TERMINATED]

    def _others_failed(self) -> bool:
        """Whether one of the others has said, or is about to say, why it ends."""
        return any(state.startswith(_FAILED) for state in self._states())

    def _first_says(self, words: str) -> bool:
        """Whether rank 0 ends with the same words."""
        for _ in range(4):
            if self._states()[0] == words:
                return True
            time.sleep(BEAT / 2)
        return False

    def _beat(self) -> None:
        self._beats += 1
        self._write(str(self._beats))

    def _write(self, state: str) -> None:
        self._store.set(str(self.rank), state)

    def _states(self) -> list[str]:
        """What each process last wrote: a number of beats, or why it ended."""
        values = self._store.multi_get([str(r) for r in range(self.count)])
        return [value.decode(errors="replace") for value in values]

    def _sleep(self) -> bytes:
        """Wait for the next beat; returns what woke this thread before: signals, or to stop."""
        try:
            return self._wakes.recv(64)
        except TimeoutError:
            return b""

    def _stop(self) -> None:
        """End the watching thread; SIGTERM does nothing from now on."""
        self._waker.send(_STOP)
        self._thread.join()

    def _let_go(self) -> None:
        """SIGTERM ends this process again."""
        if self._catches:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._wakes.close()
        self._waker.close()

    def _catch_sigterm(self) -> bool:
        """Have SIGTERM wake the watching thread, if it would simply end this process.

        The main thread may be waiting in a collective, where no Python handler runs.
        """
        main = threading.current_thread() is threading.main_thread()
        if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return False
        signal.signal(signal.SIGTERM, _left_to_the_thread)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        return True


def _exit(message: str | None) -> NoReturn:
    """End this process at once: its main thread may be waiting for one that is gone."""
    if message is not None:
        print(f"spikeconv: {message}", file=sys.stderr, flush=True)
    os._exit(1)


def _left_to_the_thread(signum: int, frame: FrameType | None) -> None:
    """Python calls the handler of a signal in the main thread; the watching thread was woken."""


def _in_child() -> None:
    """A forked process has no watching thread: SIGTERM ends it, and wakes nobody."""
    if signal.getsignal(signal.SIGTERM) is _left_to_the_thread:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


os.register_at_fork(after_in_child=_in_child)
