"""Errors of tinkex as exceptions, made from the text that every one of them carries.

The text begins with ``tinkex: [code]`` wherever the error passes: through ops, handles, backward,
TorchScript and callbacks. PyTorch replaces the type of an exception in most of these, but not its
text, so the text is read.
"""

from __future__ import annotations

import contextlib
import re
from typing import Iterator

_PREFIX = re.compile(r"tinkex: \[([a-z_]+)\] ([^\n]*)")

# The end of the line: " (HTTP 404, category user, request R, chunk 1 of 2, 0 accepted, retry ...)".
_DETAILS = re.compile(
    r" \((?=HTTP \d|category |request |chunk \d|retry after )"
    r"(?:HTTP (?P<status>\d+)(?:, |(?=\)$)))?"
    r"(?:category (?P<category>user|server)(?:, |(?=\)$)))?"
    r"(?:request (?P<request>.+?)(?:, (?=chunk \d|retry after )|(?=\)$)))?"
    r"(?:chunk (?P<chunk>\d+) of (?P<chunks>\d+), (?P<accepted>\d+) accepted(?:, |(?=\)$)))?"
    r"(?:retry after (?P<retry>\d+) ms)?\)$")


class Error(RuntimeError):
    """Why a call of tinkex did not succeed. ``str(error)`` is one line and holds no API key.

    Branch on the class or on ``code``, never on the message.
    """

    code: str
    """What kind of thing went wrong, such as "invalid_argument", "http_status", "closed"."""
    message: str
    """The sentence alone, without the code before it and the details behind it."""
    status: int | None
    """HTTP status of the reply that caused this, if there was one."""
    category: str
    """Whose fault the server says it is: "user", "server" or "unknown"."""
    request_id: str | None
    """For the server's operators; None if the failure came before the server gave one."""
    retry_after: float | None
    """Seconds that the server asked to wait, if it did."""
    chunk: int | None
    """Of a batch that could not be sent whole: which chunk failed, from 0."""
    total_chunks: int
    """How many chunks that batch had, else 0."""
    accepted_chunks: int
    """How many of them the server had accepted; their gradients may have been accumulated."""

    def __init__(self, text: str) -> None:
        found = _PREFIX.search(text)
        line = found.group(0) if found else text
        super().__init__(line)
        self.code = found.group(1) if found else "internal"
        rest = found.group(2) if found else text
        details = _DETAILS.search(rest)
        self.message = rest[: details.start()] if details else rest
        told = details.groupdict() if details else {}
        self.status = _number(told.get("status"))
        self.category = told.get("category") or "unknown"
        self.request_id = told.get("request")
        delay = _number(told.get("retry"))
        self.retry_after = None if delay is None else delay / 1000
        chunk = _number(told.get("chunk"))
        self.chunk = None if chunk is None else chunk - 1
        self.total_chunks = _number(told.get("chunks")) or 0
        self.accepted_chunks = _number(told.get("accepted")) or 0


class InvalidArgument(Error, ValueError):
    """The input was refused before anything was sent (code invalid_argument)."""


class WrongType(InvalidArgument, TypeError):
    """An argument was of another type than the call takes."""


class TimedOut(Error, TimeoutError):
    """The server took too long, or a deadline passed (timeout, deadline_exceeded).

    What the server accepted may still take effect.
    """


class ConnectionFailed(Error, ConnectionError):
    """The server could not be reached, or the connection broke (connection)."""


class FileFailed(Error, OSError):
    """A local file or port could not be used (io)."""


class Cancelled(Error):
    """The result was given up (cancelled)."""


class Closed(Error):
    """The client or its service is closed, or belongs to the process that forked (closed)."""


_CLASSES: dict[str, type[Error]] = {
    "invalid_argument": InvalidArgument,
    "timeout": TimedOut,
    "deadline_exceeded": TimedOut,
    "connection": ConnectionFailed,
    "io": FileFailed,
    "cancelled": Cancelled,
    "closed": Closed,
}


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def make_error(code: str, message: str) -> Error:
    """An error of this package's own, in the form of those of the library."""
    return _CLASSES.get(code, Error)("tinkex: [%s] %s" % (code, message))


def wrong_type(message: str) -> Error:
    """The same for a value of another type than the call takes."""
    return WrongType("tinkex: [invalid_argument] " + message)


def parse_error(source: BaseException | str) -> Error | None:
    """The tinkex error in an exception that PyTorch threw, or in a text; None if there is none.

    For where PyTorch puts a type of its own in place of ours: ``torch.ops`` and ``torch.classes``
    called directly, TorchScript, backward, ``torch.futures``. Looks at causes, too.
    """
    if isinstance(source, str):
        found = _PREFIX.search(source)
        return _CLASSES.get(found.group(1), Error)(source) if found else None
    seen: set[int] = set()
    problem: BaseException | None = source
    while problem is not None and id(problem) not in seen:
        if isinstance(problem, Error):
            return problem
        error = parse_error(str(problem))
        if error is not None:
            return error
        seen.add(id(problem))
        problem = problem.__cause__ or problem.__context__
    return None


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Within it, exceptions of PyTorch that carry a tinkex error leave as ``tinkex_torch.Error``.

    All functions of this package do so by themselves. Others pass unchanged.
    """
    try:
        yield
    except Error:
        raise
    except (RuntimeError, TypeError, ValueError) as problem:
        text = str(problem)
        error = parse_error(text)
        if error is not None:
            # The original adds nothing, unless it shows where in a script that was.
            raise error from (None if text.startswith("tinkex: [") else problem)
        # An argument that does not fit the schema of an op of ours. A script's own begins otherwise.
        if text.startswith("tinkex::") and "Expected a value of type" in text:
            raise wrong_type(text.split("\n")[0]) from None
        raise
