"""Makes Tests/Fixtures/sentencepiece: small models trained by SentencePiece, and what SentencePiece makes of some texts with them.

    pip install sentencepiece==0.2.3 protobuf transformers==4.57.1
    python scripts/tokenizers/sentencepiece_fixtures.py CORPUS.txt Tests/Fixtures/sentencepiece

CORPUS.txt: some English text, of which the first 200 000 characters count. One folder per model: tokenizer.model, and expected.json with `ids` and
`decoded` for the texts of texts.json, by position. `llama` has the results of transformers' slow LlamaTokenizer instead, with `special`
for the ids with those that it adds.
"""

import io
import json
import os
import random
import sys

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as pb

MULTILINGUAL = [
    "Die Schüler lernen von der Lehrerin; ça va très bien, señor! Ærøskøbing, naïve café, Ångström.",
    "for (int i = 0; i < 10; ++i) {  printf(\"%d\", i);  }    return 0;",
    "蒸馏是一种化学过程。知識蒸留とは何ですか。 지식 증류란 무엇인가.",
    "Что такое дистилляция знаний? Τι είναι η απόσταξη γνώσης;",
    "aaaa aaaaaaaa bbbb abab ababab the the the theatre them then there teacher teachers teaching student students studying",
    "😀 😀😀 👍 ok 👍🏽 done",
]

# From code points to code points: a ligature, full width to ASCII, spaces of all kinds, letters with marks, two that become nothing.
RULES = "\n".join(
    ["FB01\t66 69", "FB00\t66 66", "3000\t20", "A0\t20", "2003\t20", "9\t20", "A\t20", "D\t20", "D A\t20 20", "65 301\tE9", "61 301\tE1", "41 30A\tC5"]
    + [f"{0xFF21 + i:X}\t{0x41 + i:X}" for i in range(26)]
    + ["AD\t", "200B\t", "1100 1161\tAC00", "1100 1161 11A8\tAC01", "2460\t31", "338F\t6B 67", "69 307\t69", "E9\t65 301 20"]
)


def texts():
    with open(os.path.join(os.path.dirname(__file__), "../../Tests/Fixtures/tokenizers/texts.json"), encoding="ascii") as file:
        fixed = [text for text in json.load(file) if "<s>" not in text]
    fixed += [
        "   ", "\n", "\t\t", "  a  b   c    ", "a\u00a0\u00a0b\u3000\u3000c \u2003 d", "\u3000", "\u00ad", "\u200b \u200b", "▁", "▁▁a▁▁", "a▁b ▁ c",
        "<b>bold</b><b> x </b>", "<b", "▁▁▁▁▁▁▁", "x       y", "\n\n\n\nend\n\n", "<0x41><0x0A>", "e\u0301e\u0301 a\u0301 A\u030a", "\ufb01\u0301 \ufb00i",
        "\r\n\r\r\n", "각 각", "ＡＢＣ ｄｅｆ", "👩‍👩‍👧‍👦🇩🇪🇫🇷🏳️‍🌈", "To be, or not to be: that is the question: Whether 'tis nobler in the mind to suffer",
        "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "the" * 60, "\u0378\U000e0100\U0010ffff\ue000", "é é é", "ab\u00adcd", "i̇ I\u0307",
    ]
    return fixed


def train(corpus, **options):
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, minloglevel=2, num_threads=1, hard_vocab_limit=False, **options
    )
    return pb.ModelProto.FromString(model.getvalue())


def with_rules(folder, **options):
    path = os.path.join(folder, "rules.tsv")
    with open(path, "w", encoding="ascii") as file:
        file.write(RULES + "\n")
    return dict(normalization_rule_tsv=path, **options)


def bpe_edited(corpus, folder):
    """Pieces that are not used, characters that are no pieces, scores that several share."""
    model = train(corpus, model_type="bpe", vocab_size=420, normalization_rule_name="identity", character_coverage=0.98)
    generator = random.Random(7)
    pieces = list(model.pieces)
    for piece in pieces[3:]:
        if len(piece.piece) > 1 and generator.random() < 0.25:
            piece.type = pb.ModelProto.SentencePiece.UNUSED
        if generator.random() < 0.5:
            piece.score = round(piece.score / 40) * 40
    del model.pieces[:]
    for piece in pieces:
        if piece.piece not in ("e", "o", "▁", "r"):
            model.pieces.add().CopyFrom(piece)
    return model


def unigram_edited(corpus, folder):
    """Scores that many share, so that ways are equal; pieces that are not used; spaces that stay spaces."""
    model = train(corpus, model_type="unigram", vocab_size=500, normalization_rule_name="identity", user_defined_symbols=["the", "ab"])
    generator = random.Random(8)
    for piece in model.pieces[3:]:
        piece.score = round(piece.score)
        if piece.type == 1 and len(piece.piece) > 1 and generator.random() < 0.2:
            piece.type = pb.ModelProto.SentencePiece.UNUSED
    return model



SYMBOLS = ["▁▁", "▁▁▁", "▁▁▁▁▁▁", "\n", "\n\n", "<b>", "</b>", "<start>"]

KINDS = {
    "bpe-llama": lambda corpus, folder: train(
        corpus, model_type="bpe", vocab_size=640, normalization_rule_name="identity", byte_fallback=True, remove_extra_whitespaces=False,
        split_digits=True, allow_whitespace_only_pieces=True, character_coverage=0.995,
    ),
    "bpe-gemma": lambda corpus, folder: train(
        corpus, model_type="bpe", vocab_size=640, normalization_rule_name="identity", byte_fallback=True, remove_extra_whitespaces=False,
        add_dummy_prefix=False, user_defined_symbols=SYMBOLS, pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", bos_piece="<bos>",
        eos_piece="<eos>", character_coverage=0.99, split_by_whitespace=True,
    ),
    "bpe-rules": lambda corpus, folder: train(
        corpus, model_type="bpe", vocab_size=400, split_by_whitespace=False, **with_rules(folder)
    ),
    "bpe-suffix": lambda corpus, folder: train(
        corpus, model_type="bpe", vocab_size=400, treat_whitespace_as_suffix=True, character_coverage=0.98, **with_rules(folder)
    ),
    "bpe-edited": bpe_edited,
    "unigram-nmt-nfkc": lambda corpus, folder: train(
        corpus, model_type="unigram", vocab_size=500, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, character_coverage=0.99
    ),
    "unigram-bytes": lambda corpus, folder: train(
        corpus, model_type="unigram", vocab_size=700, normalization_rule_name="identity", byte_fallback=True,
        remove_extra_whitespaces=False, user_defined_symbols=SYMBOLS + ["th"], character_coverage=0.98,
    ),
    "unigram-suffix": lambda corpus, folder: train(
        corpus, model_type="unigram", vocab_size=500, treat_whitespace_as_suffix=True, denormalization_rule_tsv=os.path.join(folder, "back.tsv"),
        unk_surface="?!", **with_rules(folder)
    ),
    "unigram-edited": unigram_edited,
}


def write(path, value):
    with open(path, "w", encoding="ascii") as file:
        json.dump(value, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


LLAMA = {
    "legacy": {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": True},
    "new": {"tokenizer_class": "LlamaTokenizer", "legacy": False},
}


def llama(folder, model, inputs):
    """transformers' slow tokenizer, the one that runs SentencePiece itself, with tokens that only its settings know."""
    from transformers import LlamaTokenizer, LlamaTokenizerFast

    inputs = inputs + ["<s>in</s> the <pad>text<pad>", "a <tool>b <tool> c", "<s>", "<pad> ", "x<tool>▁x", "▁ <tool>  y"]
    size = len(model.pieces)
    for name, settings in LLAMA.items():
        path = os.path.join(folder, f"llama-{name}")
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, "tokenizer.model"), "wb") as file:
            file.write(model.SerializeToString())
        decoder = {
            str(id): {"content": text, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": special}
            for id, text, special in [(0, "<unk>", True), (1, "<s>", True), (2, "</s>", True), (size, "<pad>", True), (size + 1, "<tool>", False)]
        }
        settings = {**settings, "added_tokens_decoder": decoder, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
        write(os.path.join(path, "tokenizer_config.json"), settings)
        tokenizer = LlamaTokenizer.from_pretrained(path)
        # The slow one puts spaces round added tokens and takes a second one from the beginning.
        fast = LlamaTokenizerFast.from_pretrained(path)
        plain = [tokenizer.encode(text, add_special_tokens=False) for text in inputs]
        special = [tokenizer.encode(text) for text in inputs]
        pairs = [tokenizer(a, b, return_token_type_ids=True) for a, b in zip(inputs, inputs[1:])][:8]
        write(
            os.path.join(path, "expected.json"),
            {
                "texts": inputs, "ids": plain, "special": special, "pair": [pair["input_ids"] for pair in pairs],
                "pair_types": [pair["token_type_ids"] for pair in pairs],
                "decoded_skip": [fast.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) for ids in special],
            },
        )


def main(corpus, folder):
    with open(corpus, encoding="utf-8") as file:
        lines = [line for line in file.read(200_000).splitlines() if line] + MULTILINGUAL * 12
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "back.tsv"), "w", encoding="ascii") as file:
        file.write("66\t46\n6C 6F\t4C 4F 4C\n")
    inputs = texts()
    write(f"{folder}/texts.json", inputs)
    for name, make in KINDS.items():
        model = make(lines, folder)
        model.trainer_spec.ClearField("input")
        for field in ("normalizer_spec", "denormalizer_spec"):
            if model.HasField(field):
                getattr(model, field).ClearField("normalization_rule_tsv")
        os.makedirs(f"{folder}/{name}", exist_ok=True)
        with open(f"{folder}/{name}/tokenizer.model", "wb") as file:
            file.write(model.SerializeToString())
        processor = spm.SentencePieceProcessor(model_proto=model.SerializeToString())
        ids = [processor.encode(text) for text in inputs]
        known = [[id for id in row if id != processor.unk_id()] for row in ids]
        write(f"{folder}/{name}/expected.json", {"ids": ids, "decoded": [processor.decode(row) for row in known]})
        print(name, len(model.pieces), os.path.getsize(f"{folder}/{name}/tokenizer.model"))
        if name == "bpe-llama":
            llama(folder, model, inputs)
    for name in ("rules.tsv", "back.tsv"):
        os.remove(os.path.join(folder, name))


main(sys.argv[1], sys.argv[2])
