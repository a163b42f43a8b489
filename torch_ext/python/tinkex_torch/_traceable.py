"""A model in training as torch.compile(fullgraph=True) can hold it.

Its ops are defined here, not in the library, for a graph's own reasons: what they give are tensors
whose number and shapes are known before the server answers, and the client is an object that graphs
take as an input and look no further into. PyTorch gives ops of such objects an effect, which keeps it
from dropping, doubling or reordering them; they are declared to have one all the same.
"""

from __future__ import annotations

import contextlib
import types
import weakref
from typing import Any, Callable, Iterator, Mapping, NamedTuple, NoReturn, Sequence

import torch
from torch.autograd import forward_ad

from ._arguments import check_dictionary
from ._errors import Error, make_error, wrong_type
from ._results import BatchResult, LossResult
from ._tracing import stand_in
from ._training import TrainingClient

try:
    from torch._library import opaque_object
    from torch._opaque_base import OpaqueBase
except ImportError:  # an older PyTorch, whose graphs break at the calls
    opaque_object = None  # type: ignore[assignment]
    OpaqueBase = object  # type: ignore[assignment,misc]

_Named = list[tuple[str, torch.Tensor]]
"""Tensors, each behind what errors call it."""

_BATCH = ("(%s client, Tensor[] tokens, str[] names, int[] counts, Tensor[] inputs, str loss_fn, "
          "str[] settings, float[] values) -> (Tensor loss, Tensor[] logprobs)")


def _adam(rate: str) -> str:
    """The schema of a step whose learning rate has this type."""
    return ("(%s client, " + rate + " learning_rate, float beta1, float beta2, float eps, "
            "float weight_decay, float grad_clip_norm) -> ()")


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
    ``torch.utils.checkpoint`` and of CUDA graphs (``mode="reduce-overhead"``).

    Hold the client for as long as this is called: graphs and PyTorch's caches keep this object until
    the process ends, so it does not hold the client. Calls raise Closed once the client is gone.
    """

    def __init__(self, client: TrainingClient) -> None:
        if not isinstance(client, TrainingClient):
            raise wrong_type("client is a %s, expected a TrainingClient" % type(client).__name__)
        self._client = weakref.ref(client)
        _keep_out_of_cuda_graphs()

    def forward(
        self,
        tokens: Sequence[torch.Tensor],
        loss_fn_inputs: Mapping[str, Sequence[torch.Tensor]],
        loss_fn: str = "cross_entropy",
        loss_fn_config: Mapping[str, float] | None = None,
    ) -> LossResult:
        """The loss of a batch, without a gradient. Arguments and result as ``forward_backward``."""
        return _batch(_calls.forward, self, tokens, loss_fn_inputs, loss_fn, loss_fn_config)

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
        return _batch(_calls.forward_backward, self, tokens, loss_fn_inputs, loss_fn,
                      loss_fn_config)

    def optim_step(
        self,
        learning_rate: float | torch.Tensor = 1e-4,
        *,
        beta1: float = 0.9,
        beta2: float = 0.95,
        eps: float = 1e-12,
        weight_decay: float = 0.0,
        grad_clip_norm: float = 0.0,
    ) -> None:
        """``TrainingClient.optim_step``, without its metrics, whose names are the server's.

        A rate that changes is a tensor of one number that is passed to the compiled function:
        ``train(traceable, tokens, targets, torch.tensor(rate, dtype=torch.float64))``; float32 would
        round it. Each number would be a graph of its own, of which ``fullgraph=True`` allows eight.
        """
        # A number in a tensor would be a kernel, and seconds of inductor's for each.
        step = (_calls.scheduled_step if isinstance(learning_rate, torch.Tensor) else
                _calls.optim_step)
        step(self, learning_rate, beta1, beta2, eps, weight_decay, grad_clip_norm)

    def __reduce__(self) -> NoReturn:
        # TypeError is what PyTorch's caches of compiled graphs expect of what cannot be pickled.
        raise TypeError("a TraceableClient belongs to a live session and cannot be pickled")


def _check_tensors(values: Sequence[torch.Tensor], name: str) -> None:
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise wrong_type("%s is a %s, expected a list of tensors" % (name, type(values).__name__))
    for i, value in enumerate(values):
        if not isinstance(value, torch.Tensor):
            raise wrong_type("%s[%d] is a %s, expected a tensor: a graph holds no lists of numbers"
                             % (name, i, type(value).__name__))


def _batch(op: Callable[..., Any], traceable: TraceableClient, tokens: Sequence[torch.Tensor],
           inputs: Mapping[str, Sequence[torch.Tensor]], loss_fn: str,
           config: Mapping[str, float] | None) -> LossResult:
    """What ``op`` gives; its arguments are those that an op of a graph may have: no dictionaries."""
    check_dictionary(inputs, "loss_fn_inputs", "{'target_tokens': [...]}")
    config = {} if config is None else config
    check_dictionary(config, "loss_fn_config", "{'clip_low_threshold': 0.8}")
    names = list(inputs)
    _check_tensors(tokens, "tokens")
    for name in names:
        _check_tensors(inputs[name], "loss_fn_inputs['%s']" % name)
    return LossResult(*op(
        traceable, list(tokens), names, [len(inputs[name]) for name in names],
        [tensor for name in names for tensor in inputs[name]], loss_fn, list(config),
        list(config.values())))


def _lists(names: list[str], counts: list[int], inputs: list[torch.Tensor]
           ) -> dict[str, list[torch.Tensor]]:
    """The dictionary that ``_batch`` has taken apart."""
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
    targets = _targets(_lists(names, counts, inputs), tokens)
    return (stand_in(targets[0], (), torch.float64),
            [stand_in(target, target.shape, torch.float32) for target in targets])


def _check_rate(client: Any, learning_rate: float | torch.Tensor, *settings: Any) -> None:
    """What is to be said of a step while it is traced."""
    if isinstance(learning_rate, torch.Tensor) and learning_rate.numel() != 1:
        raise make_error("invalid_argument", "learning_rate has shape %s, expected one number"
                         % list(learning_rate.shape))


def _client_of(traceable: TraceableClient) -> TrainingClient:
    """Raises where a call would not be made each time the graph runs, or cannot be made."""
    if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
        raise make_error(
            "invalid_argument", "a TraceableClient was called while a CUDA graph is captured, which "
            "would not send its request when it is replayed; leave mode='reduce-overhead' out, or "
            "call it outside of the graph")
    client = traceable._client()
    if client is None:
        raise make_error("closed", "the TrainingClient of this TraceableClient is gone, which does "
                         "not hold it: keep the client for as long as the other one is called")
    return client


def _run(call: str) -> Callable[..., tuple[torch.Tensor, list[torch.Tensor]]]:
    def run(traceable: TraceableClient, tokens: list[torch.Tensor], names: list[str],
            counts: list[int], inputs: list[torch.Tensor], loss_fn: str, settings: list[str],
            values: list[float]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        lists = _lists(names, counts, inputs)
        targets = _targets(lists, tokens)
        send: Callable[..., BatchResult] = getattr(_client_of(traceable), call)
        outputs, metrics = send(tokens, lists, loss_fn, dict(zip(settings, values)))
        missing = [name for name, of in (("loss:sum", metrics), ("logprobs", outputs))
                   if name not in of]
        if missing:
            raise _lacks(call, loss_fn, missing)
        # Of their own: what a list of results has in common no graph knows of.
        return metrics["loss:sum"], [each.to(torch.float32).reshape(target.shape).clone() for
                                     each, target in zip(outputs["logprobs"], targets)]

    return run


def _lacks(call: str, loss_fn: str, missing: list[str]) -> Error:
    summed = ("The gradient of this call is summed all the same: optim_step() applies it, load_state() "
              "of the client discards it. " if call == "forward_backward" else "")
    return make_error(
        "decode", "the server gave no %s for the loss %r, of which a graph is made. %s%s() of the "
        "TrainingClient gives what the server sends" % (" and no ".join(missing), loss_fn, summed, call))


def _step(traceable: TraceableClient, learning_rate: float | torch.Tensor, beta1: float,
          beta2: float, eps: float, weight_decay: float, grad_clip_norm: float) -> None:
    _check_rate(traceable, learning_rate)
    client = _client_of(traceable)
    rate = learning_rate.item() if isinstance(learning_rate, torch.Tensor) else learning_rate
    client.optim_step(rate, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay,
                      grad_clip_norm=grad_clip_norm)


def _inputs_of_batch(client: Any, tokens: list[torch.Tensor], names: list[str], counts: list[int],
                     inputs: list[torch.Tensor], *settings: Any) -> _Named:
    return [("loss_fn_inputs[%r][%d]" % (input_name, i), tensor)
            for input_name, tensors in _lists(names, counts, inputs).items()
            for i, tensor in enumerate(tensors)]


def _rate_of_step(client: Any, learning_rate: torch.Tensor, *settings: Any) -> _Named:
    return [("learning_rate", learning_rate)]


class _Kernel(NamedTuple):
    """What an op of a graph is made of."""

    schema: str  # with a place for the type of the client
    run: Callable[..., Any]
    trace: Callable[..., Any]  # gives what stands for the result
    # Those of its tensors through which a gradient could be wanted; None: it has none.
    inputs: Callable[..., _Named] | None


_KERNELS = {
    "forward": _Kernel(_BATCH, _run("forward"), _shapes, _inputs_of_batch),
    "forward_backward": _Kernel(_BATCH, _run("forward_backward"), _shapes, _inputs_of_batch),
    "optim_step": _Kernel(_adam("float"), _step, _check_rate, None),
    "scheduled_step": _Kernel(_adam("Tensor"), _step, _check_rate, _rate_of_step),
}


def _refuse_gradients(inputs: _Named) -> None:
    """Of what a gradient should flow through, which the kernels would make 0 without a word."""
    for name, tensor in inputs:
        if torch.is_grad_enabled() and tensor.requires_grad:
            raise make_error(
                "invalid_argument", "%s requires a gradient, but none flows through the calls of a "
                "TraceableClient; pass .detach(), or call it inside torch.no_grad()" % name)
        if forward_ad.unpack_dual(tensor).tangent is not None:
            raise make_error(
                "invalid_argument", "%s has a tangent, but none flows through the calls of a "
                "TraceableClient; call it outside of jvp and of forward_ad" % name)


def _without_gradients(name: str, inputs: Callable[..., _Named]) -> Callable[..., Any]:
    """The kernel that meets autograd, torch.func.grad and forward mode, in a graph or not."""
    def kernel(keys: Any, *arguments: Any) -> Any:
        _refuse_gradients(inputs(*arguments))
        op = getattr(torch.ops.tinkex_torch, name).default
        with torch._C._AutoDispatchBelowAutograd():
            return op.redispatch(keys & torch._C._after_autograd_keyset, *arguments)

    return kernel


def _keep_out_of_cuda_graphs() -> None:
    """Tells inductor to run the ops between CUDA graphs, which would not send anything again.

    Not where this file is imported: it imports torch._dynamo, which takes seconds. What it sets is
    this thread's; in a graph that another one compiles the ops refuse to be captured.
    """
    if _library is None:
        return
    from torch._inductor import config

    known = getattr(config, "custom_should_partition_ops", None)
    if known is not None:
        names = ["tinkex_torch::" + name for name in _KERNELS]
        config.custom_should_partition_ops = known + [name for name in names if name not in known]


_library: Any = None  # its ops live as long as it does


class _OtherForm(Exception):
    """What is private to PyTorch is missing, or takes other arguments."""


@contextlib.contextmanager
def _private_to_pytorch() -> Iterator[None]:
    """Around such calls alone, so that no mistake of this file is taken for another PyTorch."""
    try:
        yield
    except (ImportError, AttributeError, TypeError) as problem:
        raise _OtherForm from problem


def _define() -> Any:
    """The ops ``torch.ops.tinkex_torch``, or functions in their place."""
    global _library
    if opaque_object is not None:
        try:
            _library = _define_ops()
            return torch.ops.tinkex_torch
        except _OtherForm:
            pass
    return types.SimpleNamespace(**{name: kernel.run for name, kernel in _KERNELS.items()})


def _define_ops() -> Any:
    kind = _register_type()
    declare_effect = _effect_declarer()  # Where it is missing no library is made for nothing.
    library = torch.library.Library("tinkex_torch", "DEF")
    for name, kernel in _KERNELS.items():
        library.define(name + kernel.schema % kind)
        library.impl(name, kernel.run, "CompositeExplicitAutograd")
        if kernel.inputs is not None:
            library.impl(name, _without_gradients(name, kernel.inputs), "Autograd", with_keyset=True)
        torch.library.register_fake("tinkex_torch::" + name, kernel.trace, lib=library)
        with _private_to_pytorch():
            declare_effect("tinkex_torch::" + name, lib=library)
    return library


def _register_type() -> str:
    """How schemas call a ``TraceableClient``."""
    with _private_to_pytorch():
        inlined = opaque_object.MemberType.INLINED
        opaque_object.register_opaque_type(
            TraceableClient, typ="reference",
            members={name: inlined for name in ("forward", "forward_backward", "optim_step")})
        return opaque_object.get_opaque_type_name(TraceableClient)


def _effect_declarer() -> Callable[..., None]:
    """A function that tells graphs that an op, named by its text, has an effect."""
    with _private_to_pytorch():
        from torch._library.effects import EffectType

        register = torch.library._register_effectful_op
        return lambda op, lib: register(op, EffectType.ORDERED, lib=lib)


_calls = _define()
