import Foundation
import TestSupport

extension ScratchFolder {
    /// A small BERT that classifies, under `teacher`, with a vocabulary of letters.
    /// - Returns: the letters.
    func writeLetterTeacher() throws -> [String] {
        for file in ["config.json", "model.safetensors"] {
            try FileManager.default.copyItem(
                atPath: Project.golden("models/bert_cls/" + file), toPath: try self.folder("teacher") + "/" + file)
        }
        let letters = "abcdefghijklmnopqrstuvwxyz".map(String.init)
        let vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters + letters.map { "##" + $0 }
        try write(vocabulary.joined(separator: "\n") + "\n", to: "teacher/vocab.txt")
        return letters
    }
}
