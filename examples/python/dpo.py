#!/usr/bin/env python3
"""Direct preference optimization: a loss of your own, of a remote model and what it was before.

    python3 examples/python/dpo.py --steps 20

Trains in this process, unless TINKER_BASE_URL or TINKER_API_KEY names a server. Text is sent as
bytes, so the model must be one of bytes, as the built-in ones are.
"""

import argparse
import sys
import time

import torch

import tinkex_torch

# A prompt, the answer that is preferred, and the one that is not.
PREFERENCES = [
    ("The sky is ", "blue.", "green."),
    ("Snow is ", "white.", "orange."),
    ("Grass is ", "green.", "purple."),
    ("Fire is ", "hot.", "cold."),
    ("Two and two are ", "four.", "six."),
    ("A day has ", "24 hours.", "9 hours."),
]


def make_batch(answers):
    """Tokens and targets; those of the prompts do not count."""
    tokens, targets = [], []
    for (prompt, *_), answer in zip(PREFERENCES, answers):
        text = tinkex_torch.encode_text(prompt + answer)
        wanted = text[1:].clone()
        wanted[: len(prompt) - 1] = -100
        tokens.append(text[:-1])
        targets.append(wanted)
    return tokens, targets


def score(model, batch):
    """The log-probability of each answer."""
    return torch.stack([logprobs.sum() for logprobs in model(*batch)])


def train(model, steps, learning_rate, beta=0.1):
    """The margins after the last step: how much more each preference is preferred than before."""
    chosen = make_batch([preference[1] for preference in PREFERENCES])
    rejected = make_batch([preference[2] for preference in PREFERENCES])
    optimizer = tinkex_torch.RemoteAdamW(model, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with torch.no_grad():
        reference = score(model, chosen) - score(model, rejected)
    begin = time.monotonic()
    for step in range(1, steps + 1):
        margins = score(model, chosen) - score(model, rejected) - reference
        loss = -torch.nn.functional.logsigmoid(beta * margins).mean()
        optimizer.zero_grad()
        loss.backward()  # both forward passes train by one request
        optimizer.step()
        schedule.step()
        show_progress(step, steps, loss.item(), margins.mean().item(), time.monotonic() - begin)
    with torch.no_grad():
        return score(model, chosen) - score(model, rejected) - reference


def show_progress(step, steps, loss, margin, seconds):
    """One line that changes on a terminal; ten lines elsewhere."""
    told = "step %d/%d  loss %.4f  margin %.2f  %.0f s" % (step, steps, loss, margin, seconds)
    if sys.stdout.isatty():
        bar = ("#" * (30 * step // steps)).ljust(30, ".")
        print("\r%s %s" % (bar, told), end="\n" if step == steps else "")
    elif step % max(1, steps // 10) == 0:
        print(told, flush=True)


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
    parser.add_argument("--steps", type=count, default=20, help="how often to train")
    parser.add_argument("--learning-rate", type=float, default=4e-3, help="of AdamW")
    options = parser.parse_args()

    with tinkex_torch.connect() as service:
        print("Backend: %s" % service.description)
        model = service.create_remote_model(options.base_model, rank=8, seed=1)
        margins = train(model, options.steps, options.learning_rate).tolist()
    for (prompt, chosen, rejected), margin in zip(PREFERENCES, margins):
        print("%s%s or %s  margin %+.2f" % (prompt, chosen, rejected, margin))
    print("%d of %d chosen answers are preferred more than before"
          % (sum(margin > 0 for margin in margins), len(margins)))


if __name__ == "__main__":
    try:
        main()
    except tinkex_torch.Error as error:
        sys.exit(str(error))
