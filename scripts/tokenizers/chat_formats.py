"""Chat formats, written in Jinja from their own descriptions, and conversations to render in them.

`answer(text)` is `text`, and says that a model writes it when it is asked for that turn. `fail()` refuses a conversation.
"""

ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
ALPACA_PLURAL = (
    "Below are some instructions that describe some tasks. Write responses that appropriately complete each request."
)
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite "
    "answers to the user's questions."
)
QWEN = "You are a helpful assistant."
QWEN_25 = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
SMOLLM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

ANSWER = "{%- macro answer(text) -%} {{ opens ~ text ~ closes }} {%- endmacro -%}\n"
# The system turn apart from the others, which are of user and assistant.
SPLIT = """
{%- if messages[0].role == 'system' -%} {%- set system, turns = messages[0].content, messages[1:] -%}
{%- else -%} {%- set system, turns = default, messages -%} {%- endif -%}
{%- for turn in turns -%}
    {%- if turn.role not in ['user', 'assistant'] -%} {{ fail() }} {%- endif -%}
{%- endfor -%}
"""
ALTERNATE = """
{%- if not turns -%} {{ fail() }} {%- endif -%}
{%- for turn in turns -%}
    {%- if turn.role != ['user', 'assistant'][loop.index0 % 2] -%} {{ fail() }} {%- endif -%}
{%- endfor -%}
"""
ONLY = """
{%- for turn in messages -%}
    {%- if turn.role not in ['system', 'user', 'assistant'] -%} {{ fail() }} {%- endif -%}
{%- endfor -%}
"""

CHATML = """
{%- if default is not none and messages[0].role != 'system' -%}
    {{ '<|im_start|>system\\n' ~ default ~ '<|im_end|>\\n' }}
{%- endif -%}
{%- for turn in messages -%}
    {{ '<|im_start|>' ~ turn.role ~ '\\n' }}
    {%- if turn.role == 'assistant' -%} {{ answer(turn.content ~ '<|im_end|>') ~ '\\n' }}
    {%- else -%} {{ turn.content ~ '<|im_end|>\\n' }} {%- endif -%}
{%- endfor -%}
{%- if prompt -%} {{ '<|im_start|>assistant\\n' }} {%- endif -%}
"""
CHATML_PROMPTED = (
    SPLIT
    + """
{{- '<|im_start|>system\\n' ~ system ~ '<|im_end|>\\n' -}}
{%- for turn in turns -%}
    {%- if turn.role == 'user' -%}
        {{ '<|im_start|>user\\n' ~ turn.content ~ '<|im_end|>\\n<|im_start|>assistant\\n' }}
    {%- else -%} {{ answer(turn.content ~ '<|im_end|>') ~ '\\n' }} {%- endif -%}
{%- endfor -%}
"""
)
LLAMA_2 = (
    SPLIT
    + ALTERNATE
    + """
{%- for turn in turns -%}
    {%- set text = turn.content -%}
    {%- if loop.first and system is not none -%}
        {%- set text = '<<SYS>>\\n' ~ system ~ '\\n<</SYS>>\\n\\n' ~ text -%}
    {%- endif -%}
    {%- if turn.role == 'user' -%} {{ bos ~ '[INST] ' ~ text.strip() ~ ' [/INST]' }}
    {%- else -%} {{ answer(' ' ~ text.strip() ~ ' ' ~ eos) }} {%- endif -%}
{%- endfor -%}
"""
)
LLAMA_3_TURN = """
    {{ '<|start_header_id|>' ~ turn.role ~ '<|end_header_id|>\\n\\n' }}
    {%- if turn.role == 'assistant' -%} {{ answer(turn.content.strip() ~ '<|eot_id|>') }}
    {%- else -%} {{ turn.content.strip() ~ '<|eot_id|>' }} {%- endif -%}
"""
LLAMA_3 = (
    "{{ first }}{%- for turn in messages -%}"
    + LLAMA_3_TURN
    + """
{%- endfor -%}
{%- if prompt or always -%} {{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }} {%- endif -%}
"""
)
LLAMA_31 = (
    ONLY
    + """
{%- if messages[0].role == 'system' -%} {%- set system, turns = messages[0].content.strip(), messages[1:] -%}
{%- else -%} {%- set system, turns = '', messages -%} {%- endif -%}
{{ bos ~ '<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge Date: December 2023\\n' }}
{{- 'Today Date: 26 Jul 2024\\n\\n' ~ system ~ '<|eot_id|>' }}
{%- for turn in turns -%}"""
    + LLAMA_3_TURN
    + """
{%- endfor -%}
{%- if prompt -%} {{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }} {%- endif -%}
"""
)
ZEPHYR = (
    ONLY
    + """
{%- for turn in messages -%}
    {{ '<|' ~ turn.role ~ '|>\\n' }}
    {%- if turn.role == 'assistant' -%} {{ answer(turn.content ~ eos) ~ '\\n' }}
    {%- else -%} {{ turn.content ~ eos ~ '\\n' }} {%- endif -%}
{%- endfor -%}
{%- if prompt -%} {{ '<|assistant|>\\n' }} {%- endif -%}
"""
)
ALPACA_STANFORD = (
    SPLIT
    + """
{{- bos ~ system }}{%- for turn in turns -%}
    {%- if turn.role == 'user' -%} {{ '\\n\\n### Instruction:\\n' ~ turn.content }}
    {%- else -%} {{ '\\n\\n### Response:' ~ answer(turn.content ~ eos) }} {%- endif -%}
{%- endfor -%}
{%- if prompt -%} {{ '\\n\\n### Response:' }} {%- endif -%}
"""
)
ALPACA_BETWEEN = (
    SPLIT
    + """
{{- bos ~ (system or '') }}{%- for turn in turns -%}
    {%- if not loop.first or system is not none -%} {{ '\\n\\n' }} {%- endif -%}
    {%- if turn.role == 'user' -%} {{ '### Instruction:\\n' ~ turn.content }}
    {%- else -%} {{ '### Response:\\n' ~ answer(turn.content ~ eos) }} {%- endif -%}
{%- endfor -%}
{%- if prompt -%} {{ '\\n\\n### Response:\\n' }} {%- endif -%}
"""
)
ALPACA_BEHIND = (
    SPLIT
    + """
{{- bos ~ system ~ '\\n\\n' }}{%- for turn in turns -%}
    {%- if turn.role == 'user' -%} {{ '### Instruction:\\n' ~ turn.content ~ '\\n\\n' }}
    {%- else -%} {{ '### Response:\\n' ~ answer(turn.content ~ eos) ~ '\\n\\n' }} {%- endif -%}
{%- endfor -%}
{%- if prompt -%} {{ '### Response:\\n' }} {%- endif -%}
"""
)
ALPACA_STRIPPED = (
    SPLIT
    + ALTERNATE
    + """
{{- bos }}{%- if system is not none -%} {{ system.strip() ~ '\\n\\n' }} {%- endif -%}
{%- for turn in turns -%}
    {%- if turn.role == 'user' -%} {{ '### Instruction:\\n' ~ turn.content.strip() ~ '\\n\\n' }}
    {%- else -%} {{ '### Response:\\n' ~ answer(turn.content.strip() ~ eos) ~ '\\n\\n' }} {%- endif -%}
{%- endfor -%}
{%- if prompt -%} {{ '### Response:\\n' }} {%- endif -%}
"""
)
VICUNA_11 = (
    SPLIT
    + """
{{- bos ~ system ~ ' ' }}{%- for turn in turns -%}
    {%- if turn.role == 'user' -%} {{ 'USER: ' ~ turn.content ~ ' ' }}
    {%- else -%} {{ 'ASSISTANT:' ~ answer(' ' ~ turn.content ~ eos) }} {%- endif -%}
{%- endfor -%}
{%- if prompt -%} {{ 'ASSISTANT:' }} {%- endif -%}
"""
)
VICUNA_LINES = (
    SPLIT
    + ALTERNATE
    + """
{{- bos }}{%- if system is not none -%} {{ system.strip() ~ '\\n\\n' }} {%- endif -%}
{%- for turn in turns -%}
    {%- if turn.role == 'user' -%} {{ 'USER: ' ~ turn.content.strip() ~ '\\n' }}
    {%- else -%} {{ 'ASSISTANT:' ~ answer(' ' ~ turn.content.strip() ~ eos) ~ '\\n' }} {%- endif -%}
{%- endfor -%}
{%- if prompt -%} {{ 'ASSISTANT:' }} {%- endif -%}
"""
)
# Mistral 7B Instruct as first published: no system turn.
MISTRAL_FIRST = (
    SPLIT
    + ALTERNATE
    + """
{%- if system is not none -%} {{ fail() }} {%- endif -%}
{{- bos }}{%- for turn in turns -%}
    {%- if turn.role == 'user' -%} {{ '[INST] ' ~ turn.content ~ ' [/INST]' }}
    {%- else -%} {{ answer(turn.content ~ eos) ~ behind }} {%- endif -%}
{%- endfor -%}
"""
)
MISTRAL = (
    SPLIT
    + ALTERNATE
    + """
{{- bos }}{%- for turn in turns -%}
    {%- set text = (system ~ '\\n\\n' if loop.first and system is not none else '') ~ turn.content -%}
    {%- if turn.role == 'user' -%} {{ ' [INST] ' ~ text ~ ' [/INST]' }}
    {%- else -%} {{ answer(' ' ~ text ~ eos) }} {%- endif -%}
{%- endfor -%}
"""
)
# The system turn stands in the conversation's last turn, and nowhere where that is the assistant's.
MISTRAL_3 = (
    SPLIT
    + ALTERNATE
    + """
{{- bos }}{%- for turn in turns -%}
    {%- if turn.role == 'user' -%}
        {%- set text = (system ~ '\\n\\n' if loop.last and system is not none else '') ~ turn.content -%}
        {{ '[INST]' ~ space ~ text ~ '[/INST]' }}
    {%- else -%} {{ answer(space ~ (turn.content.strip() if space else turn.content) ~ eos) }} {%- endif -%}
{%- endfor -%}
"""
)
DEEPSEEK_R1 = (
    ONLY
    + """
{%- set seen = namespace(system='') -%}
{%- for turn in messages if turn.role == 'system' -%} {%- set seen.system = turn.content -%} {%- endfor -%}
{{- bos ~ seen.system }}{%- for turn in messages -%}
    {%- if turn.role == 'user' -%} {{ '<｜User｜>' ~ turn.content }}
    {%- elif turn.role == 'assistant' -%}
        {{ '<｜Assistant｜>' ~ answer(turn.content.split('</think>')[-1] ~ '<｜end▁of▁sentence｜>') }}
    {%- endif -%}
{%- endfor -%}
{%- if prompt -%} {{ '<｜Assistant｜>' ~ thinks }} {%- endif -%}
"""
)
# Reasoning is kept behind the user's last question alone, where the conversation's last turn always has some, perhaps nothing.
QWEN_3 = (
    ONLY
    + """
{%- set seen = namespace(asked=messages | length) -%}
{%- for turn in messages -%}
    {%- set answers = turn.content.startswith('<tool_response>') and turn.content.endswith('</tool_response>') -%}
    {%- if turn.role == 'user' and not answers -%} {%- set seen.asked = loop.index0 -%} {%- endif -%}
{%- endfor -%}
{%- for turn in messages -%}
    {{ '<|im_start|>' ~ turn.role ~ '\\n' }}
    {%- if turn.role == 'assistant' -%}
        {%- set parts = turn.content.split('</think>') -%}
        {%- set said = parts[-1].lstrip('\\n') if parts | length > 1 else turn.content -%}
        {%- set thought = parts[0].rstrip('\\n').split('<think>')[-1].strip('\\n') if parts | length > 1 else '' -%}
        {%- if loop.index0 > seen.asked and (loop.last or thought) -%}
            {%- set text = thought ~ '\\n</think>\\n\\n' ~ said.lstrip('\\n') -%}
            {%- if thinks -%} {{ thinks ~ answer(text ~ '<|im_end|>') ~ '\\n' }}
            {%- else -%} {{ answer('<think>\\n' ~ text ~ '<|im_end|>') ~ '\\n' }} {%- endif -%}
        {%- else -%} {{ answer(said ~ '<|im_end|>') ~ '\\n' }} {%- endif -%}
    {%- else -%} {{ turn.content ~ '<|im_end|>\\n' }} {%- endif -%}
{%- endfor -%}
{%- if prompt -%} {{ '<|im_start|>assistant\\n' ~ thinks }} {%- endif -%}
"""
)
GEMMA = (
    SPLIT
    + ALTERNATE
    + """
{%- if system is not none -%} {{ fail() }} {%- endif -%}
{{- bos }}{%- for turn in turns -%}
    {%- if turn.role == 'user' -%} {{ '<start_of_turn>user\\n' ~ turn.content.strip() ~ '<end_of_turn>\\n' }}
    {%- else -%} {{ '<start_of_turn>model\\n' ~ answer(turn.content.strip() ~ '<end_of_turn>') ~ '\\n' }} {%- endif -%}
{%- endfor -%}
{%- if prompt -%} {{ '<start_of_turn>model\\n' }} {%- endif -%}
"""
)


def entry(text, name=None, default=None, **values):
    return {"text": ANSWER + text, "name": name, "values": {"default": default, **values}}


# By a name of their own: the Jinja text, the name that `--template` takes, what the text's variables are.
FORMATS = {
    # https://github.com/openai/openai-python/blob/release-v0.28.0/chatml.md
    "chatml": entry(CHATML, "chatml"),
    "chatml-qwen": entry(CHATML, "qwen", QWEN),
    "chatml-smollm2": entry(CHATML, "smollm2", SMOLLM),
    "chatml-roles": entry(ONLY + CHATML, "qwen3-instruct"),
    "chatml-roles-qwen": entry(ONLY + CHATML, None, QWEN),
    "chatml-roles-qwen2.5": entry(ONLY + CHATML, "qwen2.5", QWEN_25),
    "chatml-prompted": entry(CHATML_PROMPTED, None, QWEN),
    # Llama 2: https://github.com/meta-llama/llama, `chat_completion`
    "llama2": entry(LLAMA_2, "llama2"),
    # Llama 3: its model card
    "llama3": entry(LLAMA_3, "llama3", first="<|begin_of_text|>"),
    "llama3-bos": entry(LLAMA_3, None, first="<s>"),
    "llama3-always": entry(LLAMA_3, None, first="<s>", always=True),
    # Llama 3.1, 3.2 and 3.3: the model card of 3.1, with the date that stands in its template
    "llama3.1": entry(LLAMA_31, "llama3.1"),
    # Zephyr: model card of HuggingFaceH4/zephyr-7b-beta
    "zephyr": entry(ZEPHYR, "zephyr"),
    # Alpaca: https://github.com/tatsu-lab/stanford_alpaca, `PROMPT_DICT`; then as fine-tuning tools write it
    "alpaca": entry(ALPACA_STANFORD, "alpaca", ALPACA),
    "alpaca-between": entry(ALPACA_BETWEEN),
    "alpaca-behind": entry(ALPACA_BEHIND, None, ALPACA_PLURAL),
    "alpaca-stripped": entry(ALPACA_STRIPPED),
    # Vicuna 1.1: https://github.com/lm-sys/FastChat, `vicuna_v1.1`
    "vicuna": entry(VICUNA_11, "vicuna", VICUNA),
    "vicuna-lines": entry(VICUNA_LINES),
    # Mistral: https://docs.mistral.ai, "cookbooks/concept-deep-dive-tokenization-chat_templates"
    "mistral-first-space": entry(MISTRAL_FIRST, None, behind=" "),
    "mistral-first": entry(MISTRAL_FIRST, None, behind=""),
    "mistral": entry(MISTRAL, "mistral"),
    "mistral-v0.3": entry(MISTRAL_3, "mistral-v0.3", space=" "),
    "mistral-nemo": entry(MISTRAL_3, "mistral-nemo", space=""),
    # DeepSeek-R1-Distill: its model card
    "deepseek-r1-first": entry(DEEPSEEK_R1, None, thinks=""),
    "deepseek-r1": entry(DEEPSEEK_R1, "deepseek-r1", thinks="<think>\n"),
    # Qwen3: https://qwen.readthedocs.io, "Key Concepts"
    "qwen3": entry(QWEN_3, "qwen3", thinks=""),
    "qwen3-thinking": entry(QWEN_3, "qwen3-thinking", thinks="<think>\n"),
    # Gemma: https://ai.google.dev/gemma/docs/core/prompt-structure
    "gemma": entry(GEMMA, "gemma"),
}


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
    [turn("system", " a\n"), turn("user", "b"), turn("assistant", "\n c\n")],
    [turn("system", "a")],
    [turn("system", ""), turn("user", "a")],
    # Reasoning, in earlier turns and in the last one.
    [
        turn("user", "a"),
        turn("assistant", "<think>\nfirst\n</think>\n\nb"),
        turn("user", "c"),
        turn("assistant", "<think>\n\nsecond\nline\n\n</think>\n\n\nd\n"),
    ],
    [turn("user", "a"), turn("assistant", "<think>\nb\n</think>\n\nc"), turn("user", "d")],
    [
        turn("user", "a"),
        turn("assistant", "b</think>c"),
        turn("user", "<tool_response>\nd\n</tool_response>"),
        turn("assistant", "\n\n<think>e<think>f</think>g</think>\n\u0301h"),
    ],
    [turn("user", "a"), turn("assistant", "<think>\n</think>b"), turn("assistant", "\n\r\nc<think>d")],
    [turn("user", "a"), turn("assistant", "b"), turn("assistant", "<think>c</think>d"), turn("assistant", "</think>")],
    [turn("user", "<tool_response>a</tool_response>"), turn("assistant", "<think>b</think>c")],
    [turn("system", "a"), turn("user", "b"), turn("system", "c"), turn("assistant", "d")],
]
