"""Makes models/*: tiny models of every family and what Hugging Face transformers and PEFT compute.

Each folder is one that `save_pretrained` wrote (config.json, safetensors; sharded for one of them)
with a byte-level tokenizer. expected.safetensors beside it holds the adapter (`NAME`), a sequence
with targets and weights, the log-probabilities of the targets, the gradient of the cross-entropy
sum (`grad.NAME`), and the adapter after ten steps of torch.optim.AdamW on that sequence with the
magnitudes of the weights (`trained.NAME`); in the metadata the loss and those of the steps. Computed by float64 models
of transformers 5 and peft 0.21; needs no network.

    python3 make_models.py models
"""

import json
import os
import shutil
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM)

SHAPE = {"vocab_size": 280, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
         "rms_norm_eps": 1e-5, "eos_token_id": 256, "bos_token_id": None,
         "attn_implementation": "eager"}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
MODELS = {
    "llama": (LlamaConfig, LlamaForCausalLM, {"head_dim": 6, "tie_word_embeddings": False}),
    "llama3": (LlamaConfig, LlamaForCausalLM,
               {"tie_word_embeddings": True, "rope_parameters": LLAMA3}),
    "linear": (LlamaConfig, LlamaForCausalLM,
               {"tie_word_embeddings": False, "rope_parameters": LINEAR, "num_key_value_heads": 4}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": False}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM,
              {"head_dim": 8, "tie_word_embeddings": True, "num_key_value_heads": 1}),
}
ADAM = {"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-6, "weight_decay": 0.1}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]


def save_tokenizer(folder):
    """All bytes, one token that ends a text, and merges learned from a sentence."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=270, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(["the other day the weather was rather good"] * 3, trainer)
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    return tokenizer.token_to_id("<|end|>")


def make_model(folder, config_type, model_type, extra):
    config = config_type(**{**SHAPE, **extra})
    model = model_type(config)
    for name, p in model.named_parameters():
        noise = torch.randn_like(p)
        p.data = 1 + 0.2 * noise if "norm" in name else 0.3 * noise
    os.makedirs(folder)
    end = save_tokenizer(folder)
    model.generation_config.eos_token_id = [end]
    config.eos_token_id = end
    model.save_pretrained(folder, **({"max_shard_size": "20KB"} if "qwen2" in folder else {}))
    return model


def compute(adapted, tokens, targets, weights):
    logits = adapted(input_ids=tokens[None]).logits[0]
    p = torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0]
    return p, -(p * weights.double()).sum()


def make(folder, name):
    torch.manual_seed(sorted(MODELS).index(name))
    model = make_model(folder, *MODELS[name])
    adapted = get_peft_model(model.double(), LoraConfig(
        r=3, lora_alpha=32, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
        target_modules=TARGETS))
    lora = {n.replace(".default", ""): p for n, p in adapted.named_parameters() if "lora_" in n}
    for p in lora.values():
        p.data = torch.randn(p.shape).mul(0.2).double()
    adapted.eval()

    out = {key: p.detach().float().contiguous() for key, p in lora.items()}
    tokens, targets = torch.randint(0, 256, (2, 40))
    weights = torch.randn(40)
    optimizer = torch.optim.AdamW(lora.values(), **ADAM)
    losses = []
    p, loss = compute(adapted, tokens, targets, weights)
    loss.backward()
    out.update(tokens=tokens, targets=targets, weights=weights, logprobs=p.detach().float())
    out.update({"grad." + key: q.grad.float().contiguous() for key, q in lora.items()})
    metadata = {"format": "pt", "loss": repr(loss.item())}
    for _ in range(10):
        optimizer.zero_grad()
        loss = compute(adapted, tokens, targets, weights.abs())[1]
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    out.update({"trained." + key: q.detach().float().contiguous() for key, q in lora.items()})
    save_file({k: v.contiguous() for k, v in out.items()},
              os.path.join(folder, "expected.safetensors"),
              metadata={**metadata, "losses": json.dumps(losses)})


def main():
    root = sys.argv[1]
    shutil.rmtree(root, ignore_errors=True)
    for name in MODELS:
        make(os.path.join(root, name), name)


if __name__ == "__main__":
    main()
