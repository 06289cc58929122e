#!/usr/bin/env python3
"""PyTorch's matrix product C[M, N] = A[M, K] . B[K, N], row-major, written into a C that exists already.

--dtype is that of all three; bf16's sums are what PyTorch does by itself. --layout says what is stored transposed: nothing (nn), B (nt, as a
Linear layer has its weight) or A (tn, as its weight gradient has dy). Prints one JSON object per shape (MxNxK). README.md in this folder
says how to install PyTorch.
"""

import torch

import peer

SHAPES = ["512x512x512", "1024x1024x1024", "2048x2048x2048", "512x1536x576", "512x576x49152", "512x49152x576"]
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
LAYOUTS = ["nn", "nt", "tn"]


def preparing(dtype, layout):
    def prepare(shape, device):
        m, n, k = peer.sizes(shape)

        def matrix(rows, columns, transposed=False):
            stored = torch.randn((columns, rows) if transposed else (rows, columns), device=device).to(DTYPES[dtype])
            return stored.t() if transposed else stored

        a, b = matrix(m, k, layout == "tn"), matrix(k, n, layout == "nt")
        c = torch.empty(m, n, dtype=DTYPES[dtype], device=device)

        def step():
            torch.mm(a, b, out=c)

        def facts(samples):
            gflops = 2 * m * n * k / (peer.quantile(samples, 0.5) * 1e-6) / 1e9
            return {"dtype": dtype, "layout": layout, "gflops": round(gflops, 1)}

        return step, facts

    return prepare


if __name__ == "__main__":
    options = peer.arguments(__doc__, SHAPES, choices=[("dtype", list(DTYPES)), ("layout", LAYOUTS)])
    peer.run("gemm", options, preparing(options.dtype, options.layout))
