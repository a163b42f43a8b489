#!/usr/bin/env python3
"""transformers and PEFT in //tests/bench:model, which starts this and talks to it.

Answers as ModelWorker of model_worker.h: for each word on standard input a line of JSON.
"""

import argparse
import json
import os
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

PROMPT = 16


def load(path):
    if os.path.isdir(path):
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    folder, name = os.path.split(os.path.abspath(path))
    return AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)


def tokens_of(row, count, vocab):
    return [3 + (row * 7919 + i * 104729) % (vocab - 3) for i in range(count)]


class Worker:
    def __init__(self, options):
        self.options = options
        base = load(options.model)
        self.vocab = base.config.vocab_size
        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]
        self.model = get_peft_model(base, LoraConfig(r=options.rank, lora_alpha=32, target_modules=targets))
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.95))
        self.batch = torch.tensor([tokens_of(row, options.length + 1, self.vocab)
                                   for row in range(options.sequences)])

    def train(self):
        begin = time.monotonic()
        logits = self.model(input_ids=self.batch[:, :-1], use_cache=False).logits
        targets = self.batch[:, 1:].reshape(-1)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets, reduction="sum")
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.monotonic() - begin

    def sample(self, tokens):
        prompt = torch.tensor([tokens_of(0, PROMPT, self.vocab)])
        begin = time.monotonic()
        with torch.inference_mode():
            self.model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), do_sample=False,
                                min_new_tokens=tokens, max_new_tokens=tokens, pad_token_id=0)
        return time.monotonic() - begin

    def decode(self):
        first = self.sample(1)
        return (self.sample(1 + self.options.decoded) - first) / self.options.decoded


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    for name in ["sequences", "length", "decoded", "rank"]:
        parser.add_argument("--" + name, type=int, required=True)
    worker = Worker(parser.parse_args())
    print('"ready"', flush=True)
    for line in sys.stdin:
        print(json.dumps({"train": worker.train, "decode": worker.decode}[line.strip()]()), flush=True)


if __name__ == "__main__":
    main()
