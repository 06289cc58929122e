#!/usr/bin/env python3
"""PyTorch's fp32 matrix product C[M, N] = A[M, K] . B[K, N], row-major, written into a C that exists already.

Prints one JSON object per shape (MxNxK). README.md in this folder says how to install PyTorch.
"""

import torch

import peer

SHAPES = ["512x512x512", "1024x1024x1024", "2048x2048x2048", "512x1536x576", "512x576x49152", "512x49152x576"]


def prepare(shape):
    m, n, k = peer.sizes(shape)
    a, b, c = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)

    def step():
        torch.mm(a, b, out=c)

    def facts(samples):
        return {"gflops": round(2 * m * n * k / (peer.quantile(samples, 0.5) * 1e-6) / 1e9, 1)}

    return step, facts


if __name__ == "__main__":
    peer.run("gemm", peer.arguments(__doc__, SHAPES), prepare)
