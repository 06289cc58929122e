"""Makes Tests/Fixtures/chat-templates.json: conversations as Jinja renders them for each chat format.

    pip install jinja2==3.1.6
    python scripts/tokenizers/chat_templates.py Tests/Fixtures/chat-templates.json [FOLDER]

The formats are written from their own descriptions (chat_formats.py) and rendered with the settings of Hugging Face (`trim_blocks`,
`lstrip_blocks`). Published templates (published_templates.py) are not part of Retort. Of a folder of such texts, `*.jinja`, each that is known
by its shape is rendered too: where its format writes a conversation it must write the same, and where it refuses one the format must. All that
are known have to be there. Without a clock, as Llama 3.2 asks for one.
"""

import json
import pathlib
import sys

from chat_formats import CONVERSATIONS, FORMATS
from jinja2.exceptions import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from published_templates import PUBLISHED
from template_shape import digest

BOS, EOS = "<s>", "</s>"
# Stand round what a model writes, while a text is made.
OPENS, CLOSES = "\ue000", "\ue001"


class Refused(TemplateError):
    pass


def fail(*_):
    raise Refused("refused")


def environment():
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])


def answers(text):
    """The text without its marks, and the bytes that were between them."""
    plain, ranges = "", []
    for index, piece in enumerate(text.replace(CLOSES, OPENS).split(OPENS)):
        start = len(plain.encode())
        plain += piece
        if index % 2:
            ranges.append([start, len(plain.encode())])
    return plain, ranges


def cases(form):
    """A conversation's number, whether an answer is asked for, the text (None when refused), where answers are in it."""
    template = environment().from_string(form["text"])
    values = {"bos": BOS, "eos": EOS, "opens": OPENS, "closes": CLOSES, "fail": fail, **form["values"]}
    for number, messages in enumerate(CONVERSATIONS):
        for prompt in (False, True):
            try:
                text, ranges = answers(template.render(messages=messages, prompt=prompt, **values))
            except Refused:
                text, ranges = None, []
            yield number, prompt, text, ranges


def published(text, number, prompt):
    values = {"bos_token": BOS, "eos_token": EOS, "tools": None, "documents": None, "raise_exception": fail}
    try:
        return environment().from_string(text).render(
            messages=CONVERSATIONS[number], add_generation_prompt=prompt, **values
        )
    except Refused:
        return None


def compare(folder, rendered):
    known = {shape: form for shape, form, _, _ in PUBLISHED}
    missing, count = dict(known), 0
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        text = path.read_bytes().decode()
        form = known.get(digest(text))
        if form is None:
            print(f"{path.name}: not known", file=sys.stderr)
            continue
        missing.pop(digest(text), None)
        for number, prompt, wanted, _ in rendered[form]:
            if wanted is not None:
                found = published(text, number, prompt)
                assert found == wanted, (path.name, form, number, prompt, found, wanted)
                count += 1
    assert not missing, f"no text of {missing}"
    print(f"{count} texts of published templates are the same")


def main(path, folder=None):
    rendered = {name: list(cases(form)) for name, form in FORMATS.items()}
    if folder is not None:
        compare(folder, rendered)
    lines = ['{"bos": %s, "eos": %s, "conversations": [' % (json.dumps(BOS), json.dumps(EOS))]
    lines += [",\n".join(" " + json.dumps(messages) for messages in CONVERSATIONS), '], "formats": [']
    entries = []
    for name, form in FORMATS.items():
        head = {"format": name, "template": form["name"], "jinja": form["text"], "shape": digest(form["text"])}
        rows = ",\n".join(
            "  " + json.dumps({"conversation": number, "prompt": prompt, "text": text, "answers": ranges})
            for number, prompt, text, ranges in rendered[name]
        )
        entries.append(" " + json.dumps(head)[:-1] + ', "cases": [\n' + rows + "\n ]}")
    lines += [",\n".join(entries), '], "published": [']
    rows = [{"shape": shape, "format": form, "template": name} for shape, form, name, _ in PUBLISHED]
    lines += [",\n".join(" " + json.dumps(row) for row in rows), "]}"]
    pathlib.Path(path).write_text("\n".join(lines) + "\n", encoding="ascii")


main(*sys.argv[1:])
