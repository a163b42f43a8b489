"""How tinkex_torch waits: timeouts, Ctrl-C, threads, asyncio, fork and the end of the process."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import unittest
from unittest import mock

import torch

import servers
import tinkex_torch
from tinkex_torch import _waiting

MODEL = "tinkex/tiny"
LONG = dict(num_samples=64, max_tokens=1000, stop=[])  # many seconds

# What a process of its own begins with.
BEGIN = """
import os, signal, sys, threading, time
import tinkex_torch
service = tinkex_torch.connect()
sampler = service.create_sampling_client("tinkex/tiny")
model = service.create_lora_training_client("tinkex/tiny", 4)
prompt = tinkex_torch.encode_text("abc")
long = dict(num_samples=64, max_tokens=1000, stop=[])
"""


class WaitingTest(unittest.TestCase):
    def setUp(self):
        self.service = tinkex_torch.connect()
        self.addCleanup(self.service.close)  # which ends long work
        self.sampler = self.service.create_sampling_client(MODEL)
        self.prompt = tinkex_torch.encode_text("abc")

    def long_work(self):
        return self.sampler.sample_async(self.prompt, **LONG)

    def short_work(self):
        return self.sampler.compute_logprobs_async(self.prompt)

    def test_a_handle_tells_its_state_and_gives_its_result_again(self):
        handle = self.long_work()
        self.assertEqual((handle.done(), handle.state()), (False, "pending"))
        self.assertEqual(repr(handle), "<tinkex_torch.Handle of sample, pending>")
        with self.assertRaisesRegex(TimeoutError, "still under way") as caught:
            handle.wait(0.01)
        self.assertNotIsInstance(caught.exception, tinkex_torch.Error)
        handle.cancel()
        for _ in range(2):
            with self.assertRaises(tinkex_torch.Cancelled):
                handle.wait()
        self.assertEqual(handle.state(), "cancelled")
        handle = self.short_work()
        first, second = handle.wait(60), handle.wait()
        self.assertTrue(torch.equal(first[1:], second[1:]))
        self.assertNotEqual(first.data_ptr(), second.data_ptr())
        self.assertEqual((handle.done(), handle.state()), (True, "done"))

    def test_a_failed_handle_says_so_before_it_is_waited_for(self):
        client = self.service.create_lora_training_client(MODEL, 4)
        handle = client.load_state_async("tinker://nowhere/weights/none")
        while not handle.done():
            time.sleep(0.001)
        self.assertEqual(handle.state(), "failed")
        with self.assertRaises(tinkex_torch.Error):
            handle.wait()

    def seconds_until_interrupted(self, wait):
        """Sends Ctrl-C once this thread is in a wait of the package; how long it takes to come out."""
        main, sent = threading.get_ident(), []

        def send():
            while not any("_waiting.py" in place.filename
                          for place in traceback.extract_stack(sys._current_frames()[main])):
                time.sleep(0.001)
            time.sleep(0.02)
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        sender = threading.Thread(target=send)
        sender.start()
        with self.assertRaises(KeyboardInterrupt):
            wait()
        passed = time.monotonic() - sent[0]
        sender.join()
        return passed

    def expect_soon(self, wait):
        # The best of three: the machine may be busy with something else.
        self.assertLess(min(self.seconds_until_interrupted(wait) for _ in range(3)), 0.2)

    def test_ctrl_c_ends_the_wait_for_a_handle_which_stays_usable(self):
        handle = self.long_work()
        self.expect_soon(handle.wait)
        self.expect_soon(lambda: handle.wait(60))
        self.assertEqual(handle.state(), "pending")

    def test_ctrl_c_ends_a_blocking_call_and_cancels_it(self):
        handles, start = [], self.sampler.sample_async

        def start_and_keep(*arguments, **settings):
            handles.append(start(*arguments, **settings))
            return handles[-1]

        with mock.patch.object(self.sampler, "sample_async", start_and_keep):
            self.expect_soon(lambda: self.sampler.sample(self.prompt, **LONG))
        self.assertEqual([handle.state() for handle in handles], ["cancelled"] * 3)

    def test_ctrl_c_ends_connecting(self):
        with servers.SilentServer() as url:
            self.expect_soon(lambda: tinkex_torch.connect(url, "tml-key"))

    def test_ctrl_c_ends_a_call_that_waits_before_it_has_a_handle(self):
        given_up, was_given_up, go_on = [], threading.Event(), threading.Event()

        def op():
            go_on.wait()
            return "late"

        with self.assertRaises(KeyboardInterrupt):
            _waiting.call_interruptibly(lambda: os.kill(os.getpid(), signal.SIGINT) or op(),
                                        lambda late: given_up.append(late) or was_given_up.set())
        go_on.set()
        self.assertTrue(was_given_up.wait(60))
        self.assertEqual(given_up, ["late"])

    def test_no_call_of_a_model_that_may_wait_for_room_in_its_queue_keeps_the_main_thread(self):
        client, threads = self.service.create_lora_training_client(MODEL, 4), []

        def op(*arguments):
            threads.append(threading.current_thread())
            return mock.Mock()

        for name, arguments in {
                "optim_step_async": (), "save_state_async": ("a",),
                "load_state_async": ("tinker://a/weights/b",),
                "save_weights_for_sampler_async": ("a",),
                "save_weights_and_get_sampling_client_async": (),
                "forward_async": ([self.prompt], {})}.items():
            with mock.patch.object(torch.ops.tinkex, name, op):
                getattr(client, name)(*arguments)
            self.assertIsNot(threads.pop(), threading.main_thread(), name)

    def test_ctrl_c_stops_a_call_that_has_not_read_its_tensors_yet(self):
        client = self.service.create_lora_training_client(MODEL, 4)
        given_up, was_given_up, go_on = [], threading.Event(), threading.Event()

        def op():
            go_on.wait()
            return torch.ops.tinkex.forward_backward_async(
                client.native, [self.prompt], {"target_tokens": [self.prompt]})

        with self.assertRaises(KeyboardInterrupt):
            _waiting.call_interruptibly(lambda: os.kill(os.getpid(), signal.SIGINT) or op(),
                                        lambda late: given_up.append(late) or was_given_up.set())
        go_on.set()
        self.assertTrue(was_given_up.wait(60))
        with self.assertRaisesRegex(RuntimeError, "cancelled"):
            given_up[0].wait()
        with self.assertRaisesRegex(tinkex_torch.Error, "gradient"):  # nothing was sent
            client.optim_step()

    def test_a_call_that_was_given_up_before_its_turn_never_begins(self):
        turn, begun = _waiting.Turn(), []

        def call():
            _waiting.call_interruptibly(lambda: begun.append("late"), lambda late: None,
                                        turn=turn.taken())

        with turn.taken():  # as a call has it that was given up and goes on
            self.seconds_until_interrupted(call)
            waiting = [each for each in threading.enumerate() if each.name == "tinkex-call"]
        self.assertEqual(len(waiting), 1)
        waiting[0].join()
        self.assertEqual(begun, [])
        call()
        self.assertEqual(begun, ["late"])

    def test_models_whose_creation_was_given_up_are_unloaded(self):
        path = self.service.create_lora_training_client(MODEL, 4).save_state("begin")
        ops, unloaded = torch.ops.tinkex, []
        unload = ops.unload_async

        def keep(late):
            unloaded.append(unload(late))
            return unloaded[-1]

        for name, create in (
                ("create_lora_training_client",
                 lambda: self.service.create_lora_training_client(MODEL, 4)),
                ("create_lora_training_client", lambda: self.service.create_remote_model(MODEL, 4)),
                ("create_training_client_from_state",
                 lambda: self.service.create_training_client_from_state(path))):
            op = getattr(ops, name)
            with mock.patch.object(ops, "unload_async", keep), mock.patch.object(
                    ops, name, lambda *a, op=op: os.kill(os.getpid(), signal.SIGINT) or op(*a)):
                with self.assertRaises(KeyboardInterrupt):
                    create()
                for thread in threading.enumerate():
                    if thread.name == "tinkex-call":
                        thread.join()
        for handle in unloaded:
            handle.wait()
        self.assertEqual(len(unloaded), 3)

    def test_a_call_has_its_callers_modes_of_autograd(self):
        client = self.service.create_lora_training_client(MODEL, 4)
        weights = torch.ones(2, requires_grad=True)
        batch = [self.prompt[:-1]], {"target_tokens": [self.prompt[1:]], "weights": [weights]}
        with self.assertRaisesRegex(tinkex_torch.InvalidArgument, "requires a gradient"):
            client.forward(*batch)
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                self.assertIn("loss:sum", client.forward(*batch).metrics)
                self.assertEqual(_waiting.call_interruptibly(
                    torch.is_inference_mode_enabled, lambda late: None),
                    torch.is_inference_mode_enabled())

    def test_a_call_has_its_callers_streams_and_device_last(self):
        class Stream:
            def __init__(self, device):
                self.device = device

        default, current = [[Stream(i) for i in range(3)] for _ in range(2)]
        current[1] = default[1]  # a device that nobody uses: no context is to be made there
        done = []
        with mock.patch.multiple(
                torch.cuda, is_initialized=lambda: True, device_count=lambda: 3,
                current_device=lambda: 2, current_stream=lambda device: current[device],
                default_stream=lambda device: default[device],
                set_stream=lambda stream: done.append((threading.current_thread().name, stream)),
                set_device=lambda device: done.append((threading.current_thread().name, device))):
            _waiting.call_interruptibly(lambda: done.append("call"), lambda late: None)
        self.assertEqual(done, [("tinkex-call", current[0]), ("tinkex-call", current[2]),
                                ("tinkex-call", 2), "call"])

    def test_the_interpreter_is_free_while_a_thread_waits(self):
        handle = self.long_work()
        said = []

        def wait():
            try:
                handle.wait()
            except tinkex_torch.Cancelled as error:
                said.append(error)

        waiter = threading.Thread(target=wait)
        waiter.start()
        handle.cancel()  # did the thread hold the interpreter's lock, this would never come
        waiter.join()
        self.assertEqual(len(said), 1)

    def test_the_interpreter_is_free_while_the_main_thread_waits(self):
        with servers.AnsweringServer(401) as url:  # which answers in Python
            with self.assertRaises(tinkex_torch.Error):
                tinkex_torch.connect(url, "tml-key")

    def test_many_threads_wait_for_one_handle(self):
        handle, results = self.short_work(), []
        threads = [threading.Thread(target=lambda: results.append(handle.wait(60)))
                   for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(results), 8)

    def test_handles_are_awaited_together(self):
        async def run():
            handles = [self.short_work() for _ in range(50)]
            ticks = 0
            everything = asyncio.ensure_future(asyncio.gather(*handles, self.long_timer()))
            while not everything.done():
                ticks += 1
                await asyncio.sleep(0)
            return await everything, ticks

        results, ticks = asyncio.run(run())
        self.assertEqual([r.numel() for r in results[:-1]], [3] * 50)
        self.assertGreater(ticks, 3)  # the loop went on meanwhile

    async def long_timer(self):
        await asyncio.sleep(0.05)

    def test_what_is_awaited_raises_its_error(self):
        async def run():
            client = self.service.create_lora_training_client(MODEL, 4)
            await client.load_state_async("tinker://nowhere/weights/none")

        with self.assertRaisesRegex(tinkex_torch.Error, "no checkpoint"):
            asyncio.run(run())

    def test_a_cancelled_task_cancels_its_handle_and_a_shielded_one_does_not(self):
        async def run():
            given_up, kept = self.long_work(), self.long_work()
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(given_up, 0.01)
            shielded = asyncio.ensure_future(kept)
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(shielded), 0.01)
            states = given_up.state(), kept.state()
            shielded.cancel()
            return states

        self.assertEqual(asyncio.run(run()), ("cancelled", "pending"))

    def test_a_forked_child_is_told_to_connect_itself(self):
        client = self.service.create_lora_training_client(MODEL, 4)
        handle = self.long_work()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            said = []
            for call in (self.service.supported_models, client.optim_step, handle.wait, handle.done,
                         lambda: self.sampler.sample(self.prompt)):
                try:
                    call()
                except tinkex_torch.Closed as error:
                    said.append(str(error))
            self.service.close()  # harmless: the parent's goes on
            repr([self.service, client, handle, self.sampler])
            os.write(writer, "\n".join(said).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said = pipe.read().splitlines()
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(len(said), 5)
        for line in said:
            self.assertRegex(line, r"^tinkex: \[closed\] this \w+ was made in process \d+.*connect\(\)")
        self.assertEqual(client.save_weights_and_get_sampling_client().sample(
            self.prompt, max_tokens=1).tokens[0].numel(), 1)


class ExitTest(unittest.TestCase):
    def test_a_process_ends_that_gave_up_connecting_to_a_server_that_goes_with_it(self):
        done = self.run_program("""
import socket
silent = socket.create_server(("127.0.0.1", 0))
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    tinkex_torch.connect("http://127.0.0.1:%d" % silent.getsockname()[1], "tml-key")
except KeyboardInterrupt:
    print("given up")
""")
        self.assertEqual((done.returncode, done.stdout), (0, "given up\n"), done.stderr)

    def run_program(self, program, begin=BEGIN):
        return subprocess.run([sys.executable, "-B", "-W", "ignore", "-c", begin + program],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)

    def test_a_process_ends_with_work_and_waiting_threads(self):
        done = self.run_program("""
def wait(handle):
    try:
        handle.wait()
    except tinkex_torch.Closed as error:
        print(error.code)
handles = [sampler.sample_async(prompt, **long) for _ in range(3)]
for handle in handles:
    threading.Thread(target=wait, args=(handle,), daemon=True).start()
time.sleep(0.05)
""")
        self.assertEqual((done.returncode, done.stdout), (0, "closed\n" * 3), done.stderr)

    def test_a_process_ends_whose_exit_handlers_call_before_and_after_services_are_closed(self):
        done = self.run_program("""
import atexit, weakref
import tinkex_torch

class Owner:
    pass

def clean(when):
    tokens = [tinkex_torch.encode_text("abc")]
    for call in (client.unload, service.supported_models, remote.synchronize, optimizer.step,
                 lambda: remote(tokens, tokens), lambda: tinkex_torch.connect().close()):
        try:
            call()
        except tinkex_torch.Closed:
            pass
    print(when, flush=True)

owner = Owner()
weakref.finalize(owner, lambda: clean("finalize"))
atexit.register(clean, "late")  # handlers run in reverse: after the one that connect() registers
service = tinkex_torch.connect()
client = service.create_lora_training_client("tinkex/nano", 4)
remote = service.create_remote_model("tinkex/nano", 4)
optimizer = tinkex_torch.RemoteAdamW(remote)
atexit.register(clean, "early")
""", begin="")
        self.assertEqual((done.returncode, done.stdout), (0, "early\nlate\nfinalize\n"), done.stderr)

    def test_a_process_ends_though_a_call_that_was_given_up_keeps_its_turn(self):
        done = self.run_program("""
import atexit
remote = service.create_remote_model("tinkex/tiny", 4)
remote._turn.taken().__enter__()  # as a thread that is held in a wait for ever
atexit.register(remote.synchronize)
""")
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)

    def test_a_thread_that_trains_while_the_main_one_has_ended_waits_for_its_turn(self):
        done = self.run_program("""
remote, held = service.create_remote_model("tinkex/tiny", 4), threading.Event()
tinkex_torch._waiting._LAST_PATIENCE = 0.01

def keep():  # as a call that was given up
    with remote._turn.taken():
        held.set()
        while threading.main_thread().is_alive():
            time.sleep(0.001)
        time.sleep(0.3)
        print("kept", flush=True)

def train():
    held.wait()
    while threading.main_thread().is_alive():
        time.sleep(0.001)
    remote.synchronize()
    print("trained", flush=True)

threading.Thread(target=keep, daemon=True).start()
threading.Thread(target=train).start()
""")
        self.assertEqual((done.returncode, done.stdout), (0, "kept\ntrained\n"), done.stderr)

    def test_a_child_of_fork_may_end_as_a_process_does(self):
        done = self.run_program("""
threading.Thread(target=sampler.sample, args=(prompt,), kwargs=long, daemon=True).start()
time.sleep(0.05)
with service:
    if os.fork() == 0:
        sys.exit(5)
    print(os.waitstatus_to_exitcode(os.wait()[1]), len(service.supported_models()))
""")
        self.assertEqual(done.stdout, "5 2\n", done.stderr)

    def test_ctrl_c_ends_a_program_that_does_not_catch_it(self):
        program = "print('ready', flush=True)\nsampler.sample(prompt, **long)\n"
        process = subprocess.Popen([sys.executable, "-B", "-W", "ignore", "-c", BEGIN + program],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        self.assertEqual(process.returncode, -signal.SIGINT)
        self.assertEqual(said.strip().splitlines()[-1], "KeyboardInterrupt")


if __name__ == "__main__":
    unittest.main()
