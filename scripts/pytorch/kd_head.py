#!/usr/bin/env python3
"""PyTorch's dense distillation of a language model's last layer, eager, with its backward: both heads, log_softmax, softmax, kl_div * T^2.

From hidden states of student and teacher to the gradients of the student's hidden states and head; mean over tokens, T = 2. The shape is
tokens x student's width x vocabulary x teacher's width. `extra_bytes` is the resident memory at the worst moment of all steps beyond what the
process held before the first: the logits, and the head's gradient, which is new in every step, less the gradient's own size, which
every engine needs. README.md in this folder says how to install PyTorch.
"""

import resource

import torch
import torch.nn.functional as F

import peer

TEMPERATURE = 2.0


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def prepare(shape):
    tokens, width, classes, teacher_width = peer.sizes(shape)
    student = (3 * torch.randn(tokens, width)).requires_grad_()
    head = (torch.randn(classes, width) / width**0.5).requires_grad_()
    teacher = 3 * torch.randn(tokens, teacher_width)
    teacher_head = torch.randn(classes, teacher_width) / teacher_width**0.5
    before = resident()

    def step():
        student.grad = head.grad = None
        with torch.no_grad():
            p = F.softmax(F.linear(teacher, teacher_head) / TEMPERATURE, dim=-1)
        log_q = F.log_softmax(F.linear(student, head) / TEMPERATURE, dim=-1)
        loss = F.kl_div(log_q, p, reduction="batchmean") * TEMPERATURE**2
        loss.backward()

    def facts(samples):
        seconds = peer.quantile(samples, 0.5) * 1e-6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {
            "gflops": round(2 * tokens * classes * (3 * width + teacher_width) / seconds / 1e9, 1),
            "extra_bytes": peak - before - 4 * classes * width,
            "temperature": TEMPERATURE,
        }

    return step, facts


if __name__ == "__main__":
    peer.run("kd_head", peer.arguments(__doc__, ["2048x576x49152x1152", "1024x896x151936x1792"], tuned=True), prepare)
