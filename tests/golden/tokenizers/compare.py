#!/usr/bin/env python3
"""Compares many random texts with what Hugging Face's own library gives.

    ./bazelw build -c opt //tests/tinkex/tokenizers:encode_lines
    pip install tokenizers gguf
    tests/golden/tokenizers/compare.py --strings 100000 MODEL.gguf
    tests/golden/tokenizers/compare.py --strings 100000 tests/golden/tokenizers/qwen2.tokenizer.json

A GGUF file must have SmolLM2's tokenizer. It is read twice, by way of the GGUF fields and of the
tokenizer.json that they make; both must agree with the library. `--speed TEXT_FILE` measures
loading, and encoding that file, instead.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

import generate
import texts

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(generate.FOLDER)))
PROGRAM = os.path.join(ROOT, "bazel-bin/tests/tinkex/tokenizers/encode_lines")
CONTROL = 3


def gguf_fields(path):
    import gguf  # pylint: disable=import-outside-toplevel
    fields = gguf.GGUFReader(path).fields

    def values(name):
        return [fields[name].parts[index] for index in fields[name].data]
    return {
        "tokenizer.ggml.pre": bytes(values("tokenizer.ggml.pre")[0]).decode(),
        "tokenizer.ggml.tokens": [bytes(v).decode() for v in values("tokenizer.ggml.tokens")],
        "tokenizer.ggml.merges": [bytes(v).decode() for v in values("tokenizer.ggml.merges")],
        "tokenizer.ggml.token_type": [int(v[0]) for v in values("tokenizer.ggml.token_type")],
    }


def smollm2_of(fields):
    """The tokenizer.json of SmolLM2, with the vocabulary of a GGUF file."""
    if fields["tokenizer.ggml.pre"] != "smollm":
        sys.exit("compare: only SmolLM2's GGUF files can be compared")
    tokens = fields["tokenizer.ggml.tokens"]
    added = [{"id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True}
             for number, token in enumerate(tokens)
             if fields["tokenizer.ggml.token_type"][number] == CONTROL]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    return {
        "version": "1.0", "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "vocab": {token: number for number, token in enumerate(tokens)},
                  "merges": fields["tokenizer.ggml.merges"]}}


def run(tokenizer, strings):
    lines = "\n".join(json.dumps(text) for text in strings)
    done = subprocess.run([PROGRAM, tokenizer], input=lines, stdout=subprocess.PIPE, text=True,
                          check=True)
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def compare(name, path, reference, strings):
    wrong = 0
    for text, (ids, back) in zip(strings, run(path, strings), strict=True):
        expected = reference.encode(text).ids
        if (ids, back) != (expected, reference.decode(expected, skip_special_tokens=False)):
            wrong += 1
            if wrong <= 5:
                print("%s: %a gives %s, not %s" % (name, text, ids, expected))
    print("%s: %d texts, %d differ" % (name, len(strings), wrong))
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", help="a tokenizer.json or a GGUF file")
    parser.add_argument("--strings", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--speed", metavar="TEXT_FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = {"tokenizer.json": options.tokenizer}
        if options.tokenizer.endswith(".gguf"):
            fields = gguf_fields(options.tokenizer)
            paths = {"GGUF": os.path.join(folder, "gguf"),
                     "tokenizer.json": os.path.join(folder, "json")}
            for name, content in (("GGUF", fields), ("tokenizer.json", smollm2_of(fields))):
                with open(paths[name], "w", encoding="utf-8") as file:
                    json.dump(content, file, ensure_ascii=False)
        if options.speed:
            return subprocess.run([PROGRAM, paths["tokenizer.json"], options.speed],
                                  check=False).returncode
        source = texts.Texts(options.seed, generate.SPECIALS)
        strings = [source.text() for _ in range(options.strings)]
        reference = Tokenizer.from_file(paths["tokenizer.json"])
        return 1 if sum(compare(name, path, reference, strings)
                        for name, path in paths.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
