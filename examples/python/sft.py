#!/usr/bin/env python3
"""Teaches a model some answers, and shows what it says before and after.

    python3 examples/python/sft.py --steps 60

Trains in this process, unless TINKER_BASE_URL or TINKER_API_KEY names a server. Text is sent as
bytes, so the model must be one of bytes, as the built-in ones are.
"""

import argparse
import sys
import time

import torch

import tinkex_torch

ANSWERS = {
    "The capital of Peru is": " Lima.",
    "The capital of Kenya is": " Nairobi.",
    "The capital of Norway is": " Oslo.",
    "The capital of Japan is": " Tokyo.",
    "Seven times six is": " forty-two.",
    "The opposite of up is": " down.",
    "Water freezes at": " zero degrees.",
    "A spider's legs number": " eight.",
}


def make_batch():
    """Tokens and loss inputs: only the answers count."""
    tokens, targets, weights = [], [], []
    for question, answer in ANSWERS.items():
        text = tinkex_torch.encode_text(question + answer)
        tokens.append(text[:-1])
        targets.append(text[1:])
        weights.append(torch.arange(1, len(text)) >= len(question))
    return tokens, {"target_tokens": targets, "weights": weights}


def ask(model):
    """What the model says to each question; all are sampled at the same time."""
    sampler = model.save_weights_and_get_sampling_client()
    handles = [sampler.sample_async(tinkex_torch.encode_text(question), max_tokens=16, stop=".",
                                    temperature=0) for question in ANSWERS]
    return [tinkex_torch.decode_text(handle.wait().tokens[0]) for handle in handles]


def train(model, steps, learning_rate):
    """Each step is sent while the one before it is under way; returns the loss of each."""
    tokens, inputs = make_batch()
    counted = sum(weights.sum() for weights in inputs["weights"])
    losses, under_way, begin = [], [], time.monotonic()
    for step in range(steps + 1):
        if step < steps:
            under_way.append((model.forward_backward_async(tokens, inputs),
                              model.optim_step_async(learning_rate)))
        if step > 0:
            gradient, update = under_way.pop(0)
            losses.append((gradient.wait().metrics["loss:sum"] / counted).item())
            update.wait()  # what is wrong with it would be lost otherwise
            show_progress(step, steps, losses[-1], time.monotonic() - begin)
    return losses


def show_progress(step, steps, loss, seconds):
    """One line that changes on a terminal; ten lines elsewhere."""
    if sys.stdout.isatty():
        bar = ("#" * (30 * step // steps)).ljust(30, ".")
        end = "\n" if step == steps else ""
        print("\r%s step %d/%d  loss %.4f  %.0f s" % (bar, step, steps, loss, seconds), end=end)
    elif step % max(1, steps // 10) == 0:
        print("step %d/%d  loss %.4f  %.0f s" % (step, steps, loss, seconds), flush=True)


def count(text):
    """A number of things, of which there is at least one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("%s is less than 1" % text)
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--base-model", default="tinkex/tiny", help="a model of bytes")
    parser.add_argument("--steps", type=count, default=60, help="how often to train")
    parser.add_argument("--learning-rate", type=float, default=4e-3, help="of AdamW")
    options = parser.parse_args()

    with tinkex_torch.connect() as service:
        print("Backend: %s" % service.description)
        model = service.create_lora_training_client(options.base_model, rank=16, seed=1)
        before = ask(model)
        train(model, options.steps, options.learning_rate)
        after = ask(model)
    right = sum(said == answer for said, answer in zip(after, ANSWERS.values()))
    for question, first, last in zip(ANSWERS, before, after):
        print("%s\n    before: %r\n    after:  %r" % (question, first, last))
    print("%d of %d answers right" % (right, len(ANSWERS)))


if __name__ == "__main__":
    try:
        main()
    except tinkex_torch.Error as error:
        sys.exit(str(error))
