"""What PyTorch keeps for each thread, for a call that runs on another thread than its caller's."""

from __future__ import annotations

import contextlib
from typing import Callable, Iterator

import torch


class ThreadState:
    """That of the thread that makes this; ``entered`` makes it that of another one.

    Autograd's modes, as a graph may be made there and an input that requires a gradient is refused
    while gradients are on; CUDA's streams, as a tensor must not be read before the kernels that were
    put on its caller's stream have written it.
    """

    def __init__(self) -> None:
        self._gradients = torch.is_grad_enabled()
        self._inference = torch.is_inference_mode_enabled()
        self._enter_streams = _streams_of_this_thread()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """For a thread that ends with it: the streams stay."""
        self._enter_streams()
        with torch.inference_mode(self._inference), torch.set_grad_enabled(self._gradients):
            yield


def _streams_of_this_thread() -> Callable[[], None]:
    """Puts another thread on the streams and the device that are current here.

    Default streams are current there anyway; choosing one would make a context on a device that
    nobody has used yet.
    """
    cuda = torch.cuda
    if not cuda.is_initialized():
        return lambda: None
    here = cuda.current_device()
    chosen = [stream for stream in map(cuda.current_stream, range(cuda.device_count()))
              if stream != cuda.default_stream(stream.device)]

    def enter() -> None:
        for stream in chosen:
            cuda.set_stream(stream)
        cuda.set_device(here)  # set_stream changes it, too

    return enter
