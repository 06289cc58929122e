#!/usr/bin/env python3
"""One eager step of supervised fine-tuning of a small Llama (language.py) by transformers' LlamaForCausalLM.

fp32, random tokens without padding, cross entropy, AdamW with PyTorch's defaults. The shape is rows x tokens (default 8x256).
Prints one JSON object; extra_bytes: the peak of the resident set minus what it was after the imports. README.md in this folder
says how to install PyTorch.
"""

import torch

import language
import peer

IMPORTED = peer.resident("VmRSS")


def prepare(shape):
    rows, length = peer.sizes(shape)
    model = language.decoder().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    tokens = torch.randint(0, 8192, (rows, length))

    def step():
        optimizer.zero_grad()
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()

    return step, lambda samples: {"extra_bytes": peer.resident("VmHWM") - IMPORTED}


if __name__ == "__main__":
    peer.run("lm_step", peer.arguments(__doc__, ["8x256"], tuned=True), prepare)
