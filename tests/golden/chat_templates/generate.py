#!/usr/bin/env python3
"""Writes what chat templates give, by jinja2 3.1 as Hugging Face's transformers sets it up (pip
install jinja2).

The templates beside this script are those of model families, as they are published with the models.
Files:
    NAME.expected.json     for each conversation that the template takes or refuses: its inputs, and
                           the text, or null
    snippets.expected.json the inputs of the templates of snippets.py, and then for each
                           [template, text or null]
"""

import datetime
import glob
import json
import os

import jinja2
import jinja2.ext
import jinja2.sandbox

import conversations
import snippets

FOLDER = os.path.dirname(os.path.realpath(__file__))
NOW = datetime.datetime(2026, 2, 9, 8, 5, 3)
BOS, EOS = "<s>", "</s>"


class Generation(jinja2.ext.Extension):
    """The statement `generation`, as a scope of its own."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_put_out"), [], [], body).set_lineno(line)

    def _put_out(self, caller):
        return caller()


def refuse(message):
    raise jinja2.exceptions.TemplateError(message)


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def environment():
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = to_json
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = NOW.strftime
    return made


def rendered(template, messages, add_generation_prompt=False, variables=None):
    """The text, or None where the template or the messages are refused."""
    messages = [{key: value for key, value in message.items() if value is not None}
                for message in messages]
    inputs = {"messages": messages, "tools": None, "documents": None,
              "add_generation_prompt": add_generation_prompt, "bos_token": BOS, "eos_token": EOS,
              **(variables or {})}
    try:
        return environment().from_string(template).render(**inputs)
    except (jinja2.exceptions.TemplateError, ArithmeticError, SyntaxError, TypeError, ValueError,
            OverflowError, AttributeError):
        return None


def write(name, cases):
    """A list, one case a line."""
    lines = [json.dumps(case, ensure_ascii=False) for case in cases]
    with open(os.path.join(FOLDER, name + ".expected.json"), "w", encoding="utf-8",
              newline="") as file:
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


def main():
    for path in sorted(glob.glob(os.path.join(FOLDER, "*.jinja"))):
        with open(path, encoding="utf-8", newline="") as file:
            template = file.read()
        cases = [{**case, "expected": rendered(template, **case)} for case in conversations.ALL]
        name = os.path.basename(path)[:-len(".jinja")]
        write(name, cases)
        print(name, sum(case["expected"] is not None for case in cases), "of", len(cases))
    results = [[text, rendered(text, conversations.SHORT, variables=snippets.VARIABLES)]
               for text in snippets.ALL]
    write("snippets", [{"messages": conversations.SHORT, "variables": snippets.VARIABLES}, *results])
    wrong = [text for text, result in results if (result is None) != (text in snippets.REFUSED)]
    assert not wrong, wrong


if __name__ == "__main__":
    main()
