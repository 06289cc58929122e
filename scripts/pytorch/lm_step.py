#!/usr/bin/env python3
"""One eager step of supervised fine-tuning of a small Llama (language.py) by transformers' LlamaForCausalLM.

fp32, random tokens without padding, cross entropy, AdamW with PyTorch's defaults. The shape is rows x tokens (default 8x256).
Prints one JSON object; extra_bytes: memory (resident, or the GPU's) at the worst moment beyond what was held after the imports.
README.md in this folder says how to install PyTorch.
"""

import torch

import language
import peer
from device import ExtraMemory


def prepare(shape, device):
    memory = ExtraMemory(device)
    rows, length = peer.sizes(shape)
    model = language.decoder().to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    tokens = torch.randint(0, 8192, (rows, length), device=device)

    def step():
        optimizer.zero_grad()
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()

    return step, lambda samples: {"extra_bytes": memory.bytes()}


if __name__ == "__main__":
    peer.run("lm_step", peer.arguments(__doc__, ["8x256"], tuned=True), prepare)
