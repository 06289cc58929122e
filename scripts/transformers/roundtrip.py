"""What transformers makes of directories that Retort saved. See README.md."""

import json
import sys
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

KINDS = ("missing_keys", "unexpected_keys", "mismatched_keys")


def check(case: Path) -> dict:
    config = transformers.AutoConfig.from_pretrained(case / "model")
    model_class = getattr(transformers, config.architectures[0])
    model, info = model_class.from_pretrained(
        case / "model", output_loading_info=True, torch_dtype=torch.float32, attn_implementation="eager")
    tensors = load_file(case / "expected.safetensors")
    inputs = {name: tensors[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in tensors}
    with torch.no_grad():
        output = model.eval()(**inputs)
    own = output.logits if hasattr(output, "logits") else output.last_hidden_state
    expected = tensors["output"]
    keep = tensors["attention_mask"].bool()
    if own.dim() == 3:
        own, expected = own[keep], expected[keep]
    return {
        "case": case.name,
        "class": model_class.__name__,
        **{kind: sorted(str(key) for key in info[kind]) for kind in KINDS},
        "parameters": sum(p.numel() for p in model.parameters()),
        "max_abs_err": (own - expected).abs().max().item(),
        "max_abs": expected.abs().max().item(),
        "shape": list(own.shape),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for case in sorted(Path(sys.argv[1]).iterdir()):
        print(json.dumps(check(case)), flush=True)


main()
