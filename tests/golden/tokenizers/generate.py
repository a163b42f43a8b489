#!/usr/bin/env python3
"""Writes the golden files of the tokenizers, with Hugging Face's own library (pip install tokenizers).

Four small tokenizers are trained on the sample texts, with the settings of the families; each then
encodes the same texts. Files, beside this script:
    texts.json          the texts
    NAME.tokenizer.json the tokenizer
    NAME.expected.json  "encoded": ids of each text; "decoded": what decoding gives where it is not the
                        text; "as_text": ids where special tokens are text, where they differ;
                        "random": some ids, what they decode to with and without special tokens
"""

import json
import os
import random

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

import texts

FOLDER = os.path.dirname(os.path.realpath(__file__))
COUNT = 2500

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **options})


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    byte_level(use_regex=False)])


def trained(pre_tokenizer, normalizer=None, first=(), size=2000, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(first), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    generator = texts.Texts(1, ["<|x|>"])
    corpus = texts.SAMPLES * 20 + [generator.text() for _ in range(4000)]
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def special(*contents, **flags):
    return [AddedToken(content, special=True, normalized=False, **flags) for content in contents]


def llama3():
    tokenizer = trained(split(LLAMA3), ignore_merges=True)
    # Words that no merge makes, which is what ignore_merges is for.
    extra = json.loads(tokenizer.to_str())
    vocabulary = extra["model"]["vocab"]
    for word in ("ĠBogotÃ¡", "ĠWindows", "lazy", "ĠSELECT"):
        vocabulary.setdefault(word, len(vocabulary))
    tokenizer = Tokenizer.from_str(json.dumps(extra))
    tokenizer.add_special_tokens(special("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>",
                                         "<|start_header_id|>", "<|end_header_id|>"))
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A",
                                      pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                                      special_tokens=[("<|begin_of_text|>", begin)])])
    return tokenizer


def smollm2():
    return trained(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level()]),
                   first=special("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"))


def qwen2():
    tokenizer = trained(split(QWEN2), normalizers.NFC(), continuing_subword_prefix="",
                        end_of_word_suffix="")
    tokenizer.add_special_tokens(special("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False),
                          AddedToken("</tool_call>", normalized=False),
                          AddedToken("Ångström", normalized=True)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def gpt2():
    """With every flag that an added token has, and a vocabulary that lacks bytes."""
    tokenizer = trained(byte_level(add_prefix_space=True), first=special("<|endoftext|>"), size=1500)
    content = json.loads(tokenizer.to_str())
    content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"]]
    unused = [letter for letter in "ÀÁõöø" if letter in content["model"]["vocab"]]
    gone = {token for token in content["model"]["vocab"] if any(letter in token for letter in unused)}
    # What uses the bytes 0xc0, 0xc1, 0xf5, 0xf6, 0xf8 goes: text has none of them.
    assert all(len(token) == 1 for token in gone)
    kept = [token for token in content["model"]["vocab"] if token not in gone]
    content["model"]["vocab"] = {token: number for number, token in enumerate(kept)}
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.add_tokens([
        AddedToken("<mask>", lstrip=True, special=True, normalized=False),
        AddedToken("<right>", rstrip=True, normalized=False),
        AddedToken("<both>", lstrip=True, rstrip=True),
        AddedToken("word", single_word=True, normalized=False),
        AddedToken("wordy", single_word=True),
        AddedToken("<a", normalized=False), AddedToken("<a b>", special=True, normalized=False),
    ])
    return tokenizer


SPECIALS = ["<|begin_of_text|>", "<|eot_id|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>",
            "<repo_name>", "<tool_call>", "</tool_call>", "Ångström", "A\u030angstro\u0308m", "<mask>",
            "<right>", "<both>", "word", "wordy", "<a", "<a b>", "<|eot_id", "<|end_of_text|>"]


def expected(tokenizer, strings, seed):
    encoded = [tokenizer.encode(text).ids for text in strings]
    decoded, as_text = {}, {}
    for number, (text, ids) in enumerate(zip(strings, encoded)):
        back = tokenizer.decode(ids, skip_special_tokens=False)
        if back != text:
            decoded[number] = back
    tokenizer.encode_special_tokens = True
    for number, (text, ids) in enumerate(zip(strings, encoded)):
        other = tokenizer.encode(text).ids
        if other != ids:
            as_text[number] = other
    tokenizer.encode_special_tokens = False
    source = random.Random(seed)
    some = [[source.randrange(tokenizer.get_vocab_size() + 2) for _ in range(source.randint(1, 12))]
            for _ in range(200)]
    return {"encoded": encoded, "decoded": decoded, "as_text": as_text,
            "random": [[ids, tokenizer.decode(ids, skip_special_tokens=False),
                        tokenizer.decode(ids, skip_special_tokens=True)] for ids in some]}


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write(name, text):
    with open(os.path.join(FOLDER, name), "w", encoding="utf-8", newline="") as file:
        file.write(text + "\n")


def main():
    generator = texts.Texts(2, SPECIALS)
    strings = sorted({generator.text()[:60] for _ in range(2 * COUNT)})
    strings = random.Random(3).sample(strings, COUNT)
    write("texts.json", compact(strings))
    for make in (gpt2, llama3, qwen2, smollm2):
        tokenizer = make()
        name = make.__name__
        write(name + ".tokenizer.json", compact(json.loads(tokenizer.to_str())))
        reloaded = Tokenizer.from_str(tokenizer.to_str())
        write(name + ".expected.json", compact(expected(reloaded, strings, 4)))
        print(name, reloaded.get_vocab_size())


if __name__ == "__main__":
    main()
