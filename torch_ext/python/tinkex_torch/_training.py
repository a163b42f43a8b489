"""Training a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

import torch

from ._arguments import (
    Array,
    Arrays,
    to_config,
    to_float,
    to_inputs,
    to_ragged_inputs,
    to_tensor,
    to_tensors,
    to_text,
)
from ._errors import translate_errors
from ._handle import Handle, Native, finish, same, start, start_interruptibly
from ._results import BatchResult, Metrics, ModelInfo, RaggedResult
from ._sampling import SamplingClient

if TYPE_CHECKING:
    from ._service import Service


def _batch_result(parts: Any) -> BatchResult:
    return BatchResult(*parts)


class TrainingClient(Native):
    """A model in training. Thread-safe. Keeps its service open.

    Calls take effect in the order in which they are made, also those with ``_async``; nothing has to
    be waited for in between. Tensors are copied before a call returns. One with ``_async`` waits only
    while more than 64 MiB of this model's data are on their way, and Ctrl-C ends that.

    Cannot be pickled: save its state, and make a client from the path.
    """

    def __init__(self, native: Any, service: Service) -> None:
        """For this package; ``Service`` makes clients."""
        super().__init__(native)
        self._service = service

    @property
    def model_id(self) -> str:
        """The server's name for the model."""
        return self.native.model_id()

    @property
    def info(self) -> ModelInfo:
        """What the server said of the model when it was made."""
        told = self.native.info()
        rank = told.get("lora_rank")
        return ModelInfo(told["model_id"], told["model_name"], told["tokenizer_id"], told["arch"],
                         None if rank is None else int(rank))

    def forward(
        self,
        tokens: Arrays,
        loss_fn_inputs: Mapping[str, Arrays],
        loss_fn: str = "cross_entropy",
        loss_fn_config: Mapping[str, float] | None = None,
    ) -> BatchResult:
        """The loss of a batch, without a gradient. Arguments and result as ``forward_backward``."""
        return finish(self.forward_async(tokens, loss_fn_inputs, loss_fn, loss_fn_config))

    def forward_async(
        self,
        tokens: Arrays,
        loss_fn_inputs: Mapping[str, Arrays],
        loss_fn: str = "cross_entropy",
        loss_fn_config: Mapping[str, float] | None = None,
    ) -> Handle[BatchResult]:
        """As ``forward``, without waiting for the result."""
        return self._start_batch(torch.ops.tinkex.forward_async, tokens, loss_fn_inputs, loss_fn,
                                 loss_fn_config)

    def forward_backward(
        self,
        tokens: Arrays,
        loss_fn_inputs: Mapping[str, Arrays],
        loss_fn: str = "cross_entropy",
        loss_fn_config: Mapping[str, float] | None = None,
    ) -> BatchResult:
        """Adds the gradient of a batch's loss to what ``optim_step`` will apply.

        ``tokens`` has one array of token ids per datum; they may differ in length. Each loss input,
        such as "target_tokens" or "weights", has one array per datum as well, of one row per token.
        Arrays are tensors of any device, dtype and stride, numpy arrays, or lists of numbers.

        Raises InvalidArgument, which names datum and input, before anything is sent.
        """
        return finish(self.forward_backward_async(tokens, loss_fn_inputs, loss_fn, loss_fn_config))

    def forward_backward_async(
        self,
        tokens: Arrays,
        loss_fn_inputs: Mapping[str, Arrays],
        loss_fn: str = "cross_entropy",
        loss_fn_config: Mapping[str, float] | None = None,
    ) -> Handle[BatchResult]:
        """As ``forward_backward``, without waiting for the result."""
        return self._start_batch(torch.ops.tinkex.forward_backward_async, tokens, loss_fn_inputs,
                                 loss_fn, loss_fn_config)

    def forward_ragged(
        self,
        tokens: Array,
        offsets: Array,
        loss_fn_inputs: Mapping[str, Array],
        loss_fn: str = "cross_entropy",
        loss_fn_config: Mapping[str, float] | None = None,
    ) -> RaggedResult:
        """``forward`` of sequences that lie one after another; see ``forward_backward_ragged``."""
        return finish(self.forward_ragged_async(tokens, offsets, loss_fn_inputs, loss_fn,
                                                loss_fn_config))

    def forward_ragged_async(
        self,
        tokens: Array,
        offsets: Array,
        loss_fn_inputs: Mapping[str, Array],
        loss_fn: str = "cross_entropy",
        loss_fn_config: Mapping[str, float] | None = None,
    ) -> Handle[RaggedResult]:
        """As ``forward_ragged``, without waiting for the result."""
        return self._start_ragged(torch.ops.tinkex.forward_ragged_async, tokens, offsets,
                                  loss_fn_inputs, loss_fn, loss_fn_config)

    def forward_backward_ragged(
        self,
        tokens: Array,
        offsets: Array,
        loss_fn_inputs: Mapping[str, Array],
        loss_fn: str = "cross_entropy",
        loss_fn_config: Mapping[str, float] | None = None,
    ) -> RaggedResult:
        """``forward_backward`` of sequences that lie one after another, without lists.

        Sequence i is rows ``offsets[i]`` to ``offsets[i + 1]`` of ``tokens``, which has one dimension,
        and of each loss input, which has one row per token; ``from_lists`` makes them. Its results lie
        in the same way.
        """
        return finish(self.forward_backward_ragged_async(tokens, offsets, loss_fn_inputs, loss_fn,
                                                         loss_fn_config))

    def forward_backward_ragged_async(
        self,
        tokens: Array,
        offsets: Array,
        loss_fn_inputs: Mapping[str, Array],
        loss_fn: str = "cross_entropy",
        loss_fn_config: Mapping[str, float] | None = None,
    ) -> Handle[RaggedResult]:
        """As ``forward_backward_ragged``, without waiting for the result."""
        return self._start_ragged(torch.ops.tinkex.forward_backward_ragged_async, tokens, offsets,
                                  loss_fn_inputs, loss_fn, loss_fn_config)

    def optim_step(
        self,
        learning_rate: float = 1e-4,
        *,
        beta1: float = 0.9,
        beta2: float = 0.95,
        eps: float = 1e-12,
        weight_decay: float = 0.0,
        grad_clip_norm: float = 0.0,
    ) -> Metrics:
        """One AdamW step with the gradient so far, which it then forgets.

        ``grad_clip_norm`` 0 clips nothing.
        """
        return finish(self.optim_step_async(
            learning_rate, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay,
            grad_clip_norm=grad_clip_norm))

    def optim_step_async(
        self,
        learning_rate: float = 1e-4,
        *,
        beta1: float = 0.9,
        beta2: float = 0.95,
        eps: float = 1e-12,
        weight_decay: float = 0.0,
        grad_clip_norm: float = 0.0,
    ) -> Handle[Metrics]:
        """As ``optim_step``, without waiting."""
        settings = dict(learning_rate=learning_rate, beta1=beta1, beta2=beta2, eps=eps,
                        weight_decay=weight_decay, grad_clip_norm=grad_clip_norm)
        return start_interruptibly(torch.ops.tinkex.optim_step_async, same, self.native,
                                   *(to_float(value, name) for name, value in settings.items()))

    def save_state(self, name: str, *, overwrite: bool = False) -> str:
        """Saves weights and optimizer; gives the ``tinker://`` path to go on from."""
        return finish(self.save_state_async(name, overwrite=overwrite))

    def save_state_async(self, name: str, *, overwrite: bool = False) -> Handle[str]:
        """As ``save_state``, without waiting."""
        return start_interruptibly(torch.ops.tinkex.save_state_async, same, self.native,
                                   to_text(name, "name"), overwrite)

    def load_state(self, path: str, *, with_optimizer: bool = True) -> str:
        """Replaces this model's weights by those saved as ``path``; gives the path."""
        return finish(self.load_state_async(path, with_optimizer=with_optimizer))

    def load_state_async(self, path: str, *, with_optimizer: bool = True) -> Handle[str]:
        """As ``load_state``, without waiting."""
        return start_interruptibly(torch.ops.tinkex.load_state_async, same, self.native,
                                   to_text(path, "path"), with_optimizer)

    def save_weights_for_sampler(self, name: str) -> str:
        """Saves the weights alone; gives the path for ``create_sampling_client(model_path=...)``."""
        return finish(self.save_weights_for_sampler_async(name))

    def save_weights_for_sampler_async(self, name: str) -> Handle[str]:
        """As ``save_weights_for_sampler``, without waiting."""
        return start_interruptibly(torch.ops.tinkex.save_weights_for_sampler_async, same,
                                   self.native, to_text(name, "name"))

    def save_weights_and_get_sampling_client(self) -> SamplingClient:
        """Samples from the model as it is now; later steps do not change what it samples from."""
        return finish(self.save_weights_and_get_sampling_client_async())

    def save_weights_and_get_sampling_client_async(self) -> Handle[SamplingClient]:
        """As ``save_weights_and_get_sampling_client``, without waiting."""
        service = self._service
        return start_interruptibly(torch.ops.tinkex.save_weights_and_get_sampling_client_async,
                                   lambda native: SamplingClient(native, service), self.native)

    def unload(self) -> None:
        """Lets the server forget the model, before the service is closed, which does so in any case.

        A server has room for so many models; dropping a client unloads none. What was saved stays.
        Results that are under way end with an error, as does every later call.
        """
        return finish(self.unload_async())

    def unload_async(self) -> Handle[None]:
        """As ``unload``, without waiting."""
        return start(torch.ops.tinkex.unload_async, same, self.native)

    def __repr__(self) -> str:
        return "<tinkex_torch.TrainingClient of %r>" % self._service

    def __reduce__(self) -> Any:
        with translate_errors():
            return self.native.__getstate__()  # the library says why not

    def _start_batch(self, op: Any, tokens: Arrays, inputs: Mapping[str, Arrays], loss_fn: str,
                     config: Mapping[str, float] | None) -> Handle[BatchResult]:
        return start_interruptibly(op, _batch_result, self.native, to_tensors(tokens, "tokens"),
                                   to_inputs(inputs), to_text(loss_fn, "loss_fn"),
                                   to_config(config))

    def _start_ragged(self, op: Any, tokens: Array, offsets: Array, inputs: Mapping[str, Array],
                      loss_fn: str, config: Mapping[str, float] | None) -> Handle[RaggedResult]:
        return start_interruptibly(op, lambda parts: RaggedResult(*parts), self.native,
                                   to_tensor(tokens, "tokens"), to_tensor(offsets, "offsets"),
                                   to_ragged_inputs(inputs), to_text(loss_fn, "loss_fn"),
                                   to_config(config))
