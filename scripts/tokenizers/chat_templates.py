"""Makes Tests/Fixtures/chat-templates.json: conversations as Jinja renders them for each chat format.

    pip install jinja2==3.1.6
    python scripts/tokenizers/chat_templates.py Tests/Fixtures/chat-templates.json

Written from the formats' own descriptions, rendered with the settings of Hugging Face (`trim_blocks`, `lstrip_blocks`). ChatML, Qwen2
and Llama 3 are in Tests/Fixtures/golden/tokenizers/chat_templates.json.
"""

import json
import sys

from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite "
    "answers to the user's questions."
)
# The system turn apart from the others, which are of user and assistant.
SPLIT = """
{%- if messages[0].role == 'system' -%} {%- set system, turns = messages[0].content, messages[1:] -%}
{%- else -%} {%- set system, turns = default, messages -%} {%- endif -%}
"""
ONLY = "{%- if turn.role not in ['user', 'assistant'] -%} {{ fail() }} {%- endif -%}"

FORMATS = {
    # Llama 2: https://github.com/meta-llama/llama, `chat_completion`
    "llama2": SPLIT
    + """
{%- for turn in turns -%}
    {%- if turn.role != ['user', 'assistant'][loop.index0 % 2] -%} {{ fail() }} {%- endif -%}
    {%- set text = turn.content -%}
    {%- if loop.first and system is not none -%}
        {%- set text = '<<SYS>>\\n' ~ system ~ '\\n<</SYS>>\\n\\n' ~ text -%}
    {%- endif -%}
    {%- if turn.role == 'user' -%} {{ bos ~ '[INST] ' ~ text.strip() ~ ' [/INST]' }}
    {%- else -%} {{ ' ' ~ text.strip() ~ ' ' ~ eos }} {%- endif -%}
{%- endfor -%}
""",
    # Zephyr: model card of HuggingFaceH4/zephyr-7b-beta
    "zephyr": """
{%- for turn in messages -%}
    {%- if turn.role not in ['system', 'user', 'assistant'] -%} {{ fail() }} {%- endif -%}
    {{ '<|' ~ turn.role ~ '|>\\n' ~ turn.content ~ eos ~ '\\n' }}
{%- endfor -%}
{%- if prompt -%} {{ '<|assistant|>\\n' }} {%- endif -%}
""",
    # Alpaca: https://github.com/tatsu-lab/stanford_alpaca, `PROMPT_DICT`
    "alpaca": SPLIT
    + "{{ bos ~ system }}{%- for turn in turns -%}"
    + ONLY
    + """
    {%- if turn.role == 'user' -%} {{ '\\n\\n### Instruction:\\n' ~ turn.content }}
    {%- else -%} {{ '\\n\\n### Response:' ~ turn.content ~ eos }} {%- endif -%}
{%- endfor -%}
{%- if prompt -%} {{ '\\n\\n### Response:' }} {%- endif -%}
""",
    # Vicuna 1.1: https://github.com/lm-sys/FastChat, `vicuna_v1.1`
    "vicuna": SPLIT
    + "{{ bos ~ system ~ ' ' }}{%- for turn in turns -%}"
    + ONLY
    + """
    {%- if turn.role == 'user' -%} {{ 'USER: ' ~ turn.content ~ ' ' }}
    {%- else -%} {{ 'ASSISTANT: ' ~ turn.content ~ eos }} {%- endif -%}
{%- endfor -%}
{%- if prompt -%} {{ 'ASSISTANT:' }} {%- endif -%}
""",
}
DEFAULTS = {"alpaca": ALPACA, "vicuna": VICUNA}


def turn(role, content):
    return {"role": role, "content": content}


CONVERSATIONS = [
    [turn("user", "Hello!")],
    [turn("system", "Be brief."), turn("user", "What is 2+2?"), turn("assistant", "4"), turn("user", "And  3+3? ")],
    [turn("user", "line1\nline2\n"), turn("assistant", "")],
    [turn("system", "你是助手"), turn("user", '😀 "quoted" <b>&amp;</b> {{ 7 * 7 }}\u00a0')],
    [turn("user", " \u001c a \n"), turn("assistant", "\tb"), turn("user", "c"), turn("assistant", "d ")],
    [turn("user", "a"), turn("user", "b")],
    [turn("assistant", "a"), turn("user", "b")],
    [turn("user", "a"), turn("tool", "b")],
    [turn("user", "a"), turn("system", "b")],
]


class Refused(TemplateError):
    pass


def fail():
    raise Refused("refused")


def main(path):
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["fail"] = fail
    cases = []
    for name, text in FORMATS.items():
        template = environment.from_string(text)
        for messages in CONVERSATIONS:
            for prompt in (False, True):
                try:
                    rendered = template.render(
                        messages=messages, prompt=prompt, bos="<s>", eos="</s>", default=DEFAULTS.get(name)
                    )
                except Refused:
                    rendered = None
                cases.append(
                    {"template": name, "messages": messages, "add_generation_prompt": prompt, "text": rendered}
                )
    with open(path, "w", encoding="ascii") as file:
        json.dump({"bos": "<s>", "eos": "</s>", "cases": cases}, file, ensure_ascii=True, indent=1)
        file.write("\n")


main(sys.argv[1])
