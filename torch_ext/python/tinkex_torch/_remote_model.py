"""A remote model as a module of torch.nn."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Callable, List, Mapping, NoReturn, TypeVar, Union, overload

import torch

from ._arguments import Array, Arrays, to_config, to_inputs, to_tensor, to_tensors, to_text
from ._errors import Error, make_error, translate_errors, wrong_type
from ._results import Metrics
from ._training import TrainingClient
from ._waiting import Turn, call_interruptibly

if TYPE_CHECKING:
    import numpy

    Padded = Union[torch.Tensor, "numpy.ndarray[Any, Any]"]
    """A batch whose rows are padded to one length."""

T = TypeVar("T")

_NOT_TRACED = ("a remote model sends requests, which no graph can hold: leave fullgraph out, so that "
               "torch.compile breaks its graph at the model, or call the model outside")


class RemoteModel(torch.nn.Module):
    """A model on a server that any loss of PyTorch's trains; for ``RemoteAdamW``.

    ::

        logprobs = model(tokens, targets)       # a forward pass, differentiable
        loss = -logprobs.mean()                 # any expression of it
        loss.backward()                         # one forward_backward for each model
        optimizer.step()                        # one optim_step

    Its one parameter, the anchor, is a number that stays 0: a loss depends on it, and the gradients
    that ``backward`` leaves there are counts, not gradients of weights. ``to``, ``half``, ``cuda`` and
    so on have no effect; results are on the device of the targets. The weights are saved by
    ``client.save_state``: ``state_dict``, pickling and copying are refused.

    ``backward`` raises RuntimeError, as PyTorch puts its own type in place of ours; within
    ``translate_errors`` it is ``Error``. Use it on one thread at a time.

    One model per client: a client has one gradient on the server, and two models of it would each
    know of their own part; ``step`` of either then raises InvalidArgument.
    """

    anchor: torch.nn.Parameter

    def __init__(self, client: TrainingClient, *, pipelined: bool = False) -> None:
        """Goes on with the model of ``client``; ``Service.create_remote_model`` makes a new one.

        ``pipelined``: ``backward`` and ``step`` return once their request is queued, with the same
        results. A failure is raised by the next call that waits, or by ``synchronize``.
        """
        if not isinstance(client, TrainingClient):
            raise wrong_type("client is a %s, expected a TrainingClient; "
                             "service.create_remote_model(base_model) makes a client and its model"
                             % type(client).__name__)
        super().__init__()
        _keep_out_of_graphs()
        self._client = client
        self._pipelined = bool(pipelined)
        self._turn = Turn()
        with torch.inference_mode(False):  # what is made within it never has a gradient
            self.anchor = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    @property
    def client(self) -> TrainingClient:
        """For checkpoints and sampling. A gradient that it sends is unknown here."""
        return self._client

    @property
    def pipelined(self) -> bool:
        """Whether ``backward`` and ``step`` do not wait."""
        return self._pipelined

    @overload
    def forward(self, tokens: Padded, targets: Padded) -> torch.Tensor: ...

    @overload
    def forward(self, tokens: List[Array], targets: List[Array]) -> List[torch.Tensor]: ...

    def forward(self, tokens: Any, targets: Any) -> Any:
        """The log-probability of each target, float32, differentiable; waits for the server.

        Padded: ``tokens`` (B, T) and ``targets`` (B, T), or (B, T, K) for K targets at each
        position; the result has the shape of ``targets``. Pad at the end, with -100 in ``targets``:
        such a result is 0 and has no gradient. Lists: ``tokens[i]`` (N_i), ``targets[i]`` (N_i) or
        (N_i, K); the result is a list. ``targets[t]`` follows ``tokens[0..t]``.

        Under ``no_grad`` it has no graph. Raises InvalidArgument before anything is sent.
        """
        if _are_lists(tokens, targets):
            return self._call(torch.ops.tinkex.logprobs_list, to_tensors(tokens, "tokens"),
                              to_tensors(targets, "targets"), self._pipelined)
        return self._call(torch.ops.tinkex.logprobs, to_tensor(tokens, "tokens"),
                          to_tensor(targets, "targets"), self._pipelined)

    if TYPE_CHECKING:
        __call__ = forward

    def loss(
        self,
        loss_fn: str,
        tokens: Arrays,
        loss_fn_inputs: Mapping[str, Arrays],
        loss_fn_config: Mapping[str, float] | None = None,
    ) -> torch.Tensor:
        """A loss that the server computes, in one pass: a scalar, the sum over all positions.

        Arguments as ``TrainingClient.forward_backward``. The server sums its gradient at once;
        ``backward`` notes that it is wanted. So it may be part of a sum, but not be multiplied.
        Inputs that require a gradient are refused, as none would flow through them. Under ``no_grad``
        it is a forward pass.

        It first waits for what is under way, an ``optim_step_async`` of the client included. If it
        then raises what pipelined calls have left, nothing of its own is sent.
        """
        return self._call(torch.ops.tinkex.loss, to_tensors(tokens, "tokens"),
                          to_inputs(loss_fn_inputs), to_text(loss_fn, "loss_fn"),
                          to_config(loss_fn_config))

    @property
    def metrics(self) -> Metrics:
        """Of the last backward pass, or ``loss``, that has finished; ``RemoteAdamW.metrics`` are those
        of the step. Does not wait."""
        with translate_errors():
            return torch.ops.tinkex.metrics(self._client.native, self.anchor)

    def explain(self, tokens: Any, targets: Any) -> str:
        """How ``model(tokens, targets)`` and its ``backward`` would travel: passes, requests, bytes.

        A text of a few lines for people. Nothing is sent. Raises what that call would raise.
        """
        if _are_lists(tokens, targets):
            return self._call(torch.ops.tinkex.explain_list, to_tensors(tokens, "tokens"),
                              to_tensors(targets, "targets"))
        return self._call(torch.ops.tinkex.explain, to_tensor(tokens, "tokens"),
                          to_tensor(targets, "targets"))

    def explain_loss(self, loss_fn: str, tokens: Arrays,
                     loss_fn_inputs: Mapping[str, Arrays]) -> str:
        """The same of ``loss``."""
        return self._call(torch.ops.tinkex.explain_loss, to_tensors(tokens, "tokens"),
                          to_inputs(loss_fn_inputs), to_text(loss_fn, "loss_fn"))

    def synchronize(self) -> None:
        """Waits for what is under way, and raises its first failure. Of use if pipelined."""
        self._call(torch.ops.tinkex.synchronize)

    def accept_server_gradient(self) -> None:
        """The next ``step`` shall apply the gradient that the server holds, whatever it is.

        After an error; after a ``loss`` without ``backward``, or a ``zero_grad`` between ``backward``
        and ``step``.
        """
        self._call(torch.ops.tinkex.accept_server_gradient)

    def load_state(self, path: str, *, with_optimizer: bool = True) -> str:
        """Replaces the weights by those that ``client.save_state`` saved as ``path``; gives the path.

        Waits. The server then holds no gradient, and ``anchor`` shows none; what ``backward`` has left
        is gone, and earlier graphs are stale. Without the optimizer's state its moments begin at zero.
        """
        path = to_text(path, "path")

        def load(native: Any, anchor: torch.Tensor) -> str:
            loaded = torch.ops.tinkex.load_state(native, path, with_optimizer)
            torch.ops.tinkex.accept_server_gradient(native, anchor)
            return loaded

        return self._call(load)

    def extra_repr(self) -> str:
        return "%r, pipelined=%s" % (self._client, self._pipelined)

    def state_dict(self, *arguments: Any, **settings: Any) -> NoReturn:
        """Refused, also as a part of another module: the weights are on the server."""
        raise _on_the_server("state_dict() of a RemoteModel")

    def load_state_dict(self, *arguments: Any, **settings: Any) -> NoReturn:
        """Refused: ``load_state`` loads on the server."""
        raise _on_the_server("load_state_dict() of a RemoteModel")

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str,
                              *arguments: Any) -> None:
        """As a part of another module, whose own parts may be loaded."""
        if any(name.startswith(prefix) for name in state_dict):
            raise _on_the_server("load_state_dict() of %r, a RemoteModel" % prefix.rstrip("."))

    def _apply(self, *arguments: Any, **settings: Any) -> RemoteModel:
        return self  # what to(), half(), cuda() and their like come to, also for a module around this

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise _on_the_server("pickling or copying a RemoteModel")

    def __prepare_scriptable__(self) -> NoReturn:
        raise make_error(
            "invalid_argument", "a RemoteModel cannot be scripted; script a module that holds an "
            "anchor, torch.nn.Parameter(torch.zeros(1, dtype=torch.float64)), and calls "
            "torch.ops.tinkex.logprobs_list(client, self.anchor, tokens, targets), with "
            "model.client.native as the client")

    def _call(self, op: Callable[..., T], *arguments: Any) -> T:
        """``op`` of this model. Ctrl-C ends the wait for it; the call then goes on if it had begun.

        In turn, as a call that was given up may still be under way. Nobody hears what such a call
        raises: if it is a failure that an earlier one has left, the next call raises it again.
        """
        native, anchor = self._client.native, self.anchor
        _refuse_transforms()
        with translate_errors():
            return call_interruptibly(
                lambda: op(native, anchor, *arguments), lambda late: None,
                lambda problem: torch.ops.tinkex.tell_again(native, str(problem)),
                self._turn.taken())


def _are_lists(tokens: Any, targets: Any) -> bool:
    """Whether a batch is given as lists, not padded."""
    in_lists = isinstance(tokens, (list, tuple))
    if in_lists != isinstance(targets, (list, tuple)):
        raise wrong_type(
            "tokens is a %s and targets is a %s, expected two tensors, (B, T) and padded, or two lists "
            "with one array per sequence" % (type(tokens).__name__, type(targets).__name__))
    return in_lists


def _refuse_transforms() -> None:
    """What jit and func do is known to the thread that does it, and would be lost without a word."""
    if torch.jit.is_tracing():
        what = "torch.jit.trace keeps what a remote model says as a constant"
    elif torch._C._functorch.peek_interpreter_stack() is not None:
        what = "torch.func does not reach a remote model"
    elif torch.compiler.is_exporting():
        what = "a program that torch.export makes cannot hold the requests of a remote model"
    else:
        return
    raise make_error("invalid_argument", what + ": call it outside, and use backward()")


def _on_the_server(what: str) -> Error:
    return make_error(
        "invalid_argument", "%s: its weights are on the server. model.client.save_state(name) saves "
        "them there, with the optimizer's state, and "
        "RemoteModel(service.create_training_client_from_state(path)) goes on from them. Of a module "
        "around it, save and copy the local parts alone" % what)


@functools.lru_cache(maxsize=None)
def _keep_out_of_graphs() -> None:
    """Makes torch.compile break its graph at a model.

    Not done where this file is imported: it imports torch._dynamo, which takes seconds, and which
    the first optimizer imports anyway.
    """
    from ._remote_adamw import RemoteAdamW

    for kind, names in ((RemoteModel, ("forward", "loss", "explain", "explain_loss", "synchronize",
                                       "accept_server_gradient", "load_state")),
                        (RemoteAdamW, ("step",))):
        for name in names:
            method = torch.compiler.disable(getattr(kind, name), reason=_NOT_TRACED)
            setattr(kind, name, method)
