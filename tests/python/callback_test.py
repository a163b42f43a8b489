"""Where tinkex_torch must not wait, or not be left waiting: callbacks of Futures, and event loops."""

import asyncio
import threading
import unittest

import torch

import tinkex_torch
from tinkex_torch import _polling

LONG = dict(num_samples=64, max_tokens=1000, stop=[])  # many seconds


class CallbackTest(unittest.TestCase):
    def setUp(self):
        self.service = tinkex_torch.connect()
        self.addCleanup(self.service.close)  # which ends long work
        self.sampler = self.service.create_sampling_client("tinkex/tiny")
        self.prompt = tinkex_torch.encode_text("abc")

    def in_a_callback(self, function):
        """What ``function()`` gives in a callback of a Future, on the thread that settles it."""
        results, tokens = [], 64
        while not results:
            future = torch.ops.tinkex.sample_future(self.sampler.native, self.prompt, 16,
                                                    max_tokens=tokens, stop=[])
            here = threading.get_ident()
            # Of a Future that is settled already the callback runs here, where one may wait.
            future.then(lambda _: threading.get_ident() == here or results.append(function())).wait()
            tokens = min(2 * tokens, 1000)
        return results[0]

    def problem_of(self, call):
        try:
            return call()
        except Exception as problem:  # told to the test, not to the Future
            return problem

    def test_what_would_wait_for_itself_says_so(self):
        def ask():
            handle = self.sampler.sample_async(self.prompt, **LONG)
            calls = (handle.wait, lambda: handle.wait(60),
                     lambda: self.sampler.sample(self.prompt, **LONG),
                     lambda: handle.native.wait_for(0.05), lambda: handle.wait(0))
            return handle, [self.problem_of(call) for call in calls]

        handle, (*waits, native, poll) = self.in_a_callback(ask)
        for problem in waits:
            self.assertIsInstance(problem, tinkex_torch.Error)
            self.assertNotIsInstance(problem, TimeoutError)
            self.assertEqual(problem.code, "would_deadlock")
            self.assertIn("the call is under way, but cannot be waited for here", problem.message)
        self.assertEqual(tinkex_torch.parse_error(native).code, "would_deadlock")
        self.assertIs(type(poll), TimeoutError)  # it was not to wait
        self.assertEqual(handle.state(), "pending")

    def test_what_is_there_is_given(self):
        handle = self.sampler.compute_logprobs_async(self.prompt)
        expected = handle.wait()
        actual, there = self.in_a_callback(
            lambda: (self.problem_of(handle.wait), handle.native.wait_for(0.05)))
        self.assertTrue(torch.equal(actual[1:], expected[1:]))
        self.assertTrue(there)


class EventLoopTest(unittest.TestCase):
    def setUp(self):
        self.loop = asyncio.new_event_loop()
        self.addCleanup(self.loop.close)

    def result_of(self, awaited):
        return self.loop.run_until_complete(asyncio.wait_for(awaited, 60))

    def test_what_ends_a_loop_in_a_poll_leaves_nobody_waiting_when_it_goes_on(self):
        for kind in (KeyboardInterrupt, SystemExit):
            raised = []

            def done():
                if not raised:
                    raised.append(kind)
                    raise kind  # as the handler of a signal does, wherever it comes
                return True

            async def wait():
                await _polling.settled(done)
                return "settled"

            waiting = self.loop.create_task(wait())
            with self.assertRaises(kind):
                self.loop.run_until_complete(waiting)
            self.assertEqual(self.result_of(waiting), "settled")
            self.assertEqual(self.result_of(wait()), "settled")

    def test_one_that_cannot_be_asked_keeps_no_other_waiting(self):
        def fail():
            raise tinkex_torch.Closed("tinkex: [closed] gone")

        async def wait():
            return await asyncio.gather(_polling.settled(fail), _polling.settled(lambda: True),
                                        return_exceptions=True)

        problem, settled = self.result_of(wait())
        self.assertIsInstance(problem, tinkex_torch.Closed)
        self.assertIsNone(settled)


if __name__ == "__main__":
    unittest.main()
