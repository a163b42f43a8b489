"""tinkex from Python: train and sample a model that a server holds, or this process.

A thin layer over the registered ops (``torch.ops.tinkex``) and classes (``torch.classes.tinkex``)::

    import tinkex_torch

    with tinkex_torch.connect() as service:
        model = service.create_lora_training_client("tinkex/tiny", rank=8)
        tokens = tinkex_torch.encode_text("to be or not to be")
        result = model.forward_backward([tokens[:-1]], {"target_tokens": [tokens[1:]]})
        model.optim_step(learning_rate=4e-3)

``RemoteModel`` is a ``torch.nn.Module`` that any loss of PyTorch's trains, by ``RemoteAdamW``.

Importing it loads the ops, so scripted modules that call them can be loaded afterwards. A call waits
without the interpreter's lock, and Ctrl-C ends the wait. A call with ``_async`` returns a ``Handle``
at once. Errors are ``tinkex_torch.Error``.
"""

from __future__ import annotations

from ._native import BUILD, load as _load

_load()

from ._errors import (  # noqa: E402  (the ops come first)
    Cancelled,
    Closed,
    ConnectionFailed,
    Error,
    FileFailed,
    InvalidArgument,
    TimedOut,
    WrongType,
    parse_error,
    translate_errors,
)
from ._handle import Handle  # noqa: E402
from ._remote_adamw import RemoteAdamW  # noqa: E402
from ._remote_model import RemoteModel  # noqa: E402
from ._ragged import from_lists, offsets_of, to_lists, unpad  # noqa: E402
from ._results import (  # noqa: E402
    BatchResult,
    LossResult,
    Metrics,
    ModelInfo,
    Ragged,
    RaggedResult,
    RaggedSamples,
    SampleResult,
)
from ._sampling import SamplingClient  # noqa: E402
from ._service import Service, connect, connect_embedded  # noqa: E402
from ._text import decode_text, encode_text  # noqa: E402
from ._traceable import TraceableClient  # noqa: E402
from ._tracing import register as _register  # noqa: E402
from ._training import TrainingClient  # noqa: E402

_register()

__version__: str = BUILD.version

__all__ = [
    "BatchResult",
    "Cancelled",
    "Closed",
    "ConnectionFailed",
    "Error",
    "FileFailed",
    "Handle",
    "InvalidArgument",
    "LossResult",
    "Metrics",
    "ModelInfo",
    "Ragged",
    "RaggedResult",
    "RaggedSamples",
    "RemoteAdamW",
    "RemoteModel",
    "SampleResult",
    "SamplingClient",
    "Service",
    "TimedOut",
    "TraceableClient",
    "TrainingClient",
    "WrongType",
    "__version__",
    "connect",
    "connect_embedded",
    "decode_text",
    "encode_text",
    "from_lists",
    "offsets_of",
    "parse_error",
    "to_lists",
    "translate_errors",
    "unpad",
]

# Shown as what they are imported as, not as the file that they are in.
for _name in __all__:
    if hasattr(globals()[_name], "__qualname__"):  # Metrics is an alias, and no class of ours
        globals()[_name].__module__ = __name__
