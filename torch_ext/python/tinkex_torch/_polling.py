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

    def add(self, done: Callable[[], bool]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        settled: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            loop.call_later(_FIRST, self._look)
        self._pause = _FIRST
        self._waiting.append((done, settled))
        return settled

    def _look(self) -> None:
        before = len(self._waiting)
        self._waiting = [entry for entry in self._waiting if not self._settle(*entry)]
        if len(self._waiting) < before:
            self._pause = _FIRST
        else:
            self._pause = min(self._pause * 1.5, _LONGEST)
        if self._waiting:
            asyncio.get_running_loop().call_later(self._pause, self._look)

    @staticmethod
    def _settle(done: Callable[[], bool], settled: asyncio.Future[None]) -> bool:
        if not settled.done() and done():
            settled.set_result(None)
        return settled.done()


_pollers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Poller] = (
    weakref.WeakKeyDictionary())


def settled(done: Callable[[], bool]) -> asyncio.Future[None]:
    """A future of the running loop that settles soon after ``done()`` becomes true."""
    return _pollers.setdefault(asyncio.get_running_loop(), _Poller()).add(done)
