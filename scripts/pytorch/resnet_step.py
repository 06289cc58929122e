#!/usr/bin/env python3
"""One eager training step of ResNet-20 with Hinton's distillation from ResNet-56, the teacher's forward pass included.

CIFAR's residual networks (He et al. 2016; 16, 32, 64 channels, 1x1 convolutions where shapes change), 100 classes, random images
3x32x32, T = 4, loss = 0.9 * T^2 * KL(teacher, student; batchmean) + 0.1 * cross entropy, SGD with momentum 0.9 and weight decay
5e-4. The shape is the batch (default 64). Prints one JSON object; extra_bytes: memory
(resident, or the GPU's) at the worst moment beyond what was held after the imports. README.md in this folder says how to install PyTorch.
"""

import torch
import torch.nn.functional as F
from torch import nn

import peer
from device import ExtraMemory

TEMPERATURE, ALPHA = 4.0, 0.9


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        changes = stride != 1 or inputs != outputs
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if changes else nn.Identity())

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


def resnet(depth, classes=100):
    blocks, layers, inputs = (depth - 2) // 6, [], 16
    for stage, outputs in enumerate((16, 32, 64)):
        for block in range(blocks):
            layers.append(Block(inputs, outputs, 2 if stage > 0 and block == 0 else 1))
            inputs = outputs
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    return nn.Sequential(*stem, *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def prepare(shape, device):
    (batch,) = peer.sizes(shape)
    memory = ExtraMemory(device)
    teacher, student = resnet(56).to(device).eval().requires_grad_(False), resnet(20).to(device)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    images = torch.randn(batch, 3, 32, 32, device=device)
    labels = torch.randint(0, 100, (batch,), device=device)

    def step():
        optimizer.zero_grad()
        with torch.no_grad():
            p = F.softmax(teacher(images) / TEMPERATURE, dim=-1)
        logits = student(images)
        divergence = F.kl_div(F.log_softmax(logits / TEMPERATURE, dim=-1), p, reduction="batchmean")
        loss = ALPHA * TEMPERATURE**2 * divergence + (1 - ALPHA) * F.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()

    return step, lambda samples: {"extra_bytes": memory.bytes()}


if __name__ == "__main__":
    peer.run("resnet_step", peer.arguments(__doc__, ["64"]), prepare)
