"""Scripts a module that trains and samples, saves it, and prints what it gives here.

usage: script_module.py {TrainAndSample,TrainByLoss} MODULE.pt
"""

import os
import sys
from typing import Dict, List, Tuple

import torch

torch.ops.load_library(os.environ["TINKEX_TORCH_LIBRARY"])


class TrainAndSample(torch.nn.Module):
    """Trains a new model on one text for some steps, then continues the text's beginning."""

    def forward(self, text: str, steps: int) -> Tuple[torch.Tensor, torch.Tensor]:
        service = torch.ops.tinkex.connect("", "", "")
        model = torch.ops.tinkex.supported_models(service)[0]
        client = torch.ops.tinkex.create_lora_training_client(service, model, 8, 7)
        tokens = torch.ops.tinkex.encode_text(text)
        prompts: List[torch.Tensor] = [tokens[:-1]]
        inputs: Dict[str, List[torch.Tensor]] = {
            "target_tokens": [tokens[1:]],
            "weights": [torch.ones(tokens.numel() - 1)],
        }
        losses: List[torch.Tensor] = []
        for _ in range(steps):
            outputs, metrics = torch.ops.tinkex.forward_backward(client, prompts, inputs)
            losses.append(metrics["loss:sum"])
            # The result is not used; TorchScript must call the op all the same.
            torch.ops.tinkex.optim_step(client, 1e-2)
        sampler = torch.ops.tinkex.save_weights_and_get_sampling_client(client)
        # Two calls at a time: a future of TorchScript's, and a handle.
        scores = torch.ops.tinkex.compute_logprobs_future(sampler, tokens)
        pending = torch.ops.tinkex.sample_async(sampler, tokens[:4], 1, 8, 3, 0.0)
        samples, logprobs, reasons = pending.wait()
        assert torch.jit.wait(scores).numel() == tokens.numel()
        service.close()
        return torch.stack(losses), samples[0]


class TrainByLoss(torch.nn.Module):
    """The same by a loss of its own: the module's parameter, the anchor, stands for the model."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, text: str, steps: int) -> Tuple[torch.Tensor, torch.Tensor]:
        service = torch.ops.tinkex.connect("", "", "")
        client = torch.ops.tinkex.create_lora_training_client(service, "tinkex/nano", 4, 7)
        tokens = torch.ops.tinkex.encode_text(text)
        losses: List[torch.Tensor] = []
        for _ in range(steps):
            logprobs = torch.ops.tinkex.logprobs_list(client, self.anchor, [tokens[:-1]],
                                                      [tokens[1:]])
            loss = logprobs[0].mean().square()
            loss.backward()
            torch.ops.tinkex.step(client, self.anchor, 1e-2)
            losses.append(loss.detach())
        sampler = torch.ops.tinkex.save_weights_and_get_sampling_client(client)
        samples, logprobs, reasons = torch.ops.tinkex.sample(sampler, tokens[:4], 1, 8, 3, 0.0)
        service.close()
        return torch.stack(losses), samples[0]


def main() -> None:
    module = torch.jit.script({"TrainAndSample": TrainAndSample, "TrainByLoss": TrainByLoss}[
        sys.argv[1]]())
    module.save(sys.argv[2])
    losses, sample = module("the quick brown fox", 4)
    for loss in losses.tolist():
        print("loss %.9g" % loss)
    print("sample " + " ".join(str(token) for token in sample.tolist()))


if __name__ == "__main__":
    main()
