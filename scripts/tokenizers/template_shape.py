"""What a Jinja template says apart from its layout, as `TemplateShape` in Sources/Models/Tokenizers digests it."""

import hashlib

SPACE = b" \t\n\x0b\x0c\r"
ESCAPES = {ord("n"): 10, ord("t"): 9, ord("r"): 13, ord("'"): 39, ord('"'): 34, ord("\\"): 92}


def is_name(byte):
    return byte == 95 or 48 <= byte <= 57 or byte < 128 and 65 <= byte & 0xDF <= 90 or byte >= 128


def digest(template):
    """The shape's identity in hexadecimal; None for a text that is no template."""
    text, result, position = template.encode("utf-8"), bytearray(), 0
    count = len(text)

    def at(index):
        return text[index] if index < count else -1

    def add(kind, content):
        result.extend(b"%c%d:" % (kind, len(content)) + content)

    def closes(byte, index):
        return at(index) == byte and at(index + 1) == ord("}")

    while True:
        tag = position
        while tag < count - 1 and not (text[tag] == ord("{") and text[tag + 1] in b"{%#"):
            tag += 1
        if tag >= count - 1:
            tag = count
        end = tag
        if at(tag + 2) == ord("-"):
            while end > position and text[end - 1] in SPACE:
                end -= 1
        elif tag < count and text[tag + 1] != ord("{") and at(tag + 2) != ord("+"):
            start = end
            while start > position and text[start - 1] in b" \t":
                start -= 1
            if start == 0 or text[start - 1] == 10:
                end = start
        if end > position:
            add(ord("T"), text[position:end])
        if tag == count:
            return hashlib.sha256(result).hexdigest()
        kind = text[tag + 1]
        position = tag + 2 + (at(tag + 2) in (ord("-"), ord("+")))
        close = ord("}") if kind == ord("{") else kind
        if kind == ord("#"):
            while position < count and not closes(close, position):
                position += 1
        else:
            result.append(kind)
            while (
                position < count
                and not closes(close, position)
                and not (text[position] == ord("-") and closes(close, position + 1))
            ):
                position = word(text, position, add, at)
                if position is None:
                    return None
            result.append(ord("}"))
        if position >= count:
            return None
        trims = text[position] == ord("-")
        position += 3 if trims else 2
        if trims:
            while position < count and text[position] in SPACE:
                position += 1
        elif kind != ord("{") and at(position) == 10:
            position += 1


def word(text, position, add, at):
    """Adds a word of an expression; where the next is, None for a string without an end."""
    byte = text[position]
    if byte in SPACE:
        return position + 1
    if byte in b"'\"":
        content = bytearray()
        position += 1
        while at(position) not in (byte, -1):
            if text[position] == ord("\\") and position + 1 < len(text):
                position += 1
                escaped = ESCAPES.get(text[position])
                content += bytes([ord("\\"), text[position]] if escaped is None else [escaped])
            else:
                content.append(text[position])
            position += 1
        if at(position) < 0:
            return None
        add(ord("S"), bytes(content))
        return position + 1
    end = position + (byte == ord("."))
    while end < len(text) and is_name(text[end]):
        end += 1
    if is_name(byte):
        add(ord("N"), text[position:end])
        return end
    # a.b is a['b'], unless it is called.
    if byte == ord(".") and end > position + 1 and not 48 <= text[position + 1] <= 57 and at(end) != ord("("):
        add(ord("O"), b"[")
        add(ord("S"), text[position + 1 : end])
        add(ord("O"), b"]")
        return end
    add(ord("O"), bytes([byte]))
    return position + 1
