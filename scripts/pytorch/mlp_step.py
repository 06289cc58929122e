#!/usr/bin/env python3
"""One eager training step of a student with Hinton's distillation, the teacher's forward pass included.

Teacher 784-2048-2048-10 (frozen), student 784-1024-1024-10, ReLU between layers, random data, T = 4,
loss = 0.9 * T^2 * KL(teacher, student; batchmean) + 0.1 * cross entropy, AdamW with PyTorch's defaults.
The shape is the batch (default 128). Prints one JSON object. README.md in this folder says how to install PyTorch.
"""

import torch
import torch.nn.functional as F

import peer

TEMPERATURE, ALPHA = 4.0, 0.9


def perceptron(*widths):
    layers = []
    for index, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        layers += [torch.nn.ReLU()] * (index > 0) + [torch.nn.Linear(inputs, outputs)]
    return torch.nn.Sequential(*layers)


def prepare(shape, device):
    (batch,) = peer.sizes(shape)
    teacher = perceptron(784, 2048, 2048, 10).to(device).requires_grad_(False)
    student = perceptron(784, 1024, 1024, 10).to(device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
    pixels, labels = torch.randn(batch, 784, device=device), torch.randint(0, 10, (batch,), device=device)

    def step():
        optimizer.zero_grad()
        with torch.no_grad():
            p = F.softmax(teacher(pixels) / TEMPERATURE, dim=-1)
        logits = student(pixels)
        divergence = F.kl_div(F.log_softmax(logits / TEMPERATURE, dim=-1), p, reduction="batchmean")
        loss = ALPHA * TEMPERATURE**2 * divergence + (1 - ALPHA) * F.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()

    def facts(samples):
        # Multiply-adds of the products alone: teacher forward; student forward, weight gradients, input gradients (not the first).
        teacher_macs = 784 * 2048 + 2048 * 2048 + 2048 * 10
        student_macs = 784 * 1024 + 1024 * 1024 + 1024 * 10
        macs = batch * (teacher_macs + 3 * student_macs - 784 * 1024)
        return {"gflops": round(2 * macs / (peer.quantile(samples, 0.5) * 1e-6) / 1e9, 1)}

    return step, facts


if __name__ == "__main__":
    peer.run("mlp_step", peer.arguments(__doc__, ["128"]), prepare)
