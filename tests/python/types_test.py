"""What tinkex_torch says of values of another type, and of those that do not fit."""

import types
import unittest

import tinkex_torch

MODEL = "tinkex/tiny"


class TypesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = tinkex_torch.connect()
        cls.addClassCleanup(cls.service.close)
        cls.client = cls.service.create_lora_training_client(MODEL, 4, seed=1)
        cls.tokens = [tinkex_torch.encode_text("hell")]
        cls.inputs = {"target_tokens": [tinkex_torch.encode_text("ello")]}

    def wrong(self, told, call):
        told = r"^tinkex: \[invalid_argument\] .*" + told
        with self.assertRaisesRegex(TypeError, told) as caught:
            call()
        self.assertIsInstance(caught.exception, tinkex_torch.InvalidArgument)
        self.assertEqual(repr(type(caught.exception)), "<class 'tinkex_torch.WrongType'>")

    def test_a_service_names_values_of_another_type(self):
        service = self.service
        self.wrong("Expected a value of type 'int' for argument 'rank'",
                   lambda: service.create_lora_training_client(MODEL, "eight"))
        self.wrong("base_model is a int, expected a str", lambda: service.create_sampling_client(3))
        self.wrong("data_dir is a int, expected a str or a path",
                   lambda: tinkex_torch.connect_embedded(3))
        self.wrong("data_dir is a float, expected a str or a path",
                   lambda: tinkex_torch.connect(data_dir=0.5))
        for paths, told in (("a.gguf", "base_models is a str, expected a list of paths"),
                            ([3], r"base_models\[0\] is a int, expected a str or a path")):
            for connect in (tinkex_torch.connect, tinkex_torch.connect_embedded):
                self.wrong(told, lambda: connect(base_models=paths))
        self.wrong("text is a bytes, expected a str", lambda: tinkex_torch.encode_text(b"bytes"))

    def test_training_names_values_of_another_type(self):
        client, tokens, inputs, wrong = self.client, self.tokens, self.inputs, self.wrong
        wrong("name is a int, expected a str", lambda: client.save_state(7))
        wrong("tokens is a str, expected a list", lambda: client.forward("text", inputs))
        wrong("tokens is a int, expected a list", lambda: client.forward(3, inputs))
        wrong(r"tokens\[0\] is a object that does not", lambda: client.forward([object()], inputs))
        like_pandas = types.SimpleNamespace(flags=object())
        wrong(r"tokens\[0\] is a SimpleNamespace", lambda: client.forward([like_pandas], inputs))
        wrong("loss_fn_inputs is a list, expected a dictionary",
              lambda: client.forward(tokens, [tokens]))
        wrong("a name in loss_fn_inputs is a int", lambda: client.forward(tokens, {3: tokens}))
        wrong("loss_fn_config is a list, expected a dictionary",
              lambda: client.forward(tokens, inputs, "ppo", ["x"]))
        wrong(r"loss_fn_config\['x'\] is 'y'",
              lambda: client.forward(tokens, inputs, "ppo", {"x": "y"}))
        wrong("learning_rate is '1e-4', expected a number", lambda: client.optim_step("1e-4"))
        wrong("timeout is '5', expected a number",
              lambda: client.forward_async(tokens, inputs).wait("5"))

    def test_sampling_names_values_of_another_type(self):
        sample, prompt = self.client.save_weights_and_get_sampling_client().sample, self.tokens[0]
        self.wrong("prompt is a str that does not become", lambda: sample("text"))
        self.wrong("stop is a int, expected a str or a list", lambda: sample(prompt, stop=3))
        self.wrong(r"stop\[1\] is a int, expected a str", lambda: sample(prompt, stop=["a", 3]))
        self.wrong("stop_tokens is a int, expected a list", lambda: sample(prompt, stop_tokens=3))

    def test_models_name_values_of_another_type(self):
        tokens, inputs, wrong = self.tokens, self.inputs, self.wrong
        model = tinkex_torch.RemoteModel(self.client)
        traceable = tinkex_torch.TraceableClient(self.client)
        wrong("client is a int, expected a TrainingClient; ", lambda: tinkex_torch.RemoteModel(3))
        wrong("client is a int, expected a TrainingClient$",
              lambda: tinkex_torch.TraceableClient(3))
        wrong(r"tokens\[0\] is a list, expected a tensor",
              lambda: traceable.forward([[1, 2]], inputs))
        wrong("tokens is a float, expected a list of tensors",
              lambda: traceable.forward(0.5, inputs))
        wrong("loss_fn_inputs is a tuple, expected a dictionary",
              lambda: traceable.forward(tokens, (tokens,)))
        wrong("loss_fn_config is a tuple, expected a dictionary",
              lambda: traceable.forward(tokens, inputs, "ppo", ("x",)))
        wrong("tokens is a list and targets is a Tensor", lambda: model(tokens, tokens[0]))
        wrong("model is a int, expected a RemoteModel", lambda: tinkex_torch.RemoteAdamW(3))
        wrong("betas is 3, expected two numbers", lambda: tinkex_torch.RemoteAdamW(model, betas=3))

    def test_a_value_that_does_not_fit_is_no_type_error(self):
        client, tokens, inputs = self.client, self.tokens, self.inputs
        for call in (lambda: client.optim_step(1 << 2000),
                     lambda: client.optim_step(1 << 20000), lambda: client.optim_step(-1.0),
                     lambda: client.forward([[[1], [2, 3]]], inputs),
                     lambda: client.forward(tokens[0], inputs)):
            with self.assertRaises(tinkex_torch.InvalidArgument) as caught:
                call()
            self.assertNotIsInstance(caught.exception, TypeError)


if __name__ == "__main__":
    unittest.main()
