#!/usr/bin/env python3
"""Compares the engine with Hugging Face transformers, PEFT and torch.optim.AdamW on a whole model.

    ./bazelw build //tests/torch_ext/local:engine_dump
    python3 tests/torch_ext/local/compare_transformers.py bazel-bin/tests/torch_ext/local/engine_dump MODEL [bfloat16]

MODEL is a folder of Hugging Face's or a GGUF file; this Python has torch, transformers, peft and, for
GGUF, gguf. The engine trains three steps, saves the adapter, scores a text, samples, and trains ten
steps from what it saved. Here PEFT loads the saved adapter into the model in float64 and does the same.
Prints what differs by how much; exits with 1 beyond the limits. No network is used.
"""

import json
import os
import subprocess
import sys
import tempfile

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

ADAM = {"lr": 3e-4, "betas": (0.9, 0.95), "eps": 1e-3, "weight_decay": 0.1}  # as engine_dump.cc
LIMITS = {"log-probabilities of the text": 1e-4, "log-probabilities of the sample": 1e-4,
          "sampler and trainer": 1e-4, "losses of ten steps, relative": 1e-4,
          "adapter after ten steps, relative": 1e-3}


def load_model(path):
    if os.path.isdir(path):
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64)
    folder, name = os.path.split(os.path.abspath(path))
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    return model.double()


def scores(model, tokens):
    logits = model(input_ids=tokens[None, :-1]).logits[0]
    return torch.log_softmax(logits.double(), -1).gather(1, tokens[1:, None])[:, 0]


def largest(a, b):
    return (torch.as_tensor(a, dtype=torch.float64) - torch.as_tensor(b, dtype=torch.float64)).abs().max().item()


def train(model, tokens):
    parameters = {n.replace(".default", ""): p for n, p in model.named_parameters() if "lora_" in n}
    for parameter in parameters.values():
        parameter.data = parameter.data.double()
    optimizer = torch.optim.AdamW(parameters.values(), **ADAM)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = -scores(model, tokens).sum()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return losses, {name: p.detach() for name, p in parameters.items()}


def round_matrices(model):
    """To what --dtype bfloat16 keeps of them."""
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.data = parameter.data.bfloat16().double()
    return model


def compare(out, model_path, dtype):
    with open(os.path.join(out, "result.json"), encoding="utf-8") as file:
        ours = json.load(file)
    base = load_model(model_path)
    if dtype == "bfloat16":
        base = round_matrices(base)
    model = PeftModel.from_pretrained(base, os.path.join(out, "start"), is_trainable=True)
    model.eval()
    tokens = torch.tensor(ours["tokens"])
    sample = ours["sample"]
    with torch.no_grad():
        text = scores(model, tokens)
        said = scores(model, torch.tensor(sample["prompt"] + sample["tokens"]))[len(sample["prompt"]) - 1:]
    found = {"log-probabilities of the text": largest(text, ours["logprobs"]),
             "log-probabilities of the sample": largest(said, sample["logprobs"]),
             "sampler and trainer": largest(sample["logprobs"], ours["rescored"])}
    losses, adapter = train(model, tokens)
    found["losses of ten steps, relative"] = max(abs(a / b - 1) for a, b in zip(ours["losses"], losses))
    start = load_file(os.path.join(out, "start", "adapter_model.safetensors"))
    trained = load_file(os.path.join(out, "trained", "adapter_model.safetensors"))
    assert sorted(trained) == sorted(adapter), set(trained) ^ set(adapter)
    moved = {name: (adapter[name] - start[name].double()).norm() for name in trained}
    worst = max(trained, key=lambda name: (adapter[name] - trained[name].double()).norm() / moved[name])
    found["adapter after ten steps, relative"] = (
        (adapter[worst] - trained[worst].double()).norm() / moved[worst]).item()
    print("losses %.4f -> %.4f, of the engine %.4f -> %.4f" % (
        losses[0], losses[-1], ours["losses"][0], ours["losses"][-1]))
    return found


def main():
    dump, model = sys.argv[1:3]
    dtype = sys.argv[3] if len(sys.argv) > 3 else "float32"
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([dump, model, out, dtype], check=True)
        found = compare(out, model, dtype)
    for name, value in found.items():
        print("%-36s %.2e (limit %.0e)%s" % (name, value, LIMITS[name], "" if value <= LIMITS[name] else "  TOO MUCH"))
    return 0 if all(found[name] <= limit for name, limit in LIMITS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
