import Foundation
import RetortSupport

extension SentenceSettings {
    /// Whether a directory says how vectors are made.
    public static func areIn(_ folder: String) -> Bool {
        ["modules.json", "1_Pooling/config.json"].contains { FileManager.default.fileExists(atPath: folder + "/" + $0) }
    }

    /// Writes what sentence-transformers reads beside a Hugging Face directory: `modules.json`, the pooling's `config.json` and
    /// `sentence_bert_config.json`.
    /// - `width`: numbers of a token's vector.
    /// - `positions`: tokens that the model reads at most.
    /// - Throws: `RetortError` 73 or 74.
    public func save(to folder: String, width: Int, positions: Int) throws {
        let kinds = ["Transformer", "Pooling"] + (normalizes ? ["Normalize"] : [])
        let modules = kinds.enumerated().map { index, kind -> JSON in
            [
                "idx": .int(index), "name": .string("\(index)"),
                "path": .string(index == 0 ? "" : "\(index)_\(kind)"),
                "type": .string("sentence_transformers.models.\(kind)"),
            ]
        }
        let pooling: JSON = [
            "word_embedding_dimension": .int(width), "pooling_mode_cls_token": .bool(self.pooling == .cls),
            "pooling_mode_mean_tokens": .bool(self.pooling == .mean),
            "pooling_mode_max_tokens": .bool(self.pooling == .max), "pooling_mode_mean_sqrt_len_tokens": false,
        ]
        let limits: JSON = [
            "max_seq_length": .int(min(length ?? positions, positions)), "do_lower_case": false,
        ]
        try Folder.createWithParents(folder + "/1_Pooling")
        // A folder for each module, as they write it: theirs has no file in it.
        if normalizes { try Folder.createWithParents(folder + "/2_Normalize") }
        for (name, json) in [
            ("modules.json", JSON.array(modules)), ("1_Pooling/config.json", pooling),
            ("sentence_bert_config.json", limits),
        ] {
            try AtomicFile.write(json.text(.pretty) + "\n", to: folder + "/" + name)
        }
    }
}
