"""Handles in asyncio: one timer per event loop asks all those that are awaited."""

from __future__ import annotations

import asyncio
import weakref
from typing import Callable

_FIRST = 0.001  # seconds between two rounds, and how far that grows while nothing happens
_LONGEST = 0.02


class _Poller:
    """Belongs to one event loop, and is used on its thread only."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._pause = _FIRST
        self._scheduled = False  # whether the loop will call _look

    def add(self, done: Callable[[], bool]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        settled: asyncio.Future[None] = loop.create_future()
        self._pause = _FIRST
        self._waiting.append((done, settled))
        self._schedule(loop)
        return settled

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled:
            loop.call_later(self._pause, self._look)
            self._scheduled = True

    def _look(self) -> None:
        self._scheduled = False
        before = len(self._waiting)
        try:
            self._waiting = [entry for entry in self._waiting if not self._settle(*entry)]
        finally:
            # Also when a signal's handler has raised: the loop may go on, and then they wait still.
            if len(self._waiting) < before:
                self._pause = _FIRST
            else:
                self._pause = min(self._pause * 1.5, _LONGEST)
            if self._waiting:
                self._schedule(asyncio.get_running_loop())

    @staticmethod
    def _settle(done: Callable[[], bool], settled: asyncio.Future[None]) -> bool:
        try:
            if not settled.done() and done():
                settled.set_result(None)
        except Exception as problem:  # is told to who awaits this one, and keeps no other waiting
            settled.set_exception(problem)
        return settled.done()


_pollers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Poller] = (
    weakref.WeakKeyDictionary())


def settled(done: Callable[[], bool]) -> asyncio.Future[None]:
    """A future of the running loop that settles soon after ``done()`` becomes true."""
    return _pollers.setdefault(asyncio.get_running_loop(), _Poller()).add(done)
