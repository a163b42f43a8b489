"""Several prompts and sequences of different lengths, as lists, as values with offsets, and padded."""

import os
import unittest

import torch

torch.ops.load_library(os.environ["TINKEX_TORCH_LIBRARY"])
ops = torch.ops.tinkex

TEXTS = ["hello world", "bye", "a third text"]


def batch():
    """Tokens and loss inputs of TEXTS as lists."""
    ids = [ops.encode_text(text) for text in TEXTS]
    inputs = {
        "target_tokens": [t[1:] for t in ids],
        "weights": [torch.linspace(0.5, 1, t.numel() - 1) for t in ids],
    }
    return [t[:-1] for t in ids], inputs


def ragged_batch():
    """The same as values, offsets, and inputs."""
    tokens, inputs = batch()
    values, offsets = ops.from_lists(tokens)
    return values, offsets, {name: torch.cat(list_) for name, list_ in inputs.items()}


class FormsTest(unittest.TestCase):
    def test_lists_become_values_with_offsets_and_come_back(self):
        tensors = [torch.rand(2, 3), torch.rand(0, 3), torch.rand(1, 3)]
        values, offsets = ops.from_lists(tensors)
        self.assertEqual(offsets.tolist(), [0, 2, 2, 3])
        self.assertEqual(values.shape, (3, 3))
        for back, tensor in zip(ops.to_lists(values, offsets), tensors):
            self.assertTrue(torch.equal(back, tensor))

    def test_to_lists_and_unpad_copy_nothing(self):
        values = torch.arange(6.0)
        parts = ops.to_lists(values, torch.tensor([0, 2, 6]))
        parts[1][0] = 9
        self.assertEqual(values[2], 9)
        padded = torch.arange(6).view(2, 3)
        rows = ops.unpad(padded, torch.tensor([3, 1], dtype=torch.int32))
        self.assertEqual([row.tolist() for row in rows], [[0, 1, 2], [3]])
        self.assertEqual(rows[1].data_ptr(), padded[1].data_ptr())

    def test_gradients_flow_through_all_forms(self):
        leaf = torch.rand(5, requires_grad=True)
        parts = ops.to_lists(leaf, torch.tensor([0, 2, 5]))
        values, _ = ops.from_lists([parts[0] * 2, parts[1]])
        rows = ops.unpad(values.view(1, 5), torch.tensor([4]))
        rows[0].sum().backward()
        self.assertEqual(leaf.grad.tolist(), [2, 2, 1, 1, 0])

    def test_wrong_forms_are_value_errors_that_name_the_element(self):
        values = torch.arange(4)
        bad = {
            r"offsets\[2\] is 1, expected at least 3": (ops.to_lists, values, [0, 3, 1, 4]),
            r"offsets begins with 0 and ends with 3, expected 0 and 4": (ops.to_lists, values, [0, 3]),
            r"lengths\[1\] is 3, expected 0 to 2": (ops.unpad, values.view(2, 2), [1, 3]),
            r"lengths has 1 elements but padded has 2": (ops.unpad, values.view(2, 2), [1]),
            r"padded is undefined or has fewer": (ops.unpad, values, [1]),
        }
        for text, (op, tensor, numbers) in bad.items():
            with self.assertRaisesRegex(ValueError, r"^tinkex: \[invalid_argument\] " + text):
                op(tensor, torch.tensor(numbers))
        with self.assertRaisesRegex(ValueError, "offsets has dtype float32"):
            ops.to_lists(values, torch.tensor([0.0, 4.0]))
        with self.assertRaisesRegex(ValueError, "tensors is empty"):
            ops.from_lists([])
        with self.assertRaisesRegex(ValueError, r"tensors\[1\] is undefined or has no dimensions"):
            ops.from_lists([values, torch.tensor(1)])
        for other, told in ((values.view(2, 2), r"2 dimensions on cpu, and tensors\[0\] 1"),
                            (values.to("meta"), r"1 dimensions on meta, and")):
            with self.assertRaisesRegex(ValueError, r"tensors\[1\] has " + told):
                ops.from_lists([values, other])
        for other, told in ((values.to_sparse(), "the layout Sparse"),
                            (values.view(2, 2).to_sparse_csr(), "the layout SparseCsr"),
                            (torch.nested.nested_tensor([values]), "nested tensor")):
            with self.assertRaisesRegex(ValueError, r"^tinkex: \[invalid_argument\] tensors\[1\] .*" + told):
                ops.from_lists([values, other])
            with self.assertRaisesRegex(ValueError, r"^tinkex: \[invalid_argument\] values .*" + told):
                ops.to_lists(other, torch.tensor([0, 4]))
            with self.assertRaisesRegex(ValueError, r"^tinkex: \[invalid_argument\] padded .*" + told):
                ops.unpad(other, torch.tensor([4]))
        self.assertEqual(ops.from_lists([torch.empty(0), values.view(2, 2)])[1].tolist(), [0, 0, 2])
        freed = torch.ones(1 << 20)
        freed.untyped_storage().resize_(0)
        with self.assertRaisesRegex(ValueError, r"tensors\[1\] needs 4194304 bytes of a storage"):
            ops.from_lists([values, freed])

    def test_decode_refuses_what_is_no_token_id(self):
        for wrong in (-1, 2**31):
            with self.assertRaisesRegex(ValueError, r"tokens\[1\] is %d, expected token ids" % wrong):
                ops.decode_text(torch.tensor([65, wrong]))


class RaggedTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = ops.connect()
        cls.model = ops.supported_models(cls.service)[0]
        cls.sampler = ops.create_sampling_client(cls.service, cls.model)

    @classmethod
    def tearDownClass(cls):
        cls.service.close()

    def client(self, seed=1):
        return ops.create_lora_training_client(self.service, self.model, 8, seed)

    def test_ragged_training_equals_that_of_lists(self):
        as_lists, as_values = self.client(), self.client()
        outputs, metrics = ops.forward_backward(as_lists, *batch())
        values, offsets, ragged_metrics = ops.forward_backward_ragged(as_values, *ragged_batch())
        self.assertTrue(torch.equal(values["logprobs"], torch.cat(outputs["logprobs"])))
        self.assertTrue(torch.equal(offsets["logprobs"], ragged_batch()[1]))
        self.assertEqual(ragged_metrics["loss:sum"], metrics["loss:sum"])
        for client in (as_lists, as_values):
            ops.optim_step(client, 1e-2)
        after = [ops.forward_ragged(client, *ragged_batch())[2]["loss:sum"]
                 for client in (as_lists, as_values)]
        self.assertEqual(after[0], after[1])
        self.assertLess(after[0], metrics["loss:sum"])

    def test_padded_batch_trains_as_rows(self):
        tokens, inputs = batch()
        lengths = torch.tensor([t.numel() for t in tokens])
        pad = torch.nn.utils.rnn.pad_sequence
        rows = {name: ops.unpad(pad(list_, batch_first=True), lengths)
                for name, list_ in dict(inputs, tokens=tokens).items()}
        client = self.client()
        expected = ops.forward(client, tokens, inputs)[1]["loss:sum"]
        self.assertEqual(ops.forward(client, rows.pop("tokens"), rows)[1]["loss:sum"], expected)

    def test_all_three_forms_of_every_ragged_op_agree(self):
        client = self.client()
        prompts = batch()[0]
        calls = [("forward_ragged", (client, *ragged_batch())),
                 ("sample_ragged", (self.sampler, prompts, 2, 4, 7)),
                 ("compute_logprobs_ragged", (self.sampler, prompts))]
        for name, arguments in calls:
            results = [getattr(ops, name)(*arguments),
                       getattr(ops, name + "_async")(*arguments).wait(),
                       getattr(ops, name + "_future")(*arguments).wait()]
            flat = [torch.utils._pytree.tree_leaves(result) for result in results]
            for other in flat[1:]:
                self.assertEqual(len(other), len(flat[0]))
                for a, b in zip(flat[0], other):
                    self.assertTrue(torch.equal(a.nan_to_num(9), b.nan_to_num(9)), name)

    def test_samples_of_several_prompts_are_those_of_each(self):
        prompts = batch()[0]
        result = ops.sample_ragged(self.sampler, prompts, 2, 4, 7)
        sequences = ops.to_lists(result["tokens"], result["offsets"])
        logprobs = ops.to_lists(result["logprobs"], result["offsets"])
        self.assertEqual(len(sequences), 2 * len(prompts))
        self.assertEqual(result["prompt_cache_hit_tokens"].shape, (len(prompts),))
        for p, prompt in enumerate(prompts):
            tokens, scores, reasons = ops.sample(self.sampler, prompt, 2, 4, 7)
            for s in range(2):
                self.assertTrue(torch.equal(sequences[2 * p + s], tokens[s]))
                self.assertTrue(torch.equal(logprobs[2 * p + s], scores[s]))
                self.assertEqual(result["stopped"][2 * p + s], reasons[s] == "stop")
        self.assertNotIn("prompt_logprobs", result)

    def test_prompt_logprobs_and_likeliest_tokens_come_with_samples(self):
        prompts = batch()[0]
        for absurd in (1000, 10**9):
            with self.assertRaisesRegex(Exception, r"topk_prompt_logprobs( is %d|.* got %d)" % (absurd, absurd)):
                ops.sample_ragged(self.sampler, prompts, max_tokens=1, topk_prompt_logprobs=absurd)
        result = ops.sample_ragged(self.sampler, prompts, max_tokens=1, topk_prompt_logprobs=3)
        values, offsets = ops.compute_logprobs_ragged(self.sampler, prompts)
        self.assertTrue(torch.equal(result["prompt_offsets"], offsets))
        self.assertTrue(torch.equal(result["prompt_logprobs"].nan_to_num(9), values.nan_to_num(9)))
        self.assertEqual(result["topk_tokens"].shape, (offsets[-1], 3))
        first = offsets[:-1]
        self.assertTrue((result["topk_tokens"][first] == -1).all())
        self.assertTrue(result["topk_logprobs"][first].isnan().all())
        rest = torch.ones(int(offsets[-1]), dtype=torch.bool).index_fill(0, first, False)
        best = result["topk_logprobs"][rest]
        self.assertTrue((best[:, :-1] >= best[:, 1:]).all())
        self.assertTrue((best[:, 0] >= result["prompt_logprobs"][rest]).all())
        single = ops.compute_logprobs(self.sampler, prompts[1])
        self.assertTrue(torch.equal(ops.to_lists(values, offsets)[1][1:], single[1:]))

    def test_bad_prompt_among_good_ones_is_named_and_nothing_is_sent(self):
        good = ops.encode_text("abc")
        bad = {r"prompts\[1\]: prompt: .* got -2 at position 0": torch.tensor([-2]),
               r"prompts\[1\]: prompt: .* got 4294967296": torch.tensor([2**32]),
               r"prompts\[1\] has dtype float32": torch.ones(2),
               r"prompts\[1\] has 2 dimensions": torch.ones(2, 2, dtype=torch.int64)}
        for text, prompt in bad.items():
            for op in (ops.sample_ragged, ops.sample_ragged_async, ops.compute_logprobs_ragged):
                with self.assertRaisesRegex(ValueError, r"^tinkex: \[invalid_argument\] " + text):
                    op(self.sampler, [good, prompt])
        with self.assertRaisesRegex(ValueError, "prompts is empty"):
            ops.sample_ragged(self.sampler, [])

    # Spec T3.
    def test_tensors_may_be_overwritten_once_a_call_has_returned(self):
        def spoil(tensors):
            for tensor in torch.utils._pytree.tree_leaves(tensors):
                tensor.fill_(1)

        client = self.client()
        expected = ops.forward(client, *batch())[1]["loss:sum"]
        logprobs = ops.compute_logprobs(self.sampler, batch()[0][0])[1:]
        for form in ("_async", "_future"):
            for make, op in ((batch, "forward"), (ragged_batch, "forward_ragged")):
                arguments = make()
                pending = [getattr(ops, op + form)(client, *arguments) for _ in range(4)]
                spoil(arguments)
                for one in pending:
                    self.assertEqual(one.wait()[-1]["loss:sum"], expected, op + form)
            prompt = batch()[0][0].clone()
            pending = getattr(ops, "compute_logprobs" + form)(self.sampler, prompt)
            spoil(prompt)
            self.assertTrue(torch.equal(pending.wait()[1:], logprobs))

    def test_any_dtype_and_stride_gives_the_same_ragged_loss(self):
        client = self.client()
        values, offsets, inputs = ragged_batch()
        inputs["weights"] = torch.ones_like(inputs["weights"])
        expected = ops.forward_ragged(client, values, offsets, inputs)[2]["loss:sum"]
        strided = torch.stack([values, values], dim=1)[:, 1]
        for dtype in (torch.float64, torch.bfloat16, torch.float16, torch.int32, torch.bool):
            changed = dict(inputs, weights=inputs["weights"].to(dtype))
            loss = ops.forward_ragged(client, strided.to(torch.int32), offsets.to(torch.int32),
                                      changed)[2]["loss:sum"]
            self.assertEqual(loss, expected, dtype)

    def test_inputs_that_want_a_gradient_are_refused_unless_gradients_are_off(self):
        client = self.client()
        tokens, inputs = batch()
        inputs["weights"][1].requires_grad_()
        for call in (lambda: ops.forward_backward(client, tokens, inputs),
                     lambda: client.forward(tokens, inputs)):
            with self.assertRaisesRegex(ValueError, r"loss_fn_inputs\['weights'\]\[1\] requires a grad"):
                call()
        values, offsets, ragged = ragged_batch()
        ragged["weights"].requires_grad_()
        with self.assertRaisesRegex(ValueError, r"loss_fn_inputs\['weights'\] requires a gradient"):
            ops.forward_backward_ragged(client, values, offsets, ragged)
        with torch.no_grad():
            ops.forward(client, tokens, inputs)
            ops.forward_ragged(client, values, offsets, ragged)

    def test_ragged_input_without_one_row_per_token_is_refused(self):
        values, offsets, inputs = ragged_batch()
        inputs["weights"] = inputs["weights"][1:]
        with self.assertRaisesRegex(ValueError, r"loss_fn_inputs\['weights'\] has \d+ rows but tokens"):
            ops.forward_backward_ragged(self.client(), values, offsets, inputs)

    def test_numbers_that_are_not_finite_are_refused_by_datum(self):
        values, offsets, inputs = ragged_batch()
        inputs["weights"][int(offsets[1])] = float("nan")
        with self.assertRaisesRegex(ValueError, r"datum 1, weights: expected finite"):
            ops.forward_backward_ragged(self.client(), values, offsets, inputs)

    def test_methods_do_what_the_ragged_ops_do(self):
        client = self.client()
        expected = ops.forward_ragged(client, *ragged_batch())[2]["loss:sum"]
        self.assertEqual(client.forward_ragged(*ragged_batch())[2]["loss:sum"], expected)
        pending = client.forward_backward_ragged_async(*ragged_batch())
        self.assertEqual(pending.wait()[2]["loss:sum"], expected)
        prompts = batch()[0]
        self.assertEqual(self.sampler.sample_ragged(prompts, 1, 2)["offsets"].numel(), 4)
        self.assertEqual(self.sampler.compute_logprobs_ragged_async(prompts).wait()[1].numel(), 4)

    def test_clients_are_made_in_all_three_forms(self):
        tokens, inputs = batch()
        made = [ops.create_lora_training_client(self.service, self.model, 4, 3),
                ops.create_lora_training_client_async(self.service, self.model, 4, 3).wait(),
                ops.create_lora_training_client_future(self.service, self.model, 4, 3).wait(),
                self.service.create_lora_training_client_async(self.model, 4, 3).wait()]
        self.assertEqual(len({ops.forward(c, tokens, inputs)[1]["loss:sum"].item() for c in made}), 1)
        path = made[0].save_state_async("here").wait()
        restored = ops.create_training_client_from_state_async(self.service, path).wait()
        self.assertEqual(restored.info()["model_name"], self.model)
        sampler = ops.create_sampling_client_future(self.service, self.model).wait()
        self.assertEqual(sampler.compute_logprobs(tokens[0]).shape, tokens[0].shape)
        with self.assertRaisesRegex(RuntimeError, r"tinkex: \[[a-z_]+\] .*no-such-model"):
            ops.create_lora_training_client_async(self.service, "no-such-model").wait()

    def test_state_tells_how_a_call_ended(self):
        client = self.client()
        done = ops.forward_async(client, *batch())
        self.assertIn(done.state(), ("pending", "done"))
        done.wait()
        self.assertEqual(done.state(), "done")
        failed = ops.load_state_async(client, "tinker://nowhere/weights/none")
        with self.assertRaises(RuntimeError):
            failed.wait()
        self.assertEqual(failed.state(), "failed")
        busy = [ops.forward_backward_async(client, *batch()) for _ in range(8)]
        busy[-1].cancel()
        self.assertEqual(busy[-1].state(), "cancelled")
        busy[0].wait()

    def test_what_the_server_says_about_its_models(self):
        lengths = self.service.context_lengths()
        self.assertGreater(lengths[self.model], 0)
        self.assertEqual(self.client().info()["lora_rank"], "8")


if __name__ == "__main__":
    unittest.main()
