#!/usr/bin/env python3
"""Writes combine.json: how the results of a batch's chunks become one, computed by Python itself.

A datum's outputs are stood for by the logprobs of one position. Run it again after a rule has changed:
    python3 combine.py > combine.json
"""

import json
import sys

from metrics_reduction import printable, reduce


def chunk(sent, logprobs, metrics, kind="ArrayRecord"):
    return {"sent": sent, "type": kind, "logprobs": logprobs, "metrics": metrics}


def combine(chunks):
    """Outputs in the order of the input, the first chunk's type, metrics reduced; or what is wrong."""
    for number, one in enumerate(chunks, 1):
        if one["type"] != chunks[0]["type"]:
            return {"error": "chunk %d" % number}
        if len(one["logprobs"]) != one["sent"]:
            return {"error": "chunk %d" % number}
    weighed = [{"num_outputs": one["sent"], "metrics": one["metrics"]} for one in chunks]
    return {"type": chunks[0]["type"],
            "logprobs": [value for one in chunks for value in one["logprobs"]],
            "metrics": printable(reduce(weighed))}


def cases():
    yield "one chunk", [chunk(2, [-1, -2], {"loss:sum": 3, "a:slack": 5, "h:hash2": -1})]
    yield "weights are the numbers of outputs", [
        chunk(128, list(range(128)), {"loss:mean": 0.5, "loss:sum": 64}),
        chunk(44, list(range(128, 172)), {"loss:mean": 2.25, "loss:sum": 99})]
    yield "a metric that the middle chunk lacks", [
        chunk(2, [1, 2], {"a:mean": 1, "b:max": 1}), chunk(3, [3, 4, 5], {"a:mean": 6}),
        chunk(1, [6], {"a:mean": 2, "b:max": 9})]
    yield "every reduction at once", [
        chunk(n, [10 * n + i for i in range(n)],
              {"m:" + how: n * n - 4 for how in
               ("mean", "sum", "min", "max", "slack", "unique", "hash2", "hash_unordered", "new")} | {"plain": n})
        for n in (1, 3, 2)]
    yield "no metrics", [chunk(1, [1], {}), chunk(1, [2], {})]
    yield "types differ", [chunk(1, [1], {}, "a"), chunk(1, [2], {}, "b")]
    yield "the last type differs", [chunk(1, [1], {}, "a"), chunk(1, [2], {}, "a"), chunk(1, [3], {}, "")]
    yield "an output too few", [chunk(1, [1], {}), chunk(2, [2], {})]
    yield "an output too many", [chunk(1, [1, 2], {}), chunk(2, [3, 4], {})]
    yield "no outputs", [chunk(2, [], {"loss:sum": 1})]


def main():
    made = [{"name": name, "chunks": chunks, "expected": combine(chunks)} for name, chunks in cases()]
    json.dump(made, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
