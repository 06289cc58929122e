"""What the measurements share: options, timing, the round protocol, one JSON object per result.

Two ways to run each script:

  python gemm.py                      every shape once, one JSON object a line
  python gemm.py --shape 512x512x512 --rounds 1
                                      waits for the line "go N" on stdin, makes N timed repetitions, prints one JSON
                                      object, and ends after that many rounds (--rounds 0: until stdin closes). Nothing is
                                      allocated and nothing runs before the first "go", so that a parent program can let two
                                      engines take turns (A B A B ...) in two child processes without one disturbing the other.
"""

import argparse
import json
import os
import re
import sys
import time

import torch

import device as devices

WARM_UP = 3
# glibc hands every large block back to the kernel and faults it in again; these settings make it keep them.
TUNED_ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(64 << 30),
    "MALLOC_TOP_PAD_": str(1 << 30),
}


def arguments(description, shapes, tuned=False, choices=()):
    """Parses the common options. `shapes` are the defaults, `ROWSxCOLUMNS` or `MxNxK`; `choices` pairs of a further option's name and what
    it can be, the default first."""
    parser = argparse.ArgumentParser(description=description)
    devices.add_option(parser)
    parser.add_argument("--shape", action="append", metavar="AxB", help=f"repeatable; default: {' '.join(shapes)}")
    parser.add_argument("--repeat", type=int, default=7, help="timed repetitions of a plain run (default 7)")
    parser.add_argument("--rounds", type=int, help='wait for "go N" lines on stdin; 0 = until it closes')
    parser.add_argument("--threads", type=int, help="threads inside an operation (default: PyTorch's own choice)")
    parser.add_argument("--calls", type=int, default=1, help="steps of one repetition; times are of one step (default 1)")
    for option, values in choices:
        parser.add_argument("--" + option, choices=values, default=values[0], help=f"default {values[0]}")
    if tuned:
        parser.add_argument("--tuned", action="store_true", help="run again with glibc's allocator told to keep memory")
    options = parser.parse_args()
    options.shape = options.shape or shapes
    for shape in options.shape:
        if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", shape):
            parser.error(f"--shape {shape}: expected numbers joined by x")
    if options.calls < 1:
        parser.error(f"--calls {options.calls}: expected 1 or more")
    if options.rounds is not None and len(options.shape) != 1:
        parser.error("--rounds needs exactly one --shape")
    if tuned and options.tuned and any(os.environ.get(k) != v for k, v in TUNED_ALLOCATOR.items()):
        os.environ.update(TUNED_ALLOCATOR)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if options.threads:
        torch.set_num_threads(options.threads)
    devices.prepare(options.device)
    torch.manual_seed(0)
    return options


def sizes(shape):
    return [int(part) for part in shape.split("x")]


def measure(step, count, options):
    """Microseconds a step of `count` repetitions, one by one, each from an idle device to an idle device."""
    samples = []
    devices.wait(options.device)
    for _ in range(count):
        start = time.perf_counter_ns()
        for _ in range(options.calls):
            step()
        devices.wait(options.device)
        samples.append((time.perf_counter_ns() - start) / 1e3 / options.calls)
    return samples


def quantile(samples, q):
    ordered = sorted(samples)
    position = q * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def first_match(pattern, text):
    found = re.search(pattern, text)
    return found.group(1) if found else None


def report(kernel, shape, device, samples, **more):
    configuration = torch.__config__.show()
    print(
        json.dumps(
            {
                "kernel": kernel,
                "shape": shape,
                "median_us": round(quantile(samples, 0.5), 2),
                "best_us": round(min(samples), 2),
                "p20_us": round(quantile(samples, 0.2), 2),
                "p80_us": round(quantile(samples, 0.8), 2),
                "samples": [round(s, 2) for s in samples],
                "torch": torch.__version__,
                "device": devices.name(device),
                "threads": torch.get_num_threads(),
                "mkl": first_match(r"Math Kernel Library Version ([\w.]+)", configuration),
                "cpu_capability": torch.backends.cpu.get_cpu_capability(),
                "allocator": "tuned" if os.environ.get("MALLOC_MMAP_MAX_") == "0" else "default",
                "load": round(os.getloadavg()[0], 2),
                **more,
            }
        ),
        flush=True,
    )


def run(kernel, options, prepare):
    """`prepare(shape, device)` allocates on the device and returns the function to time, and a dictionary of further facts."""
    if options.rounds is None:
        for shape in options.shape:
            step, facts = prepare(shape, options.device)
            measure(step, WARM_UP, options)
            samples = measure(step, options.repeat, options)
            report(kernel, shape, options.device, samples, **facts(samples))
        return
    step = None
    done = 0
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            break
        if len(words) != 2 or words[0] != "go" or not words[1].isdigit() or int(words[1]) < 1:
            sys.exit(f"expected 'go N', got {line.strip()!r}")
        if step is None:
            step, facts = prepare(options.shape[0], options.device)
            measure(step, WARM_UP, options)
        samples = measure(step, int(words[1]), options)
        report(kernel, options.shape[0], options.device, samples, **facts(samples))
        done += 1
        if done == options.rounds:
            break
