"""Makes llama_lora.safetensors: what Hugging Face transformers and PEFT compute for a tiny Llama.

Holds the base weights, the adapter, a sequence with targets and weights, the log-probabilities of
the targets, the gradient of the cross-entropy sum (names begin with `grad.`) and, in the metadata,
the loss. Computed by a float64 model of transformers 5 and peft 0.21; needs no network.

    python3 make_llama_lora.py llama_lora.safetensors
"""

import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=6, max_position_embeddings=32,
    rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False, attention_bias=False,
    mlp_bias=False, hidden_act="silu", attn_implementation="eager")
model = LlamaForCausalLM(config)
for name, p in model.named_parameters():
    p.data = 1 + 0.2 * torch.randn_like(p) if "norm" in name else torch.randn_like(p) * 0.3
out = {name: p.detach().clone() for name, p in model.named_parameters()}

adapted = get_peft_model(model.double(), LoraConfig(
    r=3, lora_alpha=32, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
                    "lm_head"]))
for name, p in adapted.named_parameters():
    if "lora_" in name:
        p.data = torch.randn(p.shape).mul(0.2).double()
adapted.eval()

tokens = torch.randint(0, 40, (13,))
targets = torch.randint(0, 40, (13,))
weights = torch.randn(13)
logits = adapted(input_ids=tokens[None]).logits[0]
p = torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0]
loss = -(p * weights.double()).sum()
loss.backward()

for name, q in adapted.named_parameters():
    if "lora_" in name:
        key = name.replace(".default", "")
        out[key] = q.detach().float().contiguous()
        out["grad." + key] = q.grad.float().contiguous()
out.update(tokens=tokens, targets=targets, weights=weights, logprobs=p.detach().float())
save_file(out, sys.argv[1], metadata={"format": "pt", "loss": repr(loss.item())})
