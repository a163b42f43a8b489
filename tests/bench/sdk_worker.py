#!/usr/bin/env python3
"""The official SDK in one scenario of //tests/bench:client, which starts this and talks to it."""

import argparse
import ctypes
import json
import os
import resource
import sys
import time


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Meter:
    """Says that it is ready, waits for the word, and measures from there."""

    def __init__(self):
        print("ready", flush=True)
        sys.stdin.readline()
        self.wall, self.cpu = time.monotonic(), cpu_seconds()

    def end(self, result):
        result["cpu_s"] = cpu_seconds() - self.cpu
        result["wall_s"] = time.monotonic() - self.wall


def run_samples(options, service, tinker):
    sampler = service.create_sampling_client(base_model="bench").result()
    meter, result = Meter(), {}
    samples = start_samples(sampler, options.samples, tinker)
    result["tokens"] = sum(len(s.result().sequences[0].tokens) for s in samples)
    meter.end(result)
    return result


def start_samples(sampler, count, tinker):
    prompt = tinker.ModelInput.from_ints([i * 7919 % 150000 for i in range(128)])
    params = tinker.SamplingParams(max_tokens=32)
    return [sampler.sample(prompt=prompt, num_samples=1, sampling_params=params)
            for _ in range(count)]


def batch_of(options, tinker):
    def datum(i):
        tokens = [(i + t) * 7919 % 150000 for t in range(options.tokens + 1)]
        tensor = lambda data, dtype: tinker.TensorData(data=data, dtype=dtype,
                                                       shape=[options.tokens])
        return tinker.Datum(model_input=tinker.ModelInput.from_ints(tokens[:-1]),
                            loss_fn_inputs={"target_tokens": tensor(tokens[1:], "int64"),
                                            "weights": tensor([1.0] * options.tokens, "float32")})
    return [datum(i) for i in range(options.datums)]


def run_chunks(options, service, tinker):
    model = service.create_lora_training_client(base_model="bench", rank=8).result()
    batch = batch_of(options, tinker)
    adam = tinker.AdamParams(learning_rate=1e-4)

    def step():
        update = model.forward_backward(batch, "cross_entropy")
        done = model.optim_step(adam)
        outputs = len(update.result().loss_fn_outputs)
        done.result()
        return outputs

    outputs = step()
    meter, result = Meter(), {}
    for _ in range(options.steps):
        outputs += step()
    meter.end(result)
    result["outputs"] = outputs
    return result


def run_latency(options, service, tinker):
    sampler = service.create_sampling_client(base_model="bench").result()
    meter, result, seconds = Meter(), {}, []
    for _ in range(options.samples):
        begun = time.monotonic()
        start_samples(sampler, 1, tinker)[0].result()
        seconds.append(time.monotonic() - begun)
    meter.end(result)
    seconds.sort()
    result["median_us"] = seconds[len(seconds) // 2] * 1e6
    result["p99_us"] = seconds[(len(seconds) - 1) * 99 // 100] * 1e6
    if options.lock_ms > 0:
        result["lock_begin_ns"] = time.monotonic_ns()
        # PyDLL, unlike CDLL, keeps the GIL during the call.
        ctypes.PyDLL(None).usleep(options.lock_ms * 1000)
        result["lock_end_ns"] = time.monotonic_ns()
        time.sleep(0.5)  # what is late by now comes in
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker")
    parser.add_argument("--scenario", required=True)
    parser.add_argument("--url", required=True)
    for name in ("samples", "connections", "datums", "tokens", "steps", "lock-ms", "heartbeat-ms"):
        parser.add_argument("--" + name, type=int, default=0)
    options = parser.parse_args()
    os.environ["TINKER_API_KEY"] = "tml-bench"
    import tinker  # pylint: disable=import-outside-toplevel
    service = tinker.ServiceClient(base_url=options.url)
    run = {"chunks": run_chunks, "latency": run_latency}.get(options.scenario, run_samples)
    result = run(options, service, tinker)
    result["version"] = tinker.__version__
    print(json.dumps(result), flush=True)
    os._exit(0)  # the SDK's threads end with the process


if __name__ == "__main__":
    main()
