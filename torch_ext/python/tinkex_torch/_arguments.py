"""Lists and arrays of Python -> tensors, as the ops take them."""

from __future__ import annotations

from numbers import Number
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, Sequence, TypeVar, Union

import torch

from ._errors import make_error, wrong_type

if TYPE_CHECKING:
    import numpy

T = TypeVar("T")
V = TypeVar("V")

Array = Union[torch.Tensor, Sequence[int], Sequence[float], "numpy.ndarray[Any, Any]"]
"""One sequence: a tensor of any device and stride, a numpy array, or a list of numbers."""

Arrays = Union[Sequence[Array], torch.Tensor]
"""One ``Array`` per datum. A tensor of more than one dimension counts as the list of its rows."""


def to_text(value: object, name: str) -> str:
    """``value`` if it is a str. PyTorch's own error would show it, and it may be a key."""
    if not isinstance(value, str):
        raise wrong_type("%s is a %s, expected a str" % (name, type(value).__name__))
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise make_error(
            "invalid_argument", "%s has half of a surrogate pair at index %d, which UTF-8 cannot "
            "hold; text.encode('utf-8', 'replace').decode() leaves it out"
            % (name, problem.start)) from None
    return value


def to_int(value: Any, name: str) -> Any:
    """``value`` if it fits 64 bits; what is no int is left for the op to refuse."""
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise make_error("invalid_argument", "%s is %s, expected a whole number from -2^63 to 2^63 - 1"
                         % (name, _shown(value)))
    return value


def _shown(value: int) -> str:
    """Python refuses to write numbers of some thousand digits."""
    bits = value.bit_length()
    return str(value) if bits < 256 else "a number of %d bits" % bits


def _described(value: Any) -> str:
    if isinstance(value, int):
        return _shown(value)
    if isinstance(value, torch.Tensor):
        return "a tensor of %d elements" % value.numel()
    return "%.80r" % value if isinstance(value, str) else "a %s" % type(value).__name__


def to_float(value: Any, name: str) -> float:
    """A number, and no text that spells one. Raises InvalidArgument, which names the argument."""
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as problem:
        told = "%s is %s, expected a number" % (name, _described(value))
        raise (wrong_type(told) if isinstance(problem, TypeError) else
               make_error("invalid_argument", told)) from None


def to_list(values: Iterable[T], name: str, expected: str) -> list[T]:
    """The elements of what is no text; ``expected`` says what it shall be."""
    try:
        if isinstance(values, (str, bytes, Mapping)):
            raise TypeError
        elements = iter(values)
    except TypeError:
        raise wrong_type("%s is a %s, expected %s" % (name, type(values).__name__, expected)) from None
    return list(elements)


def check_dictionary(value: object, name: str, example: str) -> None:
    """Raises WrongType for what is none; ``example`` is one that would do."""
    if not isinstance(value, Mapping):
        raise wrong_type("%s is a %s, expected a dictionary such as %s"
                         % (name, type(value).__name__, example))


def _from_list(value: Sequence[Any]) -> torch.Tensor:
    """Of whole numbers int64, of others float32: the default dtype may have fewer digits."""
    if not value:
        return torch.empty(0, dtype=torch.int64)
    made = torch.as_tensor(value)
    if made.is_floating_point() and made.dtype != torch.float32:
        return torch.as_tensor(value, dtype=torch.float32)  # from the numbers: rounded once
    return made


def _wants_gradient(value: Sequence[Any]) -> bool:
    """Whether a tensor in a list, or in the lists in it, requires a gradient."""
    kinds = set(map(type, value))  # of numbers there are one or two kinds, however long the list
    if any(issubclass(kind, torch.Tensor) for kind in kinds):
        if any(isinstance(each, torch.Tensor) and each.requires_grad for each in value):
            return True
    return any(issubclass(kind, (list, tuple)) for kind in kinds) and any(
        _wants_gradient(each) for each in value if isinstance(each, (list, tuple)))


def to_tensor(value: Array, name: str) -> torch.Tensor:
    """A tensor that shares its memory with ``value`` where it can: the ops copy before they return.

    Raises InvalidArgument, which names the argument, for what is no array, and for a list of tensors
    whose gradient would be lost: the op sees their numbers alone.
    """
    if isinstance(value, torch.Tensor):
        return value
    if hasattr(value, "mask") and hasattr(value, "filled"):
        raise wrong_type("%s is a masked array, whose mask no server sees; give what filled() makes "
                         "of it, or the parts that count" % name)
    # Of an array of numpy's; what a Series of pandas' has by that name is something else.
    writeable = getattr(getattr(value, "flags", None), "writeable", None)
    try:
        if writeable is not None and (not writeable or min(value.strides, default=0) < 0):
            value = value.copy()  # torch cannot view such an array of numpy's
        if not isinstance(value, (list, tuple)):
            return torch.as_tensor(value)
        made = _from_list(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as problem:
        told = ("%s is a %s that does not become a tensor (%s); give a tensor, a numpy array or a list "
                "of numbers" % (name, type(value).__name__, str(problem).split("\n")[0]))
        of_that_type = writeable is not None or isinstance(value, (list, tuple))
        raise (make_error("invalid_argument", told) if of_that_type else wrong_type(told)) from None
    if torch.is_grad_enabled() and _wants_gradient(value):  # no list holds itself here
        raise make_error(
            "invalid_argument", "%s requires a gradient, but none flows through the inputs of this "
            "call; pass .detach(), or call it inside torch.no_grad()" % name)
    return made


def to_tensors(values: Arrays, name: str) -> list[torch.Tensor]:
    """One tensor per datum. Raises InvalidArgument, which names argument and index."""
    if isinstance(values, torch.Tensor):
        if values.dim() < 2:
            raise make_error(
                "invalid_argument", "%s is a tensor of %d dimensions, expected a list with one "
                "tensor per datum; for a single datum write [tensor]" % (name, values.dim()))
        return list(values.unbind(0))
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        raise wrong_type("%s is a %s, expected a list with one tensor, array or list of numbers per "
                         "datum" % (name, type(values).__name__))
    if isinstance(values, (list, tuple)) and values and all(isinstance(v, Number) for v in values):
        raise wrong_type("%s is a list of numbers, expected a list with one tensor, array or list of "
                         "numbers per datum; for a single datum write [[...]]" % name)
    return [to_tensor(value, "%s[%d]" % (name, i)) for i, value in enumerate(values)]


def to_inputs(inputs: Mapping[str, Arrays]) -> dict[str, list[torch.Tensor]]:
    """The loss inputs of a batch."""
    return _converted(inputs, to_tensors, "[...]")


def to_ragged_inputs(inputs: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    """The loss inputs of sequences that lie one after another."""
    return _converted(inputs, to_tensor, "tensor")


def _converted(inputs: Mapping[str, V], convert: Callable[[V, str], T], example: str
               ) -> dict[str, T]:
    """``inputs``, each by ``convert(value, name)``; ``example`` is what one of them may be."""
    check_dictionary(inputs, "loss_fn_inputs", "{'target_tokens': %s}" % example)
    return {to_text(name, "a name in loss_fn_inputs"): convert(value, "loss_fn_inputs[%r]" % name)
            for name, value in inputs.items()}


def to_config(config: Mapping[str, float] | None) -> dict[str, float] | None:
    """The settings of a loss."""
    if config is None:
        return None
    check_dictionary(config, "loss_fn_config", "{'clip_low_threshold': 0.8}")
    return {to_text(name, "a name in loss_fn_config"): to_float(value, "loss_fn_config[%r]" % name)
            for name, value in config.items()}
