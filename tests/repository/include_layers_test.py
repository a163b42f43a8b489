#!/usr/bin/env python3
"""A file includes only what lies below it; ARCHITECTURE.md shows the same layers as a picture."""

import re
import unittest

import checkout

# Which layers the files of a layer may include, beside their own. From the bottom up: a layer names
# only layers above it in this list, except for async and retry, which are one layer in two folders.
LAYERS = {
    "base": "",
    "values": "base",
    "limits": "base values",
    "validation": "base values",
    "wire": "base values",
    "config": "base values limits",
    "tokenizers": "base values",
    "retry": "base values limits async",
    "async": "base values limits retry",
    "http": "base values async",
    "api": "base values wire",
    "training": "base values limits validation wire retry async api",
    "sampling": "base values limits",
    "connection": "base values limits validation wire retry async api training sampling",
    "session": "base values limits config async http api connection",
    "clients": "base values validation api connection session",
    "mocks": "base values wire http",
    "programs": "",
    "convert": "base values",
    "local": "base values validation wire async http tokenizers programs convert",
    "connect": "base values limits config clients local",
    "remote": "base values clients convert",
    "model": "base values clients convert connect remote",
    "ops": "base values tokenizers clients convert connect remote",
}

# Files directly in tinkex/ and torch_ext/ that are more than values or conversions.
NAMED = {
    "tinkex/service_client": "clients",
    "torch_ext/adapter": "connect",
    "torch_ext/connect": "connect",
    "torch_ext/load_tokenizer": "connect",
    "torch_ext/merge": "connect",
    "torch_ext/remote_adamw": "model",
    "torch_ext/remote_model": "model",
}


def layer_of(path):
    stem = path.rsplit(".", 1)[0]
    parts = path.split("/")
    if stem in NAMED:
        return NAMED[stem]
    if len(parts) > 2:
        return parts[1]
    return "values" if parts[0] == "tinkex" else "convert"


def check(path, text):
    """What is wrong with the includes of one file."""
    layer = layer_of(path)
    if layer not in LAYERS:
        return ["%s: the folder is not in the table of layers" % path]
    wrong = []
    for included in re.findall(r'^#include "([^"]+)"', text, re.MULTILINE):
        target = layer_of(included)
        if target != layer and target not in LAYERS[layer].split():
            wrong.append("%s (%s) includes %s (%s)" % (path, layer, included, target))
    if path.startswith("tinkex/"):
        wrong += ["%s includes %s: the core does not know LibTorch" % (path, included)
                  for included in re.findall(r"#include <((?:torch|ATen|c10)/[^>]+)>", text)]
    return wrong


def check_example(path, text):
    """Examples show what a user can do: they include public headers."""
    allowed = re.compile(r"(tinkex|torch_ext)/[^/]+\.h|tinkex/mocks/[^/]+\.h|"
                         r"torch_ext/local/(backend_options|embedded_backend)\.h|examples/.*|"
                         # For what they have in common with local_server as programs.
                         r"torch_ext/programs/[^/]+\.h|"
                         # For the number of trained parameters, which no server tells.
                         r"torch_ext/local/lora_layout\.h|"
                         # For what the embedded backend calls its models.
                         r"torch_ext/local/config\.h|"
                         # For what tells a run's data from others.
                         r"torch_ext/local/digest\.h")
    return ["%s includes %s, which is not public" % (path, included)
            for included in re.findall(r'^#include "([^"]+)"', text, re.MULTILINE)
            if not allowed.fullmatch(included)]


class IncludeLayersTest(unittest.TestCase):
    # Spec H4.
    def test_files_include_only_what_lies_below_them(self):
        paths = checkout.sources("tinkex", "torch_ext")
        self.assertGreater(len(paths), 100)
        wrong = [line for path in paths for line in check(path, checkout.read(path))]
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_examples_include_only_public_headers(self):
        wrong = [line for path in checkout.sources("examples")
                 for line in check_example(path, checkout.read(path))]
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_the_table_has_no_cycle_but_the_one_it_names(self):
        names = list(LAYERS)
        upward = [(layer, below) for layer in names for below in LAYERS[layer].split()
                  if names.index(below) > names.index(layer)]
        self.assertEqual(upward, [("retry", "async")])

    def test_an_upward_include_is_found(self):
        bait = '#include "tinkex/session/session.h"\n'
        self.assertEqual(len(check("tinkex/wire/codec.cc", bait)), 1)
        self.assertEqual(len(check("tinkex/datum.h", bait)), 1)
        self.assertEqual(check("tinkex/service_client.cc", bait), [])

    def test_libtorch_in_the_core_is_found(self):
        self.assertEqual(len(check("tinkex/datum.cc", "#include <ATen/core/Tensor.h>\n")), 1)
        self.assertEqual(check("torch_ext/x.cc", "#include <ATen/core/Tensor.h>\n"), [])

    def test_a_folder_without_a_layer_is_found(self):
        self.assertEqual(len(check("tinkex/new_folder/a.cc", "")), 1)

    def test_an_internal_header_in_an_example_is_found(self):
        self.assertEqual(len(check_example("examples/a.cc", '#include "tinkex/wire/codec.h"\n')), 1)


if __name__ == "__main__":
    unittest.main()
