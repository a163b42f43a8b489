"""A model in training as torch.compile(fullgraph=True) can hold it.

Its ops are defined here, not in the library, for a graph's own reasons: what they give are tensors
whose number and shapes are known before the server answers, and the client is an object that graphs
take as an input and look no further into. PyTorch gives ops of such objects an effect, which keeps it
from dropping, doubling or reordering them; they are declared to have one all the same.
"""

from __future__ import annotations

import types
from typing import Any, Callable, Mapping, NoReturn, Sequence

import torch

from ._errors import make_error
from ._results import BatchResult, LossResult
from ._tracing import stand_in
from ._training import TrainingClient

try:
    from torch._library import opaque_object
    from torch._opaque_base import OpaqueBase
except ImportError:  # an older PyTorch, whose graphs break at the calls
    opaque_object = None  # type: ignore[assignment]
    OpaqueBase = object  # type: ignore[assignment,misc]

_BATCH = ("(%s client, Tensor[] tokens, str[] names, int[] counts, Tensor[] inputs, str loss_fn, "
          "str[] settings, float[] values) -> (Tensor loss, Tensor[] logprobs)")
_ADAM = ("(%s client, float learning_rate, float beta1, float beta2, float eps, float weight_decay, "
         "float grad_clip_norm) -> ()")


class TraceableClient(OpaqueBase):
    """Calls of a ``TrainingClient`` that a graph of ``torch.compile(fullgraph=True)`` holds.

    ::

        traceable = TraceableClient(client)

        @torch.compile(fullgraph=True)
        def train(traceable, tokens, targets):
            result = traceable.forward_backward([tokens], {"target_tokens": [targets]})
            traceable.optim_step(1e-3)
            return result.loss / tokens.numel()

    Each call is made once each time the graph runs, in the order of the program, whether its result
    is used or not; while a function is traced nothing is sent. Pass the object to the function:
    another one takes its place without compiling anew. Outside of graphs it does the same. Keep it out of
    ``torch.utils.checkpoint``, which runs its function twice, in a graph or not.
    """

    def __init__(self, client: TrainingClient) -> None:
        if not isinstance(client, TrainingClient):
            raise make_error("invalid_argument", "client is a %s, expected a TrainingClient"
                             % type(client).__name__)
        self._client = client

    def forward(
        self,
        tokens: Sequence[torch.Tensor],
        loss_fn_inputs: Mapping[str, Sequence[torch.Tensor]],
        loss_fn: str = "cross_entropy",
        loss_fn_config: Mapping[str, float] | None = None,
    ) -> LossResult:
        """The loss of a batch, without a gradient. Arguments and result as ``forward_backward``."""
        return LossResult(*_calls.forward(
            self, *_flat(tokens, loss_fn_inputs, loss_fn, loss_fn_config)))

    def forward_backward(
        self,
        tokens: Sequence[torch.Tensor],
        loss_fn_inputs: Mapping[str, Sequence[torch.Tensor]],
        loss_fn: str = "cross_entropy",
        loss_fn_config: Mapping[str, float] | None = None,
    ) -> LossResult:
        """``TrainingClient.forward_backward`` of tensors, without the metrics that servers add.

        ``loss_fn_inputs`` has "target_tokens", from whose shapes those of the result follow. None of
        the inputs may require a gradient while gradients are on, for none flows back.
        """
        return LossResult(*_calls.forward_backward(
            self, *_flat(tokens, loss_fn_inputs, loss_fn, loss_fn_config)))

    def optim_step(
        self,
        learning_rate: float = 1e-4,
        *,
        beta1: float = 0.9,
        beta2: float = 0.95,
        eps: float = 1e-12,
        weight_decay: float = 0.0,
        grad_clip_norm: float = 0.0,
    ) -> None:
        """``TrainingClient.optim_step``, without its metrics, whose names are the server's."""
        _calls.optim_step(self, learning_rate, beta1, beta2, eps, weight_decay,
                                          grad_clip_norm)

    def __reduce__(self) -> NoReturn:
        # TypeError is what PyTorch's caches of compiled graphs expect of what cannot be pickled.
        raise TypeError("a TraceableClient belongs to a live session and cannot be pickled")


def _flat(tokens: Sequence[torch.Tensor], inputs: Mapping[str, Sequence[torch.Tensor]], loss_fn: str,
          config: Mapping[str, float] | None) -> tuple[Any, ...]:
    """A batch as arguments that an op of a graph may have: no dictionaries."""
    names = list(inputs)
    config = config or {}
    return (list(tokens), names, [len(inputs[name]) for name in names],
            [tensor for name in names for tensor in inputs[name]], loss_fn, list(config),
            list(config.values()))


def _lists(names: list[str], counts: list[int], inputs: list[torch.Tensor]
           ) -> dict[str, list[torch.Tensor]]:
    """The dictionary that ``_flat`` has taken apart."""
    rest = iter(inputs)
    return {name: [next(rest) for _ in range(count)] for name, count in zip(names, counts)}


def _targets(lists: dict[str, list[torch.Tensor]], tokens: list[torch.Tensor]) -> list[torch.Tensor]:
    """From which the shapes of the results follow."""
    targets = lists.get("target_tokens", [])
    if not tokens or len(targets) != len(tokens):
        raise make_error(
            "invalid_argument", "loss_fn_inputs['target_tokens'] has %d tensors and tokens has %d, "
            "expected one of each per datum, and at least one" % (len(targets), len(tokens)))
    return targets


def _shapes(client: Any, tokens: list[torch.Tensor], names: list[str], counts: list[int],
            inputs: list[torch.Tensor], *settings: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What stands for the result of a batch while it is traced."""
    for i, tensor in enumerate(inputs):
        if torch.is_grad_enabled() and tensor.requires_grad:
            raise make_error(
                "invalid_argument", "tensor %d of loss_fn_inputs (%s) requires a gradient, but none "
                "flows through the inputs of this call; pass .detach(), or call it inside "
                "torch.no_grad()" % (i, ", ".join(names)))
    targets = _targets(_lists(names, counts, inputs), tokens)
    return (stand_in(targets[0], (), torch.float64),
            [stand_in(target, target.shape, torch.float32) for target in targets])


def _run(call: str) -> Callable[..., tuple[torch.Tensor, list[torch.Tensor]]]:
    def run(client: TraceableClient, tokens: list[torch.Tensor], names: list[str],
            counts: list[int], inputs: list[torch.Tensor], loss_fn: str, settings: list[str],
            values: list[float]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        lists = _lists(names, counts, inputs)
        targets = _targets(lists, tokens)
        send: Callable[..., BatchResult] = getattr(client._client, call)
        outputs, metrics = send(tokens, lists, loss_fn, dict(zip(settings, values)))
        if "loss:sum" not in metrics or "logprobs" not in outputs:
            raise make_error(
                "decode", "the server gave no loss:sum or no logprobs for the loss %r, of which a "
                "graph is made; TrainingClient gives what it sends" % loss_fn)
        # Of their own: what a list of results has in common no graph knows of.
        return metrics["loss:sum"], [each.to(torch.float32).reshape(target.shape).clone() for
                                     each, target in zip(outputs["logprobs"], targets)]

    return run


def _step(client: TraceableClient, learning_rate: float, beta1: float, beta2: float, eps: float,
          weight_decay: float, grad_clip_norm: float) -> None:
    client._client.optim_step(learning_rate, beta1=beta1, beta2=beta2, eps=eps,
                              weight_decay=weight_decay, grad_clip_norm=grad_clip_norm)


_KERNELS: dict[str, tuple[str, Callable[..., Any], Callable[..., Any]]] = {
    "forward": (_BATCH, _run("forward"), _shapes),
    "forward_backward": (_BATCH, _run("forward_backward"), _shapes),
    "optim_step": (_ADAM, _step, lambda *settings: None),
}
_library: Any = None  # its ops live as long as it does


def _define() -> Any:
    """The ops ``torch.ops.tinkex_torch``, or functions in their place."""
    global _library
    if opaque_object is None:
        return types.SimpleNamespace(**{name: kernel for name, (_, kernel, _) in _KERNELS.items()})
    from torch._library.effects import EffectType

    inlined = opaque_object.MemberType.INLINED
    opaque_object.register_opaque_type(TraceableClient, typ="reference",
                                       members={name: inlined for name in _KERNELS})
    kind = opaque_object.get_opaque_type_name(TraceableClient)
    _library = torch.library.Library("tinkex_torch", "DEF")
    for name, (schema, kernel, shapes) in _KERNELS.items():
        _library.define(name + schema % kind)
        _library.impl(name, kernel, "CompositeExplicitAutograd")
        torch.library.register_fake("tinkex_torch::" + name, shapes, lib=_library)
        torch.library._register_effectful_op("tinkex_torch::" + name, EffectType.ORDERED,
                                             lib=_library)
    return torch.ops.tinkex_torch


_calls = _define()
