#!/usr/bin/env python3
"""Compares every tensor of a GGUF file with what llama.cpp's Python package gguf makes of it.

    ./bazelw build //tests/torch_ext/local:gguf_dump
    python3 tests/torch_ext/local/compare_gguf.py bazel-bin/tests/torch_ext/local/gguf_dump FILE

The numbers must have the same bits; a NaN equals any other. Needs the packages gguf and numpy.
"""

import subprocess
import sys

import gguf
import numpy


def compare(tensor, dump):
    name, count = dump.readline().decode().split()
    own = numpy.frombuffer(dump.read(4 * int(count)), numpy.float32)
    expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
    expected = expected.reshape(-1)
    same = own.view(numpy.uint32) == expected.view(numpy.uint32)
    same |= numpy.isnan(own) & numpy.isnan(expected)
    if name != tensor.name or not same.all():
        print("%s: %d of %d numbers differ" % (tensor.name, (~same).sum(), same.size))
        return False
    return True


def main():
    reader = gguf.GGUFReader(sys.argv[2])
    with subprocess.Popen([sys.argv[1], sys.argv[2]], stdout=subprocess.PIPE) as process:
        wrong = [t.name for t in reader.tensors if not compare(t, process.stdout)]
        trailing = process.stdout.read()
    print("%d tensors, %d elements, %d tensors differ" % (
        len(reader.tensors), sum(int(t.n_elements) for t in reader.tensors), len(wrong)))
    return 1 if wrong or trailing or process.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
