"""Sampling from a snapshot of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import torch

from ._arguments import Array, Arrays, to_float, to_int, to_list, to_tensor, to_tensors, to_text
from ._errors import translate_errors
from ._handle import Handle, Native, finish, same, start
from ._results import Ragged, RaggedSamples, SampleResult

if TYPE_CHECKING:
    from ._service import Service


def _settings(num_samples: int, max_tokens: int | None, seed: int | None, temperature: float,
              top_k: int, top_p: float, stop_tokens: Sequence[int] | None,
              stop: str | Sequence[str] | None) -> tuple[Any, ...]:
    """The arguments of ``sample`` behind the prompt, as the ops take them."""
    if isinstance(stop, str):
        stop = [stop]
    texts = None if stop is None else [
        to_text(each, "stop[%d]" % i)
        for i, each in enumerate(to_list(stop, "stop", "a str or a list of them"))]
    ids = None if stop_tokens is None else [
        to_int(each, "stop_tokens[%d]" % i)
        for i, each in enumerate(to_list(stop_tokens, "stop_tokens", "a list of token ids"))]
    return (to_int(num_samples, "num_samples"), to_int(max_tokens, "max_tokens"),
            to_int(seed, "seed"), to_float(temperature, "temperature"), to_int(top_k, "top_k"),
            to_float(top_p, "top_p"), ids, texts)


class SamplingClient(Native):
    """A snapshot of a model to sample from. Thread-safe. Keeps its service open.

    Cannot be pickled: save the weights, and make a client from their path.
    """

    def __init__(self, native: Any, service: Service) -> None:
        """For this package; ``Service`` and ``TrainingClient`` make clients."""
        super().__init__(native)
        self._service = service

    @property
    def session_id(self) -> str:
        """The server's name for this client."""
        return self.native.session_id()

    def sample(
        self,
        prompt: Array,
        num_samples: int = 1,
        *,
        max_tokens: int | None = None,
        seed: int | None = None,
        temperature: float = 1.0,
        top_k: int = -1,
        top_p: float = 1.0,
        stop_tokens: Sequence[int] | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> SampleResult:
        """``num_samples`` continuations of ``prompt``, a 1-D array of token ids.

        Temperature 0 always takes the likeliest token; ``top_k`` -1 and ``top_p`` 1 leave all to
        choose from. ``stop_tokens`` and ``stop`` (texts) together say what ends a sequence. Without
        either the model's own end-of-sequence tokens do; with empty lists nothing does.
        """
        return finish(self.sample_async(
            prompt, num_samples, max_tokens=max_tokens, seed=seed, temperature=temperature,
            top_k=top_k, top_p=top_p, stop_tokens=stop_tokens, stop=stop))

    def sample_async(
        self,
        prompt: Array,
        num_samples: int = 1,
        *,
        max_tokens: int | None = None,
        seed: int | None = None,
        temperature: float = 1.0,
        top_k: int = -1,
        top_p: float = 1.0,
        stop_tokens: Sequence[int] | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> Handle[SampleResult]:
        """As ``sample``, without waiting. Make many, then wait: the server samples them together."""
        return start(torch.ops.tinkex.sample_async, lambda parts: SampleResult(*parts), self.native,
                     to_tensor(prompt, "prompt"),
                     *_settings(num_samples, max_tokens, seed, temperature, top_k, top_p,
                                stop_tokens, stop))

    def sample_ragged(
        self,
        prompts: Arrays,
        num_samples: int = 1,
        *,
        max_tokens: int | None = None,
        seed: int | None = None,
        temperature: float = 1.0,
        top_k: int = -1,
        top_p: float = 1.0,
        stop_tokens: Sequence[int] | None = None,
        stop: str | Sequence[str] | None = None,
        prompt_logprobs: bool = False,
        topk_prompt_logprobs: int = 0,
    ) -> RaggedSamples:
        """``num_samples`` continuations of each prompt, one after another in one tensor of each kind.

        Settings as ``sample``, the same for all prompts, also the seed. ``prompt_logprobs`` asks for
        the logprob of each token of the prompts, ``topk_prompt_logprobs`` for the likeliest k tokens
        at each place. Raises the Error of the first prompt that fails, which it names.
        """
        return finish(self.sample_ragged_async(
            prompts, num_samples, max_tokens=max_tokens, seed=seed, temperature=temperature,
            top_k=top_k, top_p=top_p, stop_tokens=stop_tokens, stop=stop,
            prompt_logprobs=prompt_logprobs, topk_prompt_logprobs=topk_prompt_logprobs))

    def sample_ragged_async(
        self,
        prompts: Arrays,
        num_samples: int = 1,
        *,
        max_tokens: int | None = None,
        seed: int | None = None,
        temperature: float = 1.0,
        top_k: int = -1,
        top_p: float = 1.0,
        stop_tokens: Sequence[int] | None = None,
        stop: str | Sequence[str] | None = None,
        prompt_logprobs: bool = False,
        topk_prompt_logprobs: int = 0,
    ) -> Handle[RaggedSamples]:
        """As ``sample_ragged``, without waiting."""
        return start(torch.ops.tinkex.sample_ragged_async, lambda parts: RaggedSamples(**parts),
                     self.native, to_tensors(prompts, "prompts"),
                     *_settings(num_samples, max_tokens, seed, temperature, top_k, top_p,
                                stop_tokens, stop),
                     prompt_logprobs, to_int(topk_prompt_logprobs, "topk_prompt_logprobs"))

    def compute_logprobs(self, prompt: Array) -> torch.Tensor:
        """The log probability of each token of ``prompt`` after those before it.

        1-D float32 of the same length; NaN for the first token.
        """
        return finish(self.compute_logprobs_async(prompt))

    def compute_logprobs_async(self, prompt: Array) -> Handle[torch.Tensor]:
        """As ``compute_logprobs``, without waiting."""
        return start(torch.ops.tinkex.compute_logprobs_async, same, self.native,
                     to_tensor(prompt, "prompt"))

    def compute_logprobs_ragged(self, prompts: Arrays) -> Ragged:
        """``compute_logprobs`` of several prompts, one after another."""
        return finish(self.compute_logprobs_ragged_async(prompts))

    def compute_logprobs_ragged_async(self, prompts: Arrays) -> Handle[Ragged]:
        """As ``compute_logprobs_ragged``, without waiting."""
        return start(torch.ops.tinkex.compute_logprobs_ragged_async, lambda parts: Ragged(*parts),
                     self.native, to_tensors(prompts, "prompts"))

    def close(self) -> None:
        """Lets go of the snapshot; later calls raise Closed. The service stays open."""
        self.native.close()

    def __enter__(self) -> SamplingClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<tinkex_torch.SamplingClient of %r>" % self._service

    def __reduce__(self) -> Any:
        with translate_errors():
            return self.native.__getstate__()  # the library says why not
