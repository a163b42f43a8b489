#!/usr/bin/env python3
"""local_server as a process: what signals do to it while it is stopping."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
import unittest

LOCAL_SERVER = os.path.abspath(sys.argv[1])
PATIENCE = 60
AT_A_TIME = 0.2  # seconds; the server's own limit is longer


def until(happened, what):
    end = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > end:
            raise AssertionError("in vain: " + what)
        time.sleep(0.01)


def is_pending(process, number):
    """Whether a signal was sent to a process and none of its threads has taken it yet."""
    with open("/proc/%d/status" % process.pid, encoding="ascii") as status:
        mask = int(re.search(r"^ShdPnd:\s*(\w+)", status.read(), re.M).group(1), 16)
    return bool(mask >> (number - 1) & 1)


class StuckServer:
    """A server whose next line of output waits for somebody to read the lines before it."""

    def __init__(self):
        self.out, write = os.pipe()
        self.process = subprocess.Popen([LOCAL_SERVER, "--port", "0"], stdout=write,
                                        stderr=subprocess.DEVNULL)
        text = b""
        while b"Press Ctrl-C" not in text:
            text += os.read(self.out, 4096)
        fcntl.fcntl(write, fcntl.F_SETFL, os.O_NONBLOCK | os.O_WRONLY)
        for size in (4096, 1):
            try:
                while True:
                    os.write(write, b"x" * size)
            except BlockingIOError:
                pass
        # The flag is the pipe's, not the process's.
        fcntl.fcntl(write, fcntl.F_SETFL, os.O_WRONLY)
        os.close(write)

    def send(self, number):
        """Returns when the signal has been taken."""
        self.process.send_signal(number)
        until(lambda: not is_pending(self.process, number), "the signal")

    def read_on(self):
        """Reads what the server waits for, to the end; its exit code."""
        while os.read(self.out, 1 << 16):
            pass
        return self.process.wait(PATIENCE)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.out)


class SignalTest(unittest.TestCase):
    def stuck_server(self):
        server = StuckServer()
        self.addCleanup(server.close)
        return server

    def test_a_later_ctrl_c_ends_the_process_at_once(self):
        for first in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(first=first):
                process = self.stuck_server().process
                process.send_signal(first)

                def ends():
                    process.send_signal(signal.SIGINT)
                    return process.poll() is not None

                until(ends, "Ctrl-C again and again")
                self.assertEqual(process.returncode, -signal.SIGINT)

    def test_a_ctrl_c_that_comes_twice_at_a_time_is_one(self):
        while True:  # Until the machine lets the two come close together.
            server = self.stuck_server()
            begun = time.monotonic()
            server.send(signal.SIGINT)
            server.send(signal.SIGINT)
            if time.monotonic() - begun < AT_A_TIME:
                break
        self.assertEqual(server.read_on(), 0)

    def test_a_second_sigterm_changes_nothing(self):
        server = self.stuck_server()
        server.send(signal.SIGTERM)
        server.send(signal.SIGTERM)
        self.assertEqual(server.read_on(), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
