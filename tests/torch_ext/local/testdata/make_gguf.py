"""Makes types.gguf and llama.gguf with the Python package gguf, the reference for the reader.

types.gguf holds a tensor of every type that is read, NAME, and what gguf dequantises it to,
NAME.expected; the metadata has a value of every type. llama.gguf holds the model of
models/llama under llama.cpp's names, in float32, with the rows of the query and key projections
reordered as its converter does it, and its tokenizer. Written with gguf 0.19; needs no network.

    python3 make_gguf.py FOLDER   # that has models/llama
"""

import json
import os
import sys

import gguf
import numpy
from gguf import GGMLQuantizationType as Type

HEADS, KV_HEADS, VOCAB = 4, 2, 280


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    return {name: numpy.frombuffer(data[slice(*entry["data_offsets"])], numpy.float32)
            .reshape(entry["shape"]).copy()
            for name, entry in header.items() if name.startswith(("model.", "lm_head."))}


def edges_of_float16():
    """Zeros, subnormal numbers, the largest ones, infinities and a NaN."""
    return numpy.array([0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x3C00, 0xBC01,
                        0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01, 0x3555, 0x0200], numpy.uint16)


def add_with_expectation(writer, name, kind, data):
    """`data` as bytes for the types that numpy does not know."""
    writer.add_tensor(name, data, raw_dtype=kind)
    writer.add_tensor(name + ".expected", gguf.quants.dequantize(data, kind).astype(numpy.float32))


def make_types(path):
    random = numpy.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "none")
    writer.add_uint8("a.uint8", 250)
    writer.add_int8("a.int8", -5)
    writer.add_uint16("a.uint16", 65000)
    writer.add_int16("a.int16", -300)
    writer.add_uint32("a.uint32", 4000000000)
    writer.add_int32("a.int32", -70000)
    writer.add_uint64("a.uint64", 1 << 40)
    writer.add_int64("a.int64", -(1 << 40))
    writer.add_float32("a.float32", 0.5)
    writer.add_float64("a.float64", 0.1)
    writer.add_bool("a.bool", True)
    writer.add_string("a.string", "Grüße")
    writer.add_array("a.strings", ["", "Ġ t", "x"])
    writer.add_array("a.int32s", [3, -1, 1 << 30])
    writer.add_array("a.float32s", [1.5, -0.25])
    writer.add_array("a.bools", [True, False])
    writer.add_tensor("f32", random.standard_normal((2, 3, 4)).astype(numpy.float32))
    halves = numpy.concatenate([edges_of_float16(), random.integers(0, 0x7C00, 48, numpy.uint16)])
    add_with_expectation(writer, "f16", Type.F16, halves.view(numpy.float16))
    words = random.integers(0, 1 << 16, 64, numpy.uint16)
    add_with_expectation(writer, "bf16", Type.BF16, words.view(numpy.uint8))
    for kind in Type.Q4_0, Type.Q4_1, Type.Q8_0:
        size = gguf.GGML_QUANT_SIZES[kind][1]
        numbers = random.standard_normal((3, 64)).astype(numpy.float32)
        numbers[1] *= 1e-6  # scales that are subnormal
        made = gguf.quants.quantize(numbers, kind)
        assert made.shape == (3, 2 * size)
        add_with_expectation(writer, kind.name.lower(), kind, made)
    finish(writer)


def reorder(weights, heads):
    """As llama.cpp's convert_hf_to_gguf.py does it."""
    return (weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
            .swapaxes(1, 2).reshape(weights.shape))


def add_tokenizer(writer, path):
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    special = {token["id"]: token["content"] for token in document["added_tokens"]}
    ids = {number: token for token, number in document["model"]["vocab"].items()}
    tokens, types = [], []
    for number in range(VOCAB):
        known = number in ids or number in special
        tokens.append(special.get(number) or ids.get(number) or "[PAD%d]" % number)
        types.append(gguf.TokenType.CONTROL if number in special else
                     gguf.TokenType.NORMAL if known else gguf.TokenType.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in document["model"]["merges"]])
    writer.add_eos_token_id(next(iter(special)))


def make_llama(path, folder):
    weights = read_safetensors(os.path.join(folder, "model.safetensors"))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_block_count(2)
    writer.add_feed_forward_length(24)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(6)
    writer.add_value_length(6)
    writer.add_rope_dimension_count(6)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(VOCAB)
    add_tokenizer(writer, os.path.join(folder, "tokenizer.json"))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, data in weights.items():
        if name.endswith("q_proj.weight"):
            data = reorder(data, HEADS)
        if name.endswith("k_proj.weight"):
            data = reorder(data, KV_HEADS)
        writer.add_tensor(names.get_name(name, (".weight",)), numpy.ascontiguousarray(data))
    finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    make_types(sys.argv[1] + "/types.gguf")
    make_llama(sys.argv[1] + "/llama.gguf", sys.argv[1] + "/models/llama")
