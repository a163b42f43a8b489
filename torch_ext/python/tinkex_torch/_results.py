"""What calls return. Tuples, as the ops give them, whose parts have names."""

from __future__ import annotations

from typing import Dict, List, NamedTuple

from torch import Tensor

Metrics = Dict[str, Tensor]
"""Name, such as "loss:sum", to a float64 tensor without dimensions."""


class BatchResult(NamedTuple):
    """Of ``forward`` and ``forward_backward``."""

    outputs: Dict[str, List[Tensor]]
    """Name, such as "logprobs", to one tensor per datum, in the order of the batch."""
    metrics: Metrics


class SampleResult(NamedTuple):
    """Of ``sample``: one entry per sample in each list."""

    tokens: List[Tensor]
    """1-D int64: what was sampled, without the prompt."""
    logprobs: List[Tensor]
    """1-D float32, of each token; empty where the server sends none."""
    stop_reasons: List[str]
    """"stop" or "length"."""
