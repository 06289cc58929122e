#!/usr/bin/env python3
"""PyTorch's dense distillation of a language model's last layer, eager, with its backward: both heads, log_softmax, softmax, kl_div * T^2.

From hidden states of student and teacher to the gradients of the student's hidden states and head; mean over tokens, T = 2. The shape is
tokens x student's width x vocabulary x teacher's width. `extra_bytes` is the memory (resident, or the GPU's) at the worst moment of all
steps beyond what was held before the first: the logits, and the head's gradient, which is new in every step, less the gradient's own
size, which every engine needs. README.md in this folder says how to install PyTorch.
"""

import torch
import torch.nn.functional as F

import peer
from device import ExtraMemory

TEMPERATURE = 2.0


def prepare(shape, device):
    tokens, width, classes, teacher_width = peer.sizes(shape)
    student = (3 * torch.randn(tokens, width, device=device)).requires_grad_()
    head = (torch.randn(classes, width, device=device) / width**0.5).requires_grad_()
    teacher = 3 * torch.randn(tokens, teacher_width, device=device)
    teacher_head = torch.randn(classes, teacher_width, device=device) / teacher_width**0.5
    memory = ExtraMemory(device)

    def step():
        student.grad = head.grad = None
        with torch.no_grad():
            p = F.softmax(F.linear(teacher, teacher_head) / TEMPERATURE, dim=-1)
        log_q = F.log_softmax(F.linear(student, head) / TEMPERATURE, dim=-1)
        loss = F.kl_div(log_q, p, reduction="batchmean") * TEMPERATURE**2
        loss.backward()

    def facts(samples):
        seconds = peer.quantile(samples, 0.5) * 1e-6
        return {
            "gflops": round(2 * tokens * classes * (3 * width + teacher_width) / seconds / 1e9, 1),
            "extra_bytes": memory.bytes() - 4 * classes * width,
            "temperature": TEMPERATURE,
        }

    return step, facts


if __name__ == "__main__":
    peer.run("kd_head", peer.arguments(__doc__, ["2048x576x49152x1152", "1024x896x151936x1792"], tuned=True), prepare)
