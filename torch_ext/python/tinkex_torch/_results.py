"""What calls return. Tuples, as the ops give them, whose parts have names."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional

from torch import Tensor

Metrics = Dict[str, Tensor]
"""Name, such as "loss:sum", to a float64 tensor without dimensions."""


class BatchResult(NamedTuple):
    """Of ``forward`` and ``forward_backward``."""

    outputs: Dict[str, List[Tensor]]
    """Name, such as "logprobs", to one tensor per datum, in the order of the batch."""
    metrics: Metrics


class Ragged(NamedTuple):
    """Sequences one after another: sequence i is ``values[offsets[i]:offsets[i + 1]]``."""

    values: Tensor
    """(rows of all sequences, ...)"""
    offsets: Tensor
    """1-D int64, one more than there are sequences; the first is 0."""


class RaggedResult(NamedTuple):
    """Of ``forward_ragged`` and ``forward_backward_ragged``."""

    values: Dict[str, Tensor]
    """Name, such as "logprobs", to the rows of all sequences."""
    offsets: Dict[str, Tensor]
    """The same names, to where each sequence begins and ends."""
    metrics: Metrics


class RaggedSamples(NamedTuple):
    """Of ``sample_ragged``.

    Sequence s is ``tokens[offsets[s]:offsets[s + 1]]``, and continues prompt s // num_samples.
    """

    tokens: Tensor
    """1-D int64: what was sampled, without the prompts."""
    logprobs: Tensor
    """1-D float32, of each token; NaN where the server sends none."""
    offsets: Tensor
    """1-D int64, one more than there are sequences."""
    stopped: Tensor
    """1-D bool, of each sequence: false where its length ended it."""
    prompt_cache_hit_tokens: Tensor
    """1-D int64, of each prompt."""
    prompt_logprobs: Optional[Tensor] = None
    """1-D float32, of each token of the prompts; NaN for the first of each."""
    prompt_offsets: Optional[Tensor] = None
    """1-D int64: the tokens of prompt p are those from prompt_offsets[p] to prompt_offsets[p + 1]."""
    topk_tokens: Optional[Tensor] = None
    """(tokens of the prompts, k) int64: the likeliest tokens there; -1 where there are fewer."""
    topk_logprobs: Optional[Tensor] = None
    """The same of their logprobs, float32; NaN where there are fewer."""


class LossResult(NamedTuple):
    """Of ``forward`` and ``forward_backward`` of a ``TraceableClient``."""

    loss: Tensor
    """The sum over all positions: float64, without dimensions."""
    logprobs: List[Tensor]
    """One per datum, float32, of the shape of its target tokens."""


class ModelInfo(NamedTuple):
    """What a server says of a model in training."""

    model_id: str
    model_name: str
    """The base model."""
    tokenizer_id: str
    """Empty, as ``arch``, where the server does not say it."""
    arch: str
    lora_rank: Optional[int]


class SampleResult(NamedTuple):
    """Of ``sample``: one entry per sample in each list."""

    tokens: List[Tensor]
    """1-D int64: what was sampled, without the prompt."""
    logprobs: List[Tensor]
    """1-D float32, of each token; empty where the server sends none."""
    stop_reasons: List[str]
    """"stop" or "length"."""
