"""Text to token ids of the byte tokenizer, which the built-in models use, and back."""

from __future__ import annotations

import torch

from ._arguments import Array, to_tensor, to_text
from ._errors import translate_errors


def encode_text(text: str) -> torch.Tensor:
    """The bytes of ``text`` as UTF-8, as a 1-D int64 tensor."""
    with translate_errors():
        return torch.ops.tinkex.encode_text(to_text(text, "text"))


def decode_text(tokens: Array, errors: str = "replace") -> str:
    """The text of token ids; those beyond the bytes, such as special tokens, give none.

    A sample may end within a character. ``errors`` says what becomes of bytes that are no UTF-8, as
    in ``bytes.decode``.
    """
    try:
        with translate_errors():
            return torch.ops.tinkex.decode_text(to_tensor(tokens, "tokens"), replace=False)
    except UnicodeDecodeError as problem:
        return bytes(problem.object).decode("utf-8", errors)
