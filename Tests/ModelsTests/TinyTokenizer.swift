import RetortModels
import RetortSupport
import TestSupport

/// Byte-level BPE with an alphabet of 256, a few merges and no splitting into words, so that merges cross every border they can.
enum TinyTokenizer {
    /// - Parameters:
    ///   - added: special tokens; ids from 300 on.
    ///   - settings: tokenizer_config.json.
    static func make(
        merges: [(String, String)] = [], added: [String] = ["<|im_start|>", "<|im_end|>", "<s>", "</s>"],
        settings: JSON = ["bos_token": "<s>", "eos_token": "</s>"]
    ) throws -> Tokenizer {
        var vocabulary: [(key: String, value: JSON)] = []
        for byte in 0..<256 { vocabulary.append((key: spell(UInt8(byte)), value: .int(byte))) }
        for (index, merge) in merges.enumerated() {
            vocabulary.append((key: merge.0 + merge.1, value: .int(256 + index)))
        }
        let tokens: [JSON] = added.enumerated().map { index, token in
            [
                "id": .int(300 + index), "content": .string(token), "single_word": false, "lstrip": false,
                "rstrip": false,
                "normalized": false, "special": true,
            ]
        }
        let model: JSON = [
            "type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
            "end_of_word_suffix": nil,
            "fuse_unk": false, "byte_fallback": false, "vocab": .object(vocabulary),
            "merges": .array(merges.map { .array([.string($0.0), .string($0.1)]) }),
        ]
        let bytes: JSON = ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false]
        let file: JSON = [
            "version": "1.0", "truncation": nil, "padding": nil, "added_tokens": .array(tokens), "normalizer": nil,
            "pre_tokenizer": bytes, "post_processor": nil, "decoder": bytes, "model": model,
        ]
        let folder = try ScratchFolder()
        try folder.write(file.text(), to: "tokenizer.json")
        try folder.write(settings.text(), to: "tokenizer_config.json")
        return try Tokenizer.load(folder.path)
    }

    /// A byte in GPT-2's alphabet.
    static func spell(_ byte: UInt8) -> String { String(Character(scalars[Int(byte)])) }

    private static let scalars: [Unicode.Scalar] = {
        var next: UInt32 = 256
        return (0..<256).map { (byte: UInt32) in
            let isItself = (33...126).contains(byte) || (161...172).contains(byte) || (174...255).contains(byte)
            if !isItself { next += 1 }
            return Unicode.Scalar(isItself ? byte : next - 1) ?? "?"
        }
    }()
}
