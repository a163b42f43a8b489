"""Sequences of different lengths that lie one after another in one tensor.

Sequence i is ``values[offsets[i]:offsets[i + 1]]``. In functions for torch.compile call the ops of the
same names, ``torch.ops.tinkex``.
"""

from __future__ import annotations

from typing import List

import torch

from ._arguments import Array, Arrays, to_tensor, to_tensors
from ._errors import translate_errors
from ._results import Ragged


def from_lists(tensors: Arrays) -> Ragged:
    """The tensors one after another, and where each begins and ends. Differentiable."""
    with translate_errors():
        return Ragged(*torch.ops.tinkex.from_lists(to_tensors(tensors, "tensors")))


def to_lists(values: torch.Tensor, offsets: Array) -> List[torch.Tensor]:
    """The sequences as views of ``values``: nothing is copied. Differentiable."""
    with translate_errors():
        return torch.ops.tinkex.to_lists(values, to_tensor(offsets, "offsets"))


def offsets_of(tensors: Arrays) -> torch.Tensor:
    """The offsets of ``from_lists`` alone: int64, on the CPU, one element more than there are tensors."""
    with translate_errors():
        return torch.ops.tinkex.offsets_of(to_tensors(tensors, "tensors"))


def unpad(padded: torch.Tensor, lengths: Array) -> List[torch.Tensor]:
    """Views of the rows of a tensor (sequences, longest, ...) without the padding at their ends."""
    with translate_errors():
        return torch.ops.tinkex.unpad(padded, to_tensor(lengths, "lengths"))
