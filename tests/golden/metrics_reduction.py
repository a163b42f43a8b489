#!/usr/bin/env python3
"""Writes metrics_reduction.json: the metric reduction rules, computed by Python itself.

The hashes come from CPython's own hash() of a tuple. Run it again after a rule has changed:
    python3 metrics_reduction.py > metrics_reduction.json
"""

import json
import math
import random


def truncated(value):
    return int(value) if math.isfinite(value) else 0


def total(values):
    """One after another: from 3.12 on sum() of floats compensates for rounding."""
    result = 0.0
    for value in values:
        result += value
    return result


def mean(values, weights):
    if len(values) == 1:
        return values[0]
    if sum(weights) == 0:
        return total(values) / len(values)
    return total(w * v for w, v in zip(weights, values)) / sum(weights)


def largest(values):
    return math.nan if any(map(math.isnan, values)) else max(values)


def smallest(values):
    return math.nan if any(map(math.isnan, values)) else min(values)


REDUCERS = {
    "mean": mean,
    "sum": lambda v, w: total(v),
    "min": lambda v, w: smallest(v),
    "max": lambda v, w: largest(v),
    "slack": lambda v, w: largest(v) - mean(v, w),
    "hash_unordered": lambda v, w: float(hash(tuple(sorted(map(truncated, v))))),
    "hash2": lambda v, w: float(sum(map(truncated, v)) % 2**64),
}


def reduce(chunks):
    out = {}
    names = {name for chunk in chunks for name in chunk["metrics"]}
    for name in names:
        having = [c for c in chunks if name in c["metrics"]]
        values = [float(c["metrics"][name]) for c in having]
        weights = [c["num_outputs"] for c in having]
        suffix = name.rsplit(":", 1)[1] if ":" in name else ""
        if suffix == "unique":
            out[name] = values[0]
            free = (n for i in range(1, 10**6) if (n := f"{name}_{i}") not in names)
            out.update((next(free), v) for v in values[1:])
        else:
            out[name] = REDUCERS.get(suffix, mean)(values, weights)
    return out


def chunk(num_outputs, **metrics):
    return {"num_outputs": num_outputs, "metrics": {k.replace("__", ":"): v for k, v in metrics.items()}}


def cases():
    yield "one chunk passes through", [
        chunk(3, a__mean=0.1, a__sum=0.7, a__min=-1, a__max=4, a__slack=5, a__unique=7, a__hash2=-3.9, a__hash_unordered=1)]
    yield "weighted by loss outputs", [chunk(128, l__mean=0.5, l__sum=64), chunk(44, l__mean=2.25, l__sum=99)]
    yield "all weights zero", [chunk(0, l__mean=1, l__slack=1), chunk(0, l__mean=4, l__slack=4)]
    yield "some weights zero", [chunk(0, l__mean=100, l__slack=100), chunk(2, l__mean=4, l__slack=4)]
    yield "key missing in one chunk", [
        chunk(2, a__mean=1, b__mean=10, c__unique=1), chunk(3, a__mean=6), chunk(5, a__mean=2, b__mean=30, c__unique=3)]
    yield "key missing in the first chunk", [chunk(2, a__sum=1), chunk(2, a__sum=1, late__max=9)]
    yield "unknown suffix and no colon", [
        chunk(1, plain=1, a__last=1, b__c__sum=1, empty__=5), chunk(3, plain=5, a__last=5, b__c__sum=5, empty__=1)]
    yield "unique keeps every value", [chunk(1, clock_cycle__unique=v) for v in (10, 11, 11, 12)]
    yield "unique skips a taken number", [
        {"num_outputs": 1, "metrics": {"c:unique": 1, "c:unique_1": 50}}, chunk(1, c__unique=2), chunk(1, c__unique=3)]
    yield "hash vectors", [
        chunk(1, a__hash_unordered=7, b__hash_unordered=0, c__hash_unordered=1),
        chunk(1, a__hash_unordered=3, b__hash_unordered=-5), chunk(1, a__hash_unordered=11, b__hash_unordered=5)]
    yield "hash truncates towards zero", [chunk(1, a__hash_unordered=-0.9, a__hash2=-1.9), chunk(1, a__hash_unordered=2.99, a__hash2=1.9)]
    big = (2.0**61 - 1, 2.0**61, 2.0**62, 2.0**63, 2.0**64, 2.0**65, -(2.0**63), -(2.0**64), 1e300, -1e300, -1.0, 2.0**53 + 2)
    for value in big:
        yield f"hash of {value!r}", [chunk(1, a__hash_unordered=value, a__hash2=value), chunk(1, a__hash_unordered=12345, a__hash2=12345)]
    yield "not finite", [
        chunk(1, **{f"a__{r}": v for r in ("mean", "sum", "min", "max", "slack", "hash_unordered", "hash2", "unique")})
        for v in (math.nan, math.inf, -math.inf, 1.5)]
    yield "infinite", [
        chunk(1, **{f"a__{r}": v for r in ("mean", "sum", "min", "max", "slack", "hash_unordered", "hash2")})
        for v in (math.inf, 1.5)]
    yield "NaN last", [chunk(1, a__min=1, a__max=1), chunk(1, a__min=math.nan, a__max=math.nan)]
    yield "-1 and -2 have one hash", [chunk(1, a__hash_unordered=v) for v in (-1, -2, -1, 0)]
    yield "order and repeats in a hash", [chunk(1, a__hash_unordered=v, a__hash2=v) for v in (3, 1, 3, -0.0, 2, -7, 5, 1)]
    yield "numbers around the modulus", [
        chunk(1, a__hash_unordered=v, a__hash2=v)
        for v in (-(2.0**61), -(2.0**61) + 256, 2.0**61 + 512, -(2.0**122), 2.0**122, 2.0**63 - 1024, -(2.0**64) - 4096)]
    yield "the largest numbers", [chunk(1, a__hash_unordered=v, a__hash2=v) for v in (1.7976931348623157e308, 5e-324, 123.999)]
    yield "forty values", [chunk(1, a__hash_unordered=v, a__hash2=v, a__unique=v) for v in (n * n * 1.5 - 300 for n in range(40))]
    yield "hash2 wraps around", [chunk(1, a__hash2=2.0**63), chunk(1, a__hash2=2.0**63), chunk(1, a__hash2=-5)]
    yield "hash2 of one negative chunk", [chunk(7, a__hash2=-1)]
    yield "hash2 missing in one chunk", [chunk(1, a__hash2=10), chunk(1), chunk(1, a__hash2=-11)]
    yield "the last colon counts, and capitals count", [
        {"num_outputs": n, "metrics": {"a:sum:max": n, ":sum": n, "a:Sum": n, "a: sum": n, "a:": n, "": n, "a:mean:": n}}
        for n in (1, 2, 5)]
    yield "slack of what is missing somewhere", [chunk(2, a__slack=-4), chunk(9), chunk(6, a__slack=-1)]
    yield "slack of equal values", [chunk(3, a__slack=0.1), chunk(7, a__slack=0.1)]
    yield "unique missing in some chunks", [chunk(1, a__unique=5), chunk(1), chunk(0, a__unique=6), chunk(1), chunk(1, a__unique=7)]
    yield "only chunks without weight have it", [chunk(0, a__mean=1, a__slack=1), chunk(0, a__mean=5, a__slack=5), chunk(8, b__sum=1)]
    yield "a sum that overflows", [chunk(1, a__sum=1.7e308, a__mean=1.7e308), chunk(1, a__sum=1.7e308, a__mean=1.7e308)]
    yield "one chunk that is not finite", [
        chunk(4, a__mean=math.nan, b__sum=math.inf, c__hash2=math.nan, d__hash_unordered=-math.inf, e__max=-math.inf, f__unique=math.nan)]
    yield "no metrics", [chunk(4), chunk(5)]
    yield "no chunks", []
    rng = random.Random(3)
    for i in range(8):
        yield f"random {i}", [
            chunk(rng.randrange(0, 130), **{f"m{k}__{r}": rng.uniform(-1e3, 1e3) for k in range(2)
                                            for r in (*REDUCERS, "unique", "odd") if rng.random() < 0.8})
            for _ in range(rng.randrange(1, 6))]


def printable(metrics):
    return {k: v if math.isfinite(v) else repr(v) for k, v in sorted(metrics.items())}


def main():
    lines = []
    for name, chunks in cases():
        shown = [{"num_outputs": c["num_outputs"], "metrics": printable(c["metrics"])} for c in chunks]
        lines.append(json.dumps({"name": name, "chunks": shown, "expected": printable(reduce(chunks))}))
    print("[\n" + ",\n".join(lines) + "\n]")


if __name__ == "__main__":
    main()
