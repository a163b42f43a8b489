"""A small remote model of the installed package on the embedded backend, for the tests of its parts."""

import unittest

import torch

import tinkex_torch
from tinkex_torch import InvalidArgument, RemoteAdamW

MODEL = "tinkex/nano"
TEXTS = ["to be or not to be", "that is the question", "whether"]


def lists():
    tokens = [tinkex_torch.encode_text(text) for text in TEXTS]
    return [t[:-1] for t in tokens], [t[1:] for t in tokens]


def padded():
    tokens, targets = lists()
    pad = torch.nn.utils.rnn.pad_sequence
    return (pad(tokens, batch_first=True), pad(targets, batch_first=True, padding_value=-100))


def total(logprobs):
    return torch.cat([each.flatten() for each in logprobs]).sum()


class ServiceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = tinkex_torch.connect()
        cls.addClassCleanup(cls.service.close)

    def model(self, **settings):
        return self.service.create_remote_model(MODEL, 4, seed=7, **settings)

    def prepared(self, **settings):
        model = self.model()
        return model, RemoteAdamW(model, **settings), *lists()

    def scores(self, model):
        with torch.no_grad():
            return torch.cat(model(*lists()))

    def expect_trained_alike(self, one, other):
        torch.testing.assert_close(self.scores(one), self.scores(other), rtol=0, atol=1e-4)
        self.assertGreater((self.scores(one) - self.scores(self.model())).abs().max(), 0.3)

    def directly(self):
        """A model that three calls of its client's have trained, with the defaults of AdamW here."""
        model = self.model()
        tokens, targets = lists()
        for _ in range(3):
            model.client.forward_backward(tokens, {"target_tokens": targets})
            model.client.optim_step(1e-2, beta2=0.999, eps=1e-8, weight_decay=1e-2)
        return model

    def refused(self, told, call, *arguments, kind=InvalidArgument, **settings):
        with self.assertRaisesRegex(kind, told) as caught:
            call(*arguments, **settings)
        self.assertTrue(str(caught.exception).startswith("tinkex: ["), caught.exception)
        return caught.exception
