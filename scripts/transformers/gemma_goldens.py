"""Reference results of tiny random Gemmas, in the form of Tests/Fixtures/golden/models. See README.md.

The numbers are float64 computations from weights that were rounded to float32. transformers normalises and takes softmaxes in
float32 whatever the model is; here both are the same lines in the model's own type, and `f32_err` is what an untouched float32
run is away from them.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers.models.gemma import modeling_gemma
from transformers.models.gemma2 import modeling_gemma2

TOKENS = 97
COMMON = dict(
    vocab_size=TOKENS, hidden_size=48, intermediate_size=64, num_attention_heads=4, head_dim=16,
    max_position_embeddings=128, bos_token_id=2, eos_token_id=1, pad_token_id=0, attn_implementation="eager")
MODELS = {
    # Caps so low that random weights meet them, a scale that is not 1 / √head_dim, and a window shorter than the texts.
    "gemma2": (transformers.Gemma2Config, transformers.Gemma2ForCausalLM, dict(
        num_hidden_layers=3, num_key_value_heads=2, query_pre_attn_scalar=24, sliding_window=5,
        attn_logit_softcapping=3.0, final_logit_softcapping=4.0)),
    "gemma": (transformers.GemmaConfig, transformers.GemmaForCausalLM, dict(num_hidden_layers=2, num_key_value_heads=1)),
}
ADAM = dict(lr=0.003, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
SAMPLES_OF_TRAINING = ("model.embed_tokens.weight", "model.layers.1.self_attn.q_proj.weight", "model.norm.weight")


def draw(model, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Embeddings small beside what blocks add: a tied head would repeat the last token for ever.
            scale = 0.15 if name.endswith("norm.weight") else 0.1 if "embed" in name else 0.25
            parameter.copy_(torch.randn(parameter.shape, generator=random) * scale + 2.5 * (name == "model.norm.weight"))


class InOwnType:
    """Norm and attention of both modules without their float32."""

    def __enter__(self):
        self.old = []
        for module, norm in ((modeling_gemma, "GemmaRMSNorm"), (modeling_gemma2, "Gemma2RMSNorm")):
            self.old.append((getattr(module, norm), "forward", getattr(module, norm).forward))
            self.old.append((module, "eager_attention_forward", module.eager_attention_forward))
            getattr(module, norm).forward = lambda self, x: self._norm(x) * (1.0 + self.weight)
            module.eager_attention_forward = attend

    def __exit__(self, *_):
        for place, name, value in self.old:
            setattr(place, name, value)


def attend(module, query, key, value, mask, dropout=0.0, scaling=None, softcap=None, **_):
    key = modeling_gemma2.repeat_kv(key, module.num_key_value_groups)
    value = modeling_gemma2.repeat_kv(value, module.num_key_value_groups)
    scores = query @ key.transpose(2, 3) * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    probabilities = torch.softmax(scores if mask is None else scores + mask, dim=-1)
    return (probabilities @ value).transpose(1, 2).contiguous(), probabilities


def loss_of(logits, labels):
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), ignore_index=-100)


def run(model, batch, prompt):
    """Everything that is compared, in the model's own type."""
    result, losses = {}, []
    optimizer = torch.optim.AdamW(model.parameters(), **ADAM)
    for step in range(4):
        output = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False,
            output_hidden_states=step == 0, output_attentions=step == 0)
        loss = loss_of(output.logits, batch["labels"])
        losses.append(loss.item())
        if step == 0:
            result["logits"] = output.logits
            result |= {f"hidden_states.{i}": x for i, x in enumerate(output.hidden_states)}
            result |= {f"attentions.{i}": x for i, x in enumerate(output.attentions)}
            text, margins = list(prompt), []
            with torch.no_grad():
                for _ in range(32):
                    best = model(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1].topk(2)
                    margins.append((best.values[0] - best.values[1]).item())
                    text.append(best.indices[0].item())
        if step == 3:
            break
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            result |= {"grad." + name: p.grad.clone() for name, p in model.named_parameters()}
        optimizer.step()
    parameters = dict(model.named_parameters())
    result |= {"after3." + name: parameters[name].clone() for name in SAMPLES_OF_TRAINING}
    return {name: x.detach().double() for name, x in result.items()}, losses, text[len(prompt):], min(margins)


def make(name: str, folder: Path) -> None:
    config_class, model_class, sizes = MODELS[name]
    rows = torch.Generator().manual_seed(11)
    ids = torch.randint(3, TOKENS, (2, 12), generator=rows)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    labels = torch.where(mask == 1, ids, -100)
    labels[0, :3] = -100
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    prompt = torch.randint(3, TOKENS, (5,), generator=rows).tolist()
    # A seed whose greedy text is a choice at each token, the same for any correct float32 computation.
    for seed in range(1000):
        model = model_class(config_class(**COMMON, **sizes)).eval()
        draw(model, seed)
        start = {key: value.clone() for key, value in model.state_dict().items()}
        with InOwnType():
            exact, losses, text, margin = run(model.double(), batch, prompt)
        if margin >= 0.02 and len(set(text)) >= 12:
            break
    model = model_class(config_class(**COMMON, **sizes)).eval()
    model.load_state_dict(start)
    target = folder / name
    model.save_pretrained(target)
    cached = model.generate(
        torch.tensor([prompt]), max_new_tokens=32, do_sample=False, eos_token_id=None, pad_token_id=0,
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long))[0, len(prompt):].tolist()
    rounded, rounded_losses, rounded_text, _ = run(model, batch, prompt)
    assert cached == text == rounded_text, (cached, text, rounded_text)

    kept = mask.bool()
    error = {}
    for key in exact:
        if key.startswith(("hidden_states", "logits")):
            error[key] = {
                "max_abs_err": (exact[key] - rounded[key])[kept].abs().max().item(),
                "ref_max_abs": exact[key][kept].abs().max().item()}
    error["loss"] = abs(losses[0] - rounded_losses[0])
    error["grad"] = {"max_rel_to_own_max": max(
        ((exact[key] - rounded[key]).abs().max() / exact[key].abs().max()).item() for key in exact if "grad." in key)}
    error["train_losses"] = [abs(a - b) for a, b in zip(losses, rounded_losses)]
    error["after3"] = max((exact[key] - rounded[key]).abs().max().item() for key in exact if "after3." in key)

    tensors = {key: value.float().contiguous() for key, value in exact.items()} | batch
    save_file(dict(sorted(tensors.items())), folder / f"{name}.expected.safetensors")
    (folder / f"{name}.expected.json").write_text(json.dumps({
        "model_dir": name, "architecture": model_class.__name__, "stored_dtype": "float32",
        "reference": {"torch": torch.__version__, "transformers": transformers.__version__},
        "source": "scripts/transformers/gemma_goldens.py", "seed": seed,
        "loss_definition": "mean over positions with labels[:,1:] != -100 of cross entropy of logits[:, :-1]",
        "f32_err": error, "loss": losses[0],
        "hidden_states_note": "hidden_states.0 = embedding output, times √hidden_size, i = output of block i, the last one "
        "is after the final norm. Values at padded positions are stored but not meaningful; compare where "
        "attention_mask = 1.",
        "train": {
            "optimizer": "AdamW (torch.optim), one group with every parameter, no clipping, no schedule",
            **ADAM, "losses": losses,
            "note": "losses[i] is the loss before step i (same batch every step); the last entry is after 3 steps. "
            "after3.* = parameter values after the 3 steps."},
        "generate": {
            "prompt_ids": prompt, "output_ids": text, "max_new_tokens": 32, "eos": "disabled",
            "min_top2_margin": margin, "float32_run_agrees": True},
        "param_count": sum(p.numel() for p in model.parameters()),
        "files": sorted(path.name for path in target.iterdir()),
        "tensors": {key: {"shape": list(x.shape), "dtype": "F32" if x.is_floating_point() else "I64"}
                    for key, x in sorted(tensors.items())},
    }, indent=1, ensure_ascii=False) + "\n")
    print(name, "seed", seed, "margin", round(margin, 4), "losses", losses, "error", error)


def main() -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    for name in MODELS:
        make(name, folder)


main()
