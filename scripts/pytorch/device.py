#!/usr/bin/env python3
"""The device that is measured: whether it is there, how exactly it computes, when it is idle, what memory was needed.

  python device.py --device cuda      says what PyTorch has there as one JSON object, or why there is nothing (exit 69)

"cuda" is an NVIDIA GPU, and an AMD one where PyTorch was built for ROCm.
"""

import argparse
import json
import re
import sys

import torch

DEVICES = ["cpu", "cuda"]
# sysexits.h's EX_UNAVAILABLE, which is what `retort` ends with when a device is not there.
NOT_THERE = 69


def add_option(parser):
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where it is measured (default cpu)")


def prepare(device):
    """Ends the program when the device is not there; else makes its fp32 what is compared: fp32, not TF32's ten bits."""
    if device == "cpu":
        return
    if not torch.cuda.is_available():
        built_for_gpus = torch.version.cuda or torch.version.hip
        print(
            f"PyTorch {torch.__version__} has no device \"cuda\": "
            + ("no NVIDIA or AMD GPU that its driver and this build can use is visible; look at nvidia-smi or rocminfo"
               if built_for_gpus else "it is built for the CPU alone; install its CUDA or ROCm build"),
            file=sys.stderr)
        sys.exit(NOT_THERE)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    # The fastest of cuDNN's algorithms for a shape, found in the untimed repetitions.
    torch.backends.cudnn.benchmark = True


def name(device):
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


def wait(device):
    """Returns when the device has nothing left to do."""
    if device == "cuda":
        torch.cuda.synchronize()


class ExtraMemory:
    """Bytes at the worst moment beyond what was held when this was made: of the GPU's memory, or of the process as Linux counts it."""

    def __init__(self, device):
        self.device = device
        # The first wait also starts the GPU's allocator, which keeps the counters.
        wait(device)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self.before = torch.cuda.memory_allocated() if device == "cuda" else resident("VmRSS")

    def bytes(self):
        return (torch.cuda.max_memory_allocated() if self.device == "cuda" else resident("VmHWM")) - self.before


def resident(field):
    """Bytes of this process in memory: VmRSS now, VmHWM at the worst moment."""
    with open("/proc/self/status", encoding="ascii") as status:
        return int(re.search(field + r":\s+(\d+) kB", status.read()).group(1)) << 10


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_option(parser)
    asked = parser.parse_args().device
    prepare(asked)
    print(json.dumps({"torch": torch.__version__, "device": name(asked)}))
