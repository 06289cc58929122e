#!/usr/bin/env python3
"""PyTorch's fp32 two-dimensional convolution, padding = kernel / 2, on contiguous NCHW tensors: what a training step calls.

Shapes are NxCxHxWxOUTPUTSxKERNELxSTRIDE, with xGROUPS where there are several. --pass says what is computed: y, dx or dweight.
Prints one JSON object per shape. README.md in this folder says how to install PyTorch.
"""

import torch

import peer

SHAPES = [
    "64x3x32x32x16x3x1", "64x16x32x32x16x3x1", "64x16x32x32x32x3x2", "64x16x32x32x32x1x2", "64x32x16x16x32x3x1",
    "64x32x16x16x64x3x2", "64x32x16x16x64x1x2", "64x64x8x8x64x3x1", "64x3x224x224x64x7x2", "64x64x56x56x64x3x1",
    "64x64x56x56x128x3x2", "64x64x56x56x128x1x2", "64x128x28x28x128x3x1", "64x128x28x28x256x3x2",
    "64x128x28x28x256x1x2", "64x256x14x14x256x3x1", "64x256x14x14x512x3x2", "64x256x14x14x512x1x2",
    "64x512x7x7x512x3x1", "64x32x16x16x192x1x1", "64x192x16x16x32x1x1", "64x192x16x16x192x3x1x192",
    "64x192x16x16x192x3x2x192",
]
PASSES = ["forward", "input", "weight"]


def preparing(direction):
    def prepare(shape, device):
        n, c, h, w, outputs, kernel, stride, *rest = peer.sizes(shape)
        groups = rest[0] if rest else 1
        x = torch.randn(n, c, h, w, device=device)
        weight = torch.randn(outputs, c // groups, kernel, kernel, device=device)
        sizes = {"stride": stride, "padding": kernel // 2, "groups": groups}
        y = torch.nn.functional.conv2d(x, weight, **sizes)
        dy = torch.randn_like(y)

        def backward(wanted):
            pair = [kernel // 2] * 2
            torch.ops.aten.convolution_backward(
                dy, x, weight, None, [stride] * 2, pair, [1, 1], False, [0, 0], groups, wanted
            )

        def step():
            if direction == "forward":
                torch.nn.functional.conv2d(x, weight, **sizes)
            else:
                backward([direction == "input", direction == "weight", False])

        def facts(samples):
            flops = 2 * y.numel() * weight[0].numel()
            return {"gflops": round(flops / (peer.quantile(samples, 0.5) * 1e-6) / 1e9, 1)}

        return step, facts

    return prepare


if __name__ == "__main__":
    options = peer.arguments(__doc__, SHAPES, choices=[("pass", PASSES)])
    direction = getattr(options, "pass")
    with torch.inference_mode():
        peer.run("conv_" + direction, options, preparing(direction))
