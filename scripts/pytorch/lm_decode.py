#!/usr/bin/env python3
"""Greedy decoding of one text by a small Llama (language.py) with transformers' generate and its cache of keys and values.

fp32. The shape is tokens of the prompt x tokens that are written (default 16x128); a sample is all of them. Prints one JSON
object. README.md in this folder says how to install PyTorch.
"""

import torch

import language
import peer


def prepare(shape, device):
    prompt, count = peer.sizes(shape)
    model = language.decoder().to(device).eval()
    tokens = torch.randint(0, 8192, (1, prompt), device=device)

    def step():
        with torch.inference_mode():
            written = model.generate(
                tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=count, use_cache=True)
        assert written.shape[1] == prompt + count

    return step, lambda samples: {}


if __name__ == "__main__":
    peer.run("lm_decode", peer.arguments(__doc__, ["16x128"]), prepare)
