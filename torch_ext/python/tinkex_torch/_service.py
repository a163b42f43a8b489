"""Connecting, and making clients."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Any, Callable, Sequence, TypeVar

import torch

from ._arguments import to_int, to_text
from ._errors import translate_errors, wrong_type
from ._handle import Handle, Native, finish, same, start
from ._remote_model import RemoteModel
from ._sampling import SamplingClient
from ._training import TrainingClient
from ._waiting import call_interruptibly, forget_waits, leave_waits

T = TypeVar("T")

_open: weakref.WeakSet[Service] = weakref.WeakSet()


class Service(Native):
    """A connection to a server, or to the embedded backend in this process. Thread-safe.

    ``connect`` makes one. Use it in a ``with`` statement, or call ``close``; what is open when the
    interpreter ends is closed then. Clients keep it open, and so does each call until it has its result.

    Pickling keeps the address, the folder and the models, never the key: what is unpickled is a new connection,
    with the key of the environment.
    """

    def __init__(self, native: Any) -> None:
        """Wraps a ``torch.classes.tinkex.Service``."""
        super().__init__(native)
        self._closed = False
        _open.add(self)

    @property
    def session_id(self) -> str:
        """The server's name for this connection."""
        return self.native.session_id()

    @property
    def description(self) -> str:
        """Where it is, for people: "the server at ..." or "the embedded backend in this process"."""
        return self.native.description()

    @property
    def embedded(self) -> bool:
        """Whether models are trained in this process."""
        return self.native.embedded()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def supported_models(self) -> list[str]:
        """The models that the server has, for ``base_model``. Waits for it."""
        return self._ask(torch.ops.tinkex.supported_models)

    def context_lengths(self) -> dict[str, int]:
        """Model -> how many tokens it can read at a time, of those whose server says it. Waits."""
        return dict(self._ask(torch.ops.tinkex.context_lengths))

    def create_lora_training_client(
        self,
        base_model: str,
        rank: int = 32,
        *,
        seed: int | None = None,
        train_attn: bool = True,
        train_mlp: bool = True,
        train_unembed: bool = True,
    ) -> TrainingClient:
        """A new model: ``base_model`` with LoRA adapters of ``rank``, which the training changes.

        Waits until the server has made it. The other arguments are those of LoraConfig in
        tinkex/params.h: which layers have adapters, and the seed of their first values.
        """
        native = self._ask(torch.ops.tinkex.create_lora_training_client,
                           to_text(base_model, "base_model"), to_int(rank, "rank"),
                           to_int(seed, "seed"), train_attn, train_mlp, train_unembed,
                           give_up=_unload)
        return TrainingClient(native, self)

    def create_remote_model(
        self,
        base_model: str,
        rank: int = 32,
        *,
        seed: int | None = None,
        train_attn: bool = True,
        train_mlp: bool = True,
        train_unembed: bool = True,
        pipelined: bool = False,
    ) -> RemoteModel:
        """A new model as a ``torch.nn.Module``, which any loss of PyTorch's trains.

        As ``create_lora_training_client``; ``pipelined`` as in ``RemoteModel``.
        """
        client = self.create_lora_training_client(
            base_model, rank, seed=seed, train_attn=train_attn, train_mlp=train_mlp,
            train_unembed=train_unembed)
        return RemoteModel(client, pipelined=pipelined)

    def create_training_client_from_state(
        self, path: str, *, with_optimizer: bool = True
    ) -> TrainingClient:
        """A new model that goes on from what ``TrainingClient.save_state`` saved as ``path``.

        Without the optimizer's state its moments begin at zero. Waits.
        """
        native = self._ask(torch.ops.tinkex.create_training_client_from_state,
                           to_text(path, "path"), with_optimizer, give_up=_unload)
        return TrainingClient(native, self)

    def create_sampling_client(
        self, base_model: str | None = None, *, model_path: str | None = None
    ) -> SamplingClient:
        """Samples from ``base_model``, or from the weights saved as ``model_path``. Give one of them.

        Waits.
        """
        native = self._ask(torch.ops.tinkex.create_sampling_client,
                           None if base_model is None else to_text(base_model, "base_model"),
                           None if model_path is None else to_text(model_path, "model_path"))
        return SamplingClient(native, self)

    def delete_checkpoint(self, path: str) -> None:
        """Deletes what ``save_state`` or ``save_weights_for_sampler`` saved as ``path``. Waits.

        Of any session. Clients that were made from it stay as they are. It is not ordered with the
        calls of a model, and may overtake them: wait for those that save or load ``path`` first, and
        for this one before the path is saved to again. Raises Error with ``status`` 404 if there is no
        such checkpoint, or the server does not offer this.
        """
        return finish(self.delete_checkpoint_async(path))

    def delete_checkpoint_async(self, path: str) -> Handle[None]:
        """As ``delete_checkpoint``, without waiting."""
        return start(torch.ops.tinkex.delete_checkpoint_async, same, self.native,
                     to_text(path, "path"))

    def close(self) -> None:
        """Ends the connection: what is under way ends with Closed. Waits a few seconds at most.

        May be called twice. Does nothing in a child of fork, which has nothing to close.
        """
        call_interruptibly(self._close, lambda late: None)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._is_inherited():
            return "<tinkex_torch.Service of process %d>" % self._process
        return "<tinkex_torch.Service of %s, %s>" % (
            self.description, "closed" if self._closed else "open")

    def __reduce__(self) -> Any:
        return _connect_again, tuple(self.native.__getstate__()[0])

    def _close(self) -> None:
        self._closed = True
        _open.discard(self)
        if not self._is_inherited():
            self.native.close()

    def _ask(self, op: Callable[..., T], *arguments: Any,
             give_up: Callable[[T], None] = lambda late: None) -> T:
        with translate_errors():
            native = self.native
            return call_interruptibly(lambda: op(native, *arguments), give_up)


def connect(
    base_url: str = "",
    api_key: str = "",
    *,
    data_dir: str | os.PathLike[str] = "",
    base_models: Sequence[str | os.PathLike[str]] = (),
) -> Service:
    """Connects to a server, or starts an embedded backend in this process.

    What is empty is taken from TINKER_BASE_URL and TINKER_API_KEY. Without an address and a key in
    either place the embedded backend is used, which trains on this machine; ``data_dir`` is the
    folder of its checkpoints, a temporary one if it is empty, and ``base_models`` are models to load
    beside the built-in ones: GGUF files or folders of Hugging Face's, each called after its folder,
    or its file without the extension. A server has its own. With a key alone it is the hosted
    server. Waits for a few requests, and for a server that says when to ask again, as one does that
    loads its models: five minutes at most for each. Ctrl-C ends that.

    Raises ConnectionFailed if there is no server, Error with ``status`` if it refuses, InvalidArgument
    for an address that is none, Error for a model that cannot be loaded.
    """
    arguments = (to_text(base_url, "base_url"), to_text(api_key, "api_key"),
                 _to_path(data_dir, "data_dir"), _to_paths(base_models))
    return finish(start(torch.ops.tinkex.connect_async, Service, *arguments))


def connect_embedded(
    data_dir: str | os.PathLike[str] = "", *, base_models: Sequence[str | os.PathLike[str]] = ()
) -> Service:
    """Starts an embedded backend in this process, whatever the environment says.

    ``data_dir`` and ``base_models`` as in ``connect``.
    """
    folder, models = _to_path(data_dir, "data_dir"), _to_paths(base_models)
    with translate_errors():
        return Service(call_interruptibly(lambda: torch.ops.tinkex.connect_embedded(folder, models),
                                          lambda late: late.close()))


def _unload(late: Any) -> None:
    """A model that nobody can use would keep its place on the server."""
    torch.ops.tinkex.unload_async(late)  # does not wait: it may be the main thread that gives up


def _connect_again(embedded: bool, base_url: str, data_dir: str, models: list[str]) -> Service:
    """Unpickles a service. LibTorch's own way would hold the interpreter's lock meanwhile."""
    return connect_embedded(data_dir, base_models=models) if embedded else connect(base_url)


def _to_path(path: str | os.PathLike[str], name: str) -> str:
    if not isinstance(path, (str, os.PathLike)):
        raise wrong_type("%s is a %s, expected a str or a path" % (name, type(path).__name__))
    return to_text(os.fspath(path), name)


def _to_paths(base_models: Sequence[str | os.PathLike[str]]) -> list[str]:
    if isinstance(base_models, (str, os.PathLike)) or not isinstance(base_models, Sequence):
        raise wrong_type("base_models is a %s, expected a list of paths" % type(base_models).__name__)
    return [_to_path(path, "base_models[%d]" % i) for i, path in enumerate(base_models)]


def _close_at_exit() -> None:
    """Before the interpreter ends, not after: threads that wait must be able to come back to it."""
    for service in list(_open):
        service._close()  # on this thread: it is too late to start another
    leave_waits(patience=1.0)


def _forget_after_fork() -> None:
    """A child has none of the threads: nothing of its parent's is closed or waited for there."""
    _open.clear()
    forget_waits()


atexit.register(_close_at_exit)
os.register_at_fork(after_in_child=_forget_after_fork)
