"""The result of a call that is under way."""

from __future__ import annotations

import math
import os
from typing import Any, Callable, Generator, Generic, TypeVar

import torch

from ._arguments import to_float
from ._errors import make_error, translate_errors
from ._polling import settled
from ._waiting import call_interruptibly, wait_in_slices

T = TypeVar("T")

_NOT_TRACED = ("a client sends requests, which no graph can hold: leave fullgraph out, so that "
               "torch.compile breaks its graph at the call, or make the call outside. Within a "
               "graph torch.ops.tinkex.compute_logprobs(native, prompt) scores, of a client's native "
               "that was taken outside, and a TraceableClient trains")


class Native:
    """Base of what stands for an object of the library."""

    def __init__(self, native: Any) -> None:
        self._object = native
        self._process = os.getpid()

    @property
    def native(self) -> Any:
        """The object of ``torch.classes.tinkex``, for ``torch.ops.tinkex`` and for scripts.

        Raises Closed in a child of fork, which has none of the threads that serve it.
        """
        self._check_process()
        return self._object

    def _is_inherited(self) -> bool:
        return os.getpid() != self._process

    def _check_process(self) -> None:
        if torch.compiler.is_dynamo_compiling():
            torch._dynamo.graph_break(msg=_NOT_TRACED)  # as os.getpid() would, without a reason
        if self._is_inherited():
            raise make_error(
                "closed", "this %s was made in process %d, and process %d, its fork, has none of the "
                "threads that serve it. Call connect() after the fork, or start processes by 'spawn'"
                % (type(self).__name__, self._process, os.getpid()))


class Handle(Native, Generic[T]):
    """A result that arrives later, as ``..._async`` returns it. Thread-safe.

    Wait for it, also repeatedly, or ``await`` it. Dropping it neither waits nor cancels.
    """

    def __init__(self, native: Any, convert: Callable[[Any], T], what: str) -> None:
        """For this package: ``convert`` makes the result of what the library gives."""
        super().__init__(native)
        self._convert = convert
        self._what = what
        self._done = native.done  # looking a method up costs more than calling it

    def done(self) -> bool:
        """Whether ``wait`` would return at once."""
        self._check_process()
        return self._done()

    def state(self) -> str:
        """"pending", "done", "failed" or "cancelled"."""
        self._check_process()
        return self._object.state()

    def wait(self, timeout: float | None = None) -> T:
        """The result, with tensors of its own on every call; raises the Error that took its place.

        Waits ``timeout`` seconds at most, then raises TimeoutError (not ``TimedOut``, which is the
        result's own error). After that, or after Ctrl-C, the call is still under way: wait again, or
        cancel it. Holds no lock of the interpreter while it waits.

        In a callback of a Future, which runs on a thread that must produce results, nothing can be
        waited for: there it raises an Error of the code "would_deadlock", unless the result is there.
        """
        if timeout is not None:
            timeout = to_float(timeout, "timeout")
            if math.isnan(timeout):
                raise make_error("invalid_argument", "timeout is NaN, expected seconds, or None to "
                                 "wait without end")
        with translate_errors():
            arrived = wait_in_slices(self.native.wait_for, timeout)
        if not arrived:
            raise TimeoutError("the result of %s was not there after %g s; it is still under way: "
                               "wait again, or cancel() it" % (self._what, timeout or 0))
        return self._result()

    def cancel(self) -> None:
        """Gives the result up; ``wait`` then raises Cancelled, unless the result was there already.

        What the server has accepted may still take effect.
        """
        self.native.cancel()

    def __await__(self) -> Generator[Any, None, T]:
        """For asyncio. Cancelling the task that awaits cancels this; asyncio.shield() prevents it."""
        return self._await().__await__()

    async def _await(self) -> T:
        try:
            if not self.done():
                await settled(self.done)
        except BaseException:  # CancelledError, or the loop ends
            self.cancel()
            raise
        return self._result()

    def _result(self) -> T:
        with translate_errors():
            return self._convert(self.native.wait())

    def __repr__(self) -> str:
        if self._is_inherited():
            return "<tinkex_torch.Handle of process %d>" % self._process
        return "<tinkex_torch.Handle of %s, %s>" % (self._what, self._object.state())

    def __reduce__(self) -> Any:
        raise make_error("invalid_argument", "a handle belongs to a live session and cannot be "
                         "pickled; wait for its result and keep that")


def start(op: Callable[..., Any], convert: Callable[[Any], T], *arguments: Any) -> Handle[T]:
    """A handle of ``op(*arguments)``, an op that returns at once.

    Those that take a place in a model's order do not, see ``start_interruptibly``.
    """
    with translate_errors():
        return Handle(op(*arguments), convert, _name_of(op))


def start_interruptibly(op: Callable[..., Any], convert: Callable[[Any], T],
                        *arguments: Any) -> Handle[T]:
    """The same for an op that first waits while the queue of the model is full of bytes."""
    with translate_errors():
        native = call_interruptibly(lambda: op(*arguments), lambda late: late.cancel())
        return Handle(native, convert, _name_of(op))


def same(value: Any) -> Any:
    """For ``start``, of results that are what the caller gets."""
    return value


def finish(handle: Handle[T]) -> T:
    """The result. What nobody can ask for any more, after Ctrl-C, is cancelled."""
    try:
        return handle.wait()
    except Exception:
        raise
    except BaseException:
        handle.cancel()
        raise


def _name_of(op: Any) -> str:
    return str(op.__name__).replace("_async", "")
