"""Makes Tests/Fixtures/tokenizers: small tokenizers of every kind, and what Hugging Face's `tokenizers` makes of some texts.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3 protobuf
    python scripts/tokenizers/fixtures.py Tests/Fixtures/tokenizers [NAME …]

One folder per tokenizer: tokenizer.json, and expected.json with the results for the texts of texts.json, by position: `ids` without
and `special` with special tokens, `decoded` (of `ids`), `decoded_skip` (of `special`, special tokens left out), `pair` and `pair_types`
of each text with the one after it.
"""

import json
import os
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

TRAINING = [
    "The retort is a vessel in which a teacher's knowledge is distilled; what drips into the receiver is the student.",
    "He said: \"I'm sure you'll agree that it's what they've said, isn't it?\" She'd 3 apples, 12 pears and 1,234,567 plums.",
    "Die Schüler lernen von der Lehrerin; ça va très bien, señor! Ærøskøbing, naïve café, Ångström.",
    "for (int i = 0; i < 10; ++i) {\n\tprintf(\"%d\\n\", i);\n}\n\n\n    return 0;",
    "蒸馏是一种化学过程。知識蒸留とは何ですか。 지식 증류란 무엇인가.",
    "Что такое дистилляция знаний? Τι είναι η απόσταξη γνώσης;",
    "aaaa aaaaaaaa bbbb abab ababab the the the theatre them then there teacher teachers teaching student students studying",
] * 3


def texts():
    random.seed(20261126)
    fixed = [
        "",
        " ",
        "Hello, world!",
        "The quick brown fox jumps over the lazy dog.",
        "I'm sure you'll agree that it's what they've said, isn't it? I'D SAY 'Tis.",
        "  leading and trailing  ",
        "tabs\tand\nnewlines\r\n\r\n  mixed \n \n x",
        "3 apples, 12345 pears; 1,234.5678e-9 and ½ ² Ⅷ ٣٤",
        "café cafe\u0301 Å A\u030a ﬁ ﬀ ① ㎏ ｆｕｌｌ　width",
        "e\u0301\u0323 e\u0323\u0301 \u1e69 s\u0323\u0307 \uac01 \u1100\u1161\u11a8 \u0344 \u212b \ufb1d",
        "İstanbul ΣΊΣΥΦΟΣ straße ǅ ŉ",
        "蒸馏是一种化学过程。知識蒸留とは何ですか。지식 증류",
        "Что такое дистилляция? Ελληνικά γράμματα",
        "😀👩‍👩‍👧‍👦🏳️‍🌈 emoji\u200dzwj \u200bzero\u00a0nbsp\u3000ideographic\u2028line",
        "[CLS] special [SEP] tokens <s> in </s> the <|endoftext|> text [MASK]ed <mask> x <|eot_id|>",
        "a <mask> b<mask>c  <mask>  d",
        "the cat concatenates cat, cats; cat_s cat-cat acat Cat CAT",
        "word_with_underscores and-hyphens and.dots/and/slashes\\back",
        "((nested)) {braces} [brackets] <tags> & | ~ ^ ` $ € £ ¥ § ¶ « » „ “ ” ‘ ’ — – …",
        "do not can't won't I 'm he 's ' x ' end . now ? yes !",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "abab" * 40,
        "▁already ▁marked▁text",
        "\u0000\u0001\u007f\u0085\ufeff\ufffd\u00ad control",
        "x\u180ey \u0301combining first",
        "the  the   the    the     the",
        "נִקּוּד עברית العَرَبِيَّة हिन्दी ไทย ខ្មែរ",
        "\u1f71 \u0958 \u2f81a \U0001d15e \U0002f800 \u0340 \u0374",
    ]
    alphabet = [chr(c) for c in range(32, 127)] * 3 + list("éèêüößñçøåœ") + list("абвгдежзиклмн") + list("αβγδεζηθ")
    alphabet += list("的是不了人我在有他这\u3042\u3044\u3046\u30a2\u30a4\u30a6한국어") + ["\n", "\t", "\u00a0", "\u0301", "\u0327", "😀", "▁", " ", " "]
    for _ in range(20):
        fixed.append("".join(random.choice(alphabet) for _ in range(random.randint(1, 60))))
    return fixed


def byte_bpe(vocabulary=400, special=()):
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=list(special), show_progress=False
    )
    return tokenizer, trainer


def train(tokenizer, trainer):
    tokenizer.train_from_iterator(TRAINING, trainer)
    return tokenizer


def edit(tokenizer, change):
    data = json.loads(tokenizer.to_str())
    change(data)
    return Tokenizer.from_str(json.dumps(data))


def llama3():
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    tokenizer, trainer = byte_bpe(special=special)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, trainer)
    bos = tokenizer.token_to_id(special[0])
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", special_tokens=[(special[0], bos)]
            ),
        ]
    )

    # A token no merge leads to: found only because merges are ignored.
    def change(data):
        data["model"]["ignore_merges"] = True
        data["model"]["vocab"]["Ġtheatre"] = len(data["model"]["vocab"])
        data["model"]["vocab"]["dog"] = len(data["model"]["vocab"])

    return edit(tokenizer, change)


def roberta():
    tokenizer, trainer = byte_bpe(special=["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=True)
    return tokenizer


def byte_fallback(legacy):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    if legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        decoder = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        decoder = [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first"), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(decoder)
    # Few letters, so that most others fall back to bytes.
    trainer = trainers.BpeTrainer(vocab_size=460, special_tokens=special, limit_alphabet=60, show_progress=False)
    train(tokenizer, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )

    # Byte tokens are ordinary ones in the published files.
    def change(data):
        data["added_tokens"] = data["added_tokens"][:3]

    return edit(tokenizer, change)


def bert_cased():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=40))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    train(tokenizer, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def bert_uncased():
    tokenizer = bert_cased()
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    return tokenizer


def clip():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder("</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<unk>"], end_of_word_suffix="</w>", limit_alphabet=70, show_progress=False
    )
    return train(tokenizer, trainer)


def continuing():
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", continuing_subword_prefix="##", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["[UNK]"], continuing_subword_prefix="##", limit_alphabet=60, show_progress=False
    )
    return train(tokenizer, trainer)


def compatibility(form):
    tokenizer, trainer = byte_bpe(300)
    tokenizer.normalizer = normalizers.Sequence([form, normalizers.Strip(left=True, right=True), normalizers.Prepend("» ")])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return train(tokenizer, trainer)


def splits(steps):
    tokenizer, trainer = byte_bpe(380)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return train(tokenizer, trainer)


def added():
    tokenizer, trainer = byte_bpe(360)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, trainer)
    tokenizer.add_tokens(
        [
            AddedToken("cat", single_word=True),
            AddedToken("The", normalized=True),
            AddedToken("teacher", normalized=False, rstrip=True),
            AddedToken("  ", normalized=False),
            AddedToken("    ", normalized=False),
        ]
    )
    tokenizer.add_special_tokens(
        [AddedToken("<mask>", lstrip=True, rstrip=True), AddedToken("<s>", single_word=True), AddedToken("<|endoftext|>")]
    )
    return tokenizer


def metaspace(scheme, split):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("-", "merged_with_previous"), pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    trainer = trainers.BpeTrainer(vocab_size=380, special_tokens=["<unk>", "<s>"], limit_alphabet=60, show_progress=False)
    return train(tokenizer, trainer)


def unigram(normalizer, pre_tokenizer, special, *, unknown, byte_fallback=False, change=None):
    """A unigram model trained on the same sentences; without `change` its scores are those of training."""
    trained = Tokenizer(models.Unigram())
    trained.normalizer = normalizer
    trained.pre_tokenizer = pre_tokenizer
    trainer = trainers.UnigramTrainer(vocab_size=320, special_tokens=special, unk_token=unknown, show_progress=False)
    trained.train_from_iterator(TRAINING, trainer)
    vocabulary = [(token, score) for token, score in json.loads(trained.to_str())["model"]["vocab"]]
    # Few letters, so that others are unknown.
    vocabulary = [entry for entry in vocabulary if len(entry[0]) > 1 or ord(entry[0]) < 0x250 or entry[0] == "▁"]
    if byte_fallback:
        vocabulary += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    if change:
        vocabulary = [(token, change(token, score)) for token, score in vocabulary]
    names = [token for token, _ in vocabulary]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=names.index(unknown), byte_fallback=byte_fallback))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens(special)
    return tokenizer


def charsmap():
    """A small one: that of a SentencePiece fixture."""
    from sentencepiece import sentencepiece_model_pb2

    path = os.path.join(os.path.dirname(__file__), "../../Tests/Fixtures/sentencepiece/unigram-suffix/tokenizer.model")
    with open(path, "rb") as file:
        return normalizers.Precompiled(sentencepiece_model_pb2.ModelProto.FromString(file.read()).normalizer_spec.precompiled_charsmap)


def t5():
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer = unigram(charsmap(), pre_tokenizers.Metaspace(prepend_scheme="always"), special, unknown="<unk>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    tokenizer.add_special_tokens(["<extra_id_1>", "<extra_id_0>"])
    return tokenizer


def xlm_roberta():
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    words = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")])
    # Scores that many share: of equal ways the first counts.
    tokenizer = unigram(charsmap(), words, special, unknown="<unk>", change=lambda token, score: float(round(score)))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    ids = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ids)
    return tokenizer


def albert():
    steps = [
        normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents(),
        normalizers.Lowercase(), charsmap(),
    ]
    special = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = unigram(normalizers.Sequence(steps), pre_tokenizers.Metaspace(prepend_scheme="always"), special, unknown="<unk>")
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ids
    )
    return tokenizer


def unigram_bytes():
    steps = normalizers.Sequence(
        [charsmap(), normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")]
    )
    tokenizer = unigram(
        steps, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), ["<unk>"], unknown="<unk>", byte_fallback=True
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


KINDS = {
    "unigram-t5": t5,
    "unigram-xlm-roberta": xlm_roberta,
    "unigram-albert": albert,
    "unigram-bytes": unigram_bytes,
    "llama3": llama3,
    "roberta": roberta,
    "llama2-legacy": lambda: byte_fallback(True),
    "llama2-metaspace": lambda: byte_fallback(False),
    "bert-cased": bert_cased,
    "bert-uncased": bert_uncased,
    "clip": clip,
    "continuing-prefix": continuing,
    "nfkc": lambda: compatibility(normalizers.NFKC()),
    "nfkd": lambda: compatibility(normalizers.NFKD()),
    "nfd": lambda: compatibility(normalizers.NFD()),
    "splits-contiguous": lambda: splits(
        [
            pre_tokenizers.Split(Regex(r"\d"), "contiguous"),
            pre_tokenizers.Split(" ", "merged_with_next"),
            pre_tokenizers.Punctuation("merged_with_previous"),
        ]
    ),
    "splits-inverted": lambda: splits(
        [
            pre_tokenizers.Split(Regex(r"[\p{L}\p{M}\s]+|\p{Han}"), "removed", invert=True),
            pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.Split(Regex(r"\w+\s?"), "merged_with_next", invert=True),
        ]
    ),
    "splits-removed": lambda: splits(
        [
            pre_tokenizers.CharDelimiterSplit("x"),
            pre_tokenizers.Split(Regex(r"^\s+|\s+$"), "removed"),
            pre_tokenizers.Punctuation("contiguous"),
            pre_tokenizers.Split(Regex(r"(?i:the)|[\h]{2}"), "merged_with_previous"),
        ]
    ),
    "added-tokens": added,
    "metaspace-always": lambda: metaspace("always", True),
    "metaspace-first": lambda: metaspace("first", True),
    "metaspace-never": lambda: metaspace("never", False),
}


def write(path, value):
    with open(path, "w", encoding="ascii") as file:
        json.dump(value, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


def main(folder, names):
    inputs = texts()
    os.makedirs(folder, exist_ok=True)
    write(f"{folder}/texts.json", inputs)
    for name, make in KINDS.items():
        if names and name not in names:
            continue
        tokenizer = make()
        os.makedirs(f"{folder}/{name}", exist_ok=True)
        write(f"{folder}/{name}/tokenizer.json", json.loads(tokenizer.to_str()))
        plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in inputs]
        special = [tokenizer.encode(text).ids for text in inputs]
        pairs = [tokenizer.encode(a, b) for a, b in zip(inputs, inputs[1:])][:12]
        write(
            f"{folder}/{name}/expected.json",
            {
                "ids": plain,
                "special": special,
                "decoded": [tokenizer.decode(ids, skip_special_tokens=False) for ids in plain],
                "decoded_skip": [tokenizer.decode(ids, skip_special_tokens=True) for ids in special],
                "pair": [pair.ids for pair in pairs],
                "pair_types": [pair.type_ids for pair in pairs],
            },
        )


main(sys.argv[1], sys.argv[2:])
