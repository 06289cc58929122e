"""Writes Tests/Fixtures/zoo/published.json: what the networks of the CIFAR distillation zoo are, from a checkout of
github.com/HobbitLong/RepDistiller.

    python scripts/zoo/published.py CHECKOUT > Tests/Fixtures/zoo/published.json

full: name, shape and start of every array of one network of each family. digests: of the sorted lines "name shape" of every network,
FNV-1a with 64 bits. answers: logits (five of 100 classes, two images), and mean and mean square of each feature after and before its
activation, in float64 and evaluation mode, of weights and images that `hashed` makes from their names."""
import contextlib
import io
import json
import math
import re
import sys

import numpy as np
import torch

sys.path.insert(0, sys.argv[1])
with contextlib.redirect_stdout(io.StringIO()):
    from models import model_dict, resnetv2
    from models.ShuffleNetv1 import ShuffleNet
    from models.ShuffleNetv2 import ShuffleNetV2, configs

    makers = dict(model_dict)
    makers["ResNet101"] = resnetv2.ResNet101
    makers["ResNet152"] = resnetv2.ResNet152
    # One and a half times the channels keeps the stem, as this code has it.
    makers["ShuffleV1-1.5"] = lambda **k: ShuffleNet({"out_planes": [360, 720, 1440], "num_blocks": [4, 8, 4], "groups": 3}, **k)
    for size in configs:
        if size != 1:
            makers[f"ShuffleV2-{size:g}"] = lambda size=size, **k: ShuffleNetV2(net_size=size, **k)
    torch.manual_seed(0)
    networks = {name: make(num_classes=100) for name, make in makers.items()}

FULL = ["resnet8", "ResNet50", "wrn_16_2", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"]
ANSWERS = FULL + ["resnet8x4", "vgg13", "wrn_40_1", "ShuffleV2-0.2"]


def state(network):
    return {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}


def start(name, tensor):
    """How fresh weights are distributed: a constant, or whichever of the rules the numbers obey."""
    x = tensor.double().flatten()
    if x.numel() == 1 or x.min() == x.max():
        return f"constant {x[0].item():g}"
    kernel = tensor[0, 0].numel() if tensor.dim() == 4 else 1
    fan_in = tensor[0].numel() if tensor.dim() > 1 else fan_in_of_bias[name]
    bound = 1 / math.sqrt(fan_in)
    rules = {f"uniform {bound:.6g}": bound / math.sqrt(3)}
    if tensor.dim() == 4:
        he = math.sqrt(2 / (kernel * tensor.shape[0]))
        rules[f"normal {he:.6g}"] = he
    if tensor.dim() == 2:
        rules["normal 0.01"] = 0.01
    fits = []
    for rule, deviation in rules.items():
        off = abs(math.log(x.std().item() / deviation))
        # Nothing of a uniform lies beyond its bound.
        if rule.startswith("uniform") and x.abs().max() > float(rule.split()[1]) * 1.0001:
            continue
        if rule.startswith("normal") and x.numel() > 200 and x.abs().max() < 2.2 * deviation:
            continue
        fits.append((off, rule))
    off, rule = min(fits)
    assert off < 6 / math.sqrt(2 * x.numel()), (name, off, rules, x.std())
    return rule


def digest(text, bits=64):
    h, prime = (0xCBF29CE484222325, 0x100000001B3) if bits == 64 else (0x811C9DC5, 0x01000193)
    for byte in text.encode():
        h = ((h ^ byte) * prime) % (1 << bits)
    return h


def shape(tensor):
    return "x".join(map(str, tensor.shape))


def hashed(name, count):
    """count numbers in [-1, 1) that any language can make from a name."""
    with np.errstate(over="ignore"):
        h = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(digest(name, 32))
        for shift in (15, 13):
            h ^= h >> np.uint32(shift)
            h *= np.uint32(2246822519)
        h ^= h >> np.uint32(16)
    return h.astype(np.float64) / 2**31 - 1


def filled(network):
    new = {}
    for name, tensor in state(network).items():
        u = hashed(name, tensor.numel())
        if tensor.dim() > 1:
            u *= math.sqrt(6 / tensor[0].numel())
        elif name.endswith("running_var") or (name.endswith("weight")):
            u = 1 + 0.5 * u
        else:
            u *= 0.3
        new[name] = torch.from_numpy(u.astype(np.float32)).reshape(tensor.shape)
    missing, unexpected = network.load_state_dict(new, strict=False)
    assert not unexpected and all(m.endswith("num_batches_tracked") for m in missing)
    return network.double().eval()


result = {
    "source": "github.com/HobbitLong/RepDistiller, models/, run with torch " + torch.__version__,
    "full": {}, "digests": {}, "answers": {},
}
for name, network in networks.items():
    arrays = state(network)
    lines = sorted(f"{k} {shape(v)}" for k, v in arrays.items())
    result["digests"][name] = {
        "arrays": len(lines), "parameters": sum(p.numel() for p in network.parameters()),
        "fnv1a": f"{digest(chr(10).join(lines)):016x}",
    }
    if name in FULL:
        fan_in_of_bias = {
            k[: -len("weight")] + "bias": v[0].numel() for k, v in arrays.items() if k.endswith("weight") and v.dim() > 1
        }
        result["full"][name] = [f"{k} {shape(v)} {start(k, v)}" for k, v in arrays.items()]
for name in ANSWERS:
    network = filled(networks[name])
    x = torch.from_numpy(hashed("images", 2 * 3 * 32 * 32).astype(np.float32).astype(np.float64)).reshape(2, 3, 32, 32)
    with torch.no_grad():
        features, logits = network(x, is_feat=True, preact=False)
        before, again = network(x, is_feat=True, preact=True)
        assert torch.equal(logits, again)
    result["answers"][name] = {
        "logits": [float(f"{v:.9g}") for v in logits[:, :5].flatten().tolist()],
        "features": [[float(f"{f.mean().item():.9g}"), float(f"{f.square().mean().item():.9g}")] for f in features],
        "preactivations": [[float(f"{f.mean().item():.9g}"), float(f"{f.square().mean().item():.9g}")] for f in before],
    }
# A line for each array of the state and for each list of numbers.
text = json.dumps(result, indent=1)
print(re.sub(r"\[[-\d.,e\s\[\]]*\]", lambda m: re.sub(r"\s+", " ", m.group()), text))
