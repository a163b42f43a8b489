"""Waits that Ctrl-C ends, and that do no harm while the process exits.

Python handles a signal on the main thread, between two of its instructions. An op that waits there
keeps Ctrl-C from being seen until it returns. So the main thread waits in slices, and leaves an op
that cannot be asked in slices to a thread of its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, Callable, ContextManager, Generic, Iterator, TypeVar

import torch

from ._thread_state import ThreadState

T = TypeVar("T")

SLICE = 0.05  # seconds, so that Ctrl-C is seen soon
_WHOLE = 1e6
_LAST_PATIENCE = 1.0  # seconds, for a turn while the process exits

# Threads inside a wait in C++ that is not the main thread's.
_inside: set[object] = set()


class _Inside:
    """Marks a wait of another thread than the main one."""

    def __enter__(self) -> None:
        _inside.add(self)

    def __exit__(self, *_: object) -> None:
        _inside.discard(self)


def leave_waits(patience: float) -> None:
    """Waits until other threads have come back from their waits, at most so many seconds.

    A thread that comes back after the interpreter has ended would abort the process.
    """
    end = time.monotonic() + patience
    while _inside and time.monotonic() < end:
        time.sleep(0.001)


def forget_waits() -> None:
    """In a child of fork, which has none of the threads that wait."""
    _inside.clear()


def is_main_thread() -> bool:
    """Whether this thread handles signals."""
    return threading.current_thread() is threading.main_thread()


def is_exiting() -> bool:
    """Whether the main thread has ended: it waits for other threads, or runs exit handlers."""
    return not threading.main_thread().is_alive()


class Turn:
    """Lets one call in at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Within it no other call has the turn.

        In an exit handler it is not waited for long: who has it may never come back. Other threads
        do wait, as Python lets them finish before it runs those handlers, and they may be training.
        """
        in_handler = is_main_thread() and is_exiting()
        held = self._lock.acquire(timeout=_LAST_PATIENCE if in_handler else -1)
        try:
            yield
        finally:
            if held:
                self._lock.release()


def wait_in_slices(wait_for: Callable[[float], bool], timeout: float | None) -> bool:
    """Whether ``wait_for(seconds)`` says within ``timeout`` that the result is there.

    Raises KeyboardInterrupt on the main thread within a slice. The result is found at once, not at
    the end of a slice.
    """
    if not is_main_thread():
        with _Inside():
            return wait_for(_WHOLE if timeout is None else timeout)
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = SLICE if end is None else end - time.monotonic()
        if wait_for(min(SLICE, left)):
            return True
        if left <= 0:
            return False


class _Call(Generic[T]):
    """A function that runs on a thread of its own, for a caller who may leave."""

    def __init__(self, function: Callable[[], T], give_up: Callable[[T], None],
                 lose: Callable[[BaseException], None], turn: ContextManager[Any]) -> None:
        self._function = function
        self._give_up = give_up
        self._lose = lose
        self._turn = turn
        self._stop = torch.classes.tinkex.CallStop()
        self._caller = ThreadState()
        self._lock = threading.Lock()
        self._abandoned = False
        self._result: list[T] = []
        self._finished = threading.Event()
        self.problem: BaseException | None = None

    def run(self) -> None:
        self._stop.announce()
        try:
            with _Inside(), self._turn:
                # Turns come in any order: what nobody waits for must not begin after a later call.
                if not self._is_abandoned():
                    self._run()
        finally:
            self._finished.set()

    def _is_abandoned(self) -> bool:
        with self._lock:
            return self._abandoned

    def _run(self) -> None:
        try:
            with self._caller.entered():
                result = self._function()
        except BaseException as problem:  # raised again by the caller
            with self._lock:
                self.problem = problem
                abandoned = self._abandoned
            if abandoned:
                self._lose(problem)
            return
        with self._lock:
            self._result.append(result)
            abandoned = self._abandoned
        if abandoned:
            self._give_up(result)

    def abandon(self) -> None:
        with self._lock:
            self._abandoned = True
            late, problem = self._result[:1], self.problem
        self._stop.stop()  # nothing of the caller's tensors is sent any more: they may change
        if late:
            self._give_up(late[0])
        if problem is not None:
            self._lose(problem)

    def result(self) -> T:
        # In slices: a signal that comes just before a wait begins does not wake it.
        while not self._finished.wait(SLICE):
            pass
        if self.problem is not None:
            raise self.problem
        return self._result[0]


def _start(thread: threading.Thread) -> bool:
    """False where there is no thread to be had."""
    try:
        thread.start()
    except RuntimeError:
        return False
    return True


def call_interruptibly(
    function: Callable[[], T],
    give_up: Callable[[T], None],
    lose: Callable[[BaseException], None] = lambda problem: None,
    turn: ContextManager[Any] = contextlib.nullcontext(),
) -> T:
    """``function()``, which may wait without looking for signals.

    Raises KeyboardInterrupt soon. If ``function`` had not begun, it never does. Else it sends nothing
    any more of tensors that it had not sent, but goes on; what it returns is given to ``give_up``, and
    what it raises to ``lose``. ``function`` runs within ``turn``, the other two perhaps after it.
    ``function`` may run on a thread of its own, with the state that PyTorch keeps for this one.

    An exit handler calls it here: a thread of its own would be held in its wait, for good.
    """
    if not is_main_thread():
        with _Inside(), turn:
            return function()
    if is_exiting():
        with turn:
            return function()
    call = _Call(function, give_up, lose, turn)
    thread = threading.Thread(target=call.run, name="tinkex-call", daemon=True)
    try:  # Ctrl-C may come while the thread is being started, too
        if not _start(thread):
            with turn:
                return function()
        return call.result()
    except BaseException as raised:
        if raised is not call.problem:
            call.abandon()
        raise
