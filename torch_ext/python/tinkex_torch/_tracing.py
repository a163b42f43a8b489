"""What torch.compile and torch.export need to keep a score of a sampling client in one graph.

They run a function on stand-ins for its tensors and for objects of ``torch.classes``. So there are
stand-ins here for a client, and for the results of the ops whose shapes are known beforehand.
"""

from __future__ import annotations

import logging
from typing import Any, Callable

import torch
from torch._library.fake_class_registry import register_fake_class
from torch._subclasses.fake_tensor import DynamicOutputShapeException

from ._errors import make_error

_CLASS = "__torch__.torch.classes.tinkex.SamplingClient"


class _NoShape(DynamicOutputShapeException):
    """Makes torch.compile break its graph, or refuse if it may not."""

    def __str__(self) -> str:
        return ("tinkex: [invalid_argument] %s was called with tensors that hold no data, from "
                "which what it gives cannot be told. Give tensors with data, and keep it out of "
                "torch.compile(fullgraph=True) and torch.export, or wrap its caller in "
                "torch.compiler.disable" % self.func)


class _SamplingClient:
    """Stands for a ``torch.classes.tinkex.SamplingClient``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @classmethod
    def __obj_unflatten__(cls, flat: Any) -> _SamplingClient:
        return cls(**dict(flat))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def method(*arguments: Any, **settings: Any) -> Any:
            raise _NoShape("the method %s of a client" % name)

        return method


class _Expected(logging.Filter):
    """Drops the warning that a client cannot be copied: while it is traced, nothing is asked of it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return _CLASS not in record.getMessage()


def _check(prompt: torch.Tensor) -> None:
    if prompt.dim() != 1:
        raise make_error("invalid_argument", "a prompt has %d dimensions, expected one dimension of "
                         "token ids" % prompt.dim())


def stand_in(argument: torch.Tensor, shape: Any, dtype: torch.dtype) -> torch.Tensor:
    """Results are on the CPU, wherever the arguments are; those of meta tensors have no data."""
    return argument.new_empty(shape, dtype=dtype,
                              device="meta" if argument.device.type == "meta" else "cpu")


def _logprobs(client: Any, prompt: torch.Tensor) -> torch.Tensor:
    _check(prompt)
    return stand_in(prompt, prompt.shape, torch.float32)


def _logprobs_ragged(client: Any, prompts: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    if not prompts:
        raise make_error("invalid_argument", "prompts is empty, expected at least one prompt")
    for prompt in prompts:
        _check(prompt)
    return (stand_in(prompts[0], sum(prompt.shape[0] for prompt in prompts), torch.float32),
            stand_in(prompts[0], len(prompts) + 1, torch.int64))


def _offsets(tensors: list[torch.Tensor]) -> torch.Tensor:
    for i, tensor in enumerate(tensors):
        if tensor.dim() == 0:
            raise make_error("invalid_argument", "tensors[%d] is undefined or has no dimensions, "
                             "expected at least one" % i)
    if not tensors:
        raise make_error("invalid_argument", "tensors is empty, expected at least one tensor")
    return stand_in(tensors[0], len(tensors) + 1, torch.int64)


def _without_shape(name: str) -> Callable[..., Any]:
    op = getattr(torch.ops.tinkex, name).default

    def refuse(*arguments: Any, **settings: Any) -> Any:
        raise _NoShape(op)

    return refuse


def register() -> None:
    """Makes the ops of a sampling client known to tracers; once, after the ops were loaded.

    In place of the ops' own kernels for tensors without data, which take no stand-in of a client.
    """
    register_fake_class("tinkex::SamplingClient", _SamplingClient)
    logging.getLogger("torch._library.fake_class_registry").addFilter(_Expected())
    shapes = {"compute_logprobs": _logprobs, "compute_logprobs_ragged": _logprobs_ragged}
    for call in ("sample", "sample_ragged", "compute_logprobs", "compute_logprobs_ragged"):
        for name in (call, call + "_async", call + "_future"):
            torch.library.register_fake("tinkex::" + name, shapes.get(name) or _without_shape(name),
                                        allow_override=True)
    torch.library.register_fake("tinkex::offsets_of", _offsets, allow_override=True)
    torch.library.register_fake("tinkex::decode_text", _without_shape("decode_text"))
    torch.ops.tinkex.make_traceable()
