"""The optimizer of a remote model."""

from __future__ import annotations

import math
from typing import Any, Callable, NoReturn

import torch

from ._arguments import to_float
from ._errors import Error, make_error, wrong_type
from ._remote_model import RemoteModel
from ._results import Metrics


class RemoteAdamW(torch.optim.Optimizer):
    """AdamW on the server of a ``RemoteModel``.

    A step sends exactly what the one parameter group holds then, so schedulers of
    ``torch.optim.lr_scheduler`` work. A model has one optimizer; its moments are on the server.

    The defaults are those of ``torch.optim.AdamW``: lr 1e-3, beta2 0.999, eps 1e-8, weight_decay 0.01.
    Those of ``TrainingClient.optim_step``, the API's own, are 1e-4, 0.95, 1e-12 and 0.

    ``step`` clears the gradient on the server. ``zero_grad`` before ``backward`` is harmless; between
    ``backward`` and ``step`` it makes ``step`` raise InvalidArgument, as the server cannot discard a
    gradient.
    """

    metrics: Metrics
    """Of the last ``step``; empty if it had no gradient to apply.

    Of a pipelined model always empty, also after ``synchronize``: no step is waited for. The op
    ``torch.ops.tinkex.step(model.client.native, model.anchor, lr, ...)`` waits, and gives them.
    """

    def __init__(
        self,
        model: RemoteModel,
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        grad_clip_norm: float = 0.0,
    ) -> None:
        """``grad_clip_norm``: the L2 norm that the whole gradient is scaled down to; 0 clips nothing."""
        if not isinstance(model, RemoteModel):
            raise wrong_type(
                "model is a %s, expected a RemoteModel: write RemoteAdamW(model), not "
                "model.parameters(), and give the parameters of local modules to an optimizer of "
                "PyTorch's" % type(model).__name__)
        defaults = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                        grad_clip_norm=grad_clip_norm)
        _check(defaults)
        self.metrics = {}
        self._model = model
        super().__init__([model.anchor], defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Applies what ``backward`` has left on the server, and clears it; gives the closure's loss.

        Without a gradient it does nothing, as PyTorch's optimizers. Waits, unless the model is
        pipelined. After Ctrl-C a step goes on that had begun, not one that waited for an earlier call.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        group = self.param_groups[0]
        beta1, beta2 = group["betas"]
        settings = dict(lr=group["lr"], beta1=beta1, beta2=beta2, eps=group["eps"],
                        weight_decay=group["weight_decay"], grad_clip_norm=group["grad_clip_norm"])
        self.metrics = self._model._call(
            torch.ops.tinkex.step, *(to_float(value, name) for name, value in settings.items()),
            self._model.pipelined)
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused after the first, which is the model's."""
        if self.param_groups:
            raise make_error(
                "invalid_argument", "RemoteAdamW has one group of parameters, that of its model; give "
                "local parameters to an optimizer of PyTorch's")
        super().add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """The settings alone, as schedulers left them. ``client.save_state`` saves the moments."""
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The settings of ``state_dict``. Refuses moments: ``client.load_state`` loads them."""
        if state_dict.get("state"):
            raise _on_the_server("state_dict has moments of a local optimizer")
        if "param_groups" not in state_dict:
            raise make_error("invalid_argument", "state_dict lacks 'param_groups', expected what "
                             "RemoteAdamW.state_dict() gives")
        for i, group in enumerate(state_dict["param_groups"]):
            missing = [name for name in self.defaults if name not in group]
            if missing:
                raise make_error(
                    "invalid_argument", "state_dict['param_groups'][%d] lacks %s, expected what "
                    "RemoteAdamW.state_dict() gives" % (i, ", ".join(missing)))
        super().load_state_dict(state_dict)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise _on_the_server("pickling or copying a RemoteAdamW")


def _check(settings: dict[str, Any]) -> None:
    """Raises InvalidArgument, as PyTorch's optimizers raise ValueError."""
    try:
        beta1, beta2 = (to_float(beta, "betas") for beta in settings["betas"])
    except (TypeError, ValueError) as problem:
        told = "betas is %r, expected two numbers such as (0.9, 0.999)" % (settings["betas"],)
        raise (wrong_type(told) if isinstance(problem, TypeError) else
               make_error("invalid_argument", told)) from None
    numbers = {name: to_float(value, name) for name, value in settings.items() if name != "betas"}
    for name, value in numbers.items():
        fits = value > 0 if name == "eps" else value >= 0
        if not fits or math.isinf(value):
            raise make_error("invalid_argument", "%s is %g, expected a finite number %s"
                             % (name, value, "above 0" if name == "eps" else "of at least 0"))
    for i, value in enumerate((beta1, beta2)):
        if not 0 <= value < 1:
            raise make_error("invalid_argument", "betas[%d] is %g, expected a number of at least 0 and "
                             "below 1" % (i, value))


def _on_the_server(what: str) -> Error:
    return make_error(
        "invalid_argument", "%s: the state of RemoteAdamW is on the model's server. "
        "model.client.save_state(name) saves it there with the weights, and "
        "model.client.load_state(path) loads it" % what)
