#!/usr/bin/env python3
"""PyTorch's Hinton term on rows of logits, eager: log_softmax + softmax + kl_div(batchmean) * T^2, and its backward.

Prints one JSON object per shape (rows x classes). --tuned runs again with glibc's allocator told to keep big blocks, which is the
fair second figure: without it most of the time is page faults. README.md in this folder says how to install PyTorch.
"""

import torch
import torch.nn.functional as F

import peer

TEMPERATURE = 4.0


def prepare(shape, device):
    rows, classes = peer.sizes(shape)
    teacher = torch.randn(rows, classes, device=device)
    student = torch.randn(rows, classes, device=device, requires_grad=True)

    def step():
        student.grad = None
        log_q = F.log_softmax(student / TEMPERATURE, dim=-1)
        p = F.softmax(teacher / TEMPERATURE, dim=-1)
        loss = F.kl_div(log_q, p, reduction="batchmean") * TEMPERATURE**2
        loss.backward()

    def facts(samples):
        # Two reads (teacher, student) and one write (gradient): what a fused kernel has to move.
        seconds = peer.quantile(samples, 0.5) * 1e-6
        return {"gbps": round(3 * 4 * rows * classes / seconds / 1e9, 2), "temperature": TEMPERATURE}

    return step, facts


if __name__ == "__main__":
    peer.run("kd_rows", peer.arguments(__doc__, ["2048x32000", "512x151936", "8192x100"], tuned=True), prepare)
