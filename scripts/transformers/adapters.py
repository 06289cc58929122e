"""What PEFT makes of adapters that Retort saved. See README.md."""

import json
import sys
import warnings
from pathlib import Path

import torch
import transformers
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file


def check(case: Path) -> dict:
    config = json.loads((case / "adapter" / "adapter_config.json").read_text())
    base = transformers.AutoModelForCausalLM.from_pretrained(
        config["base_model_name_or_path"], torch_dtype=torch.float32, attn_implementation="eager").eval()
    tensors = load_file(case / "expected.safetensors")
    ids, expected = tensors["input_ids"], tensors["output"]
    with torch.no_grad():
        before = base(input_ids=ids).logits
        model = PeftModel.from_pretrained(base, case / "adapter").eval()
        own = model(input_ids=ids).logits
    stored = load_file(case / "adapter" / "adapter_model.safetensors")
    loaded = get_peft_model_state_dict(model)
    return {
        "case": case.name,
        "unused": sorted(set(stored) - set(loaded)),
        "missing": sorted(set(loaded) - set(stored)),
        "max_abs_err": (own - expected).abs().max().item(),
        "max_abs_change": (own - before).abs().max().item(),
        "max_abs": expected.abs().max().item(),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for case in sorted(Path(sys.argv[1]).iterdir()):
        print(json.dumps(check(case)), flush=True)


main()
