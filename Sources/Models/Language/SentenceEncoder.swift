import Foundation
import RetortKernels
import RetortRuntime
import RetortSupport

/// An encoder with its tokenizer: texts in, vectors out that are near each other where the texts mean the same (Reimers and Gurevych 2019,
/// arXiv:1908.10084).
public struct SentenceEncoder {
    public let model: any EncoderModel
    public let settings: SentenceSettings
    public let tokenizer: Tokenizer

    /// A directory's, frozen.
    /// - `settings`: nil: what the directory says.
    /// - `dtype`: what its matrices are stored as, f32 or bf16; vectors are computed in fp32.
    /// - Throws: `RetortError` 65 or 66 for the directory; 65 where the tokenizer has ids that the model does not know.
    public init(_ folder: String, settings: SentenceSettings? = nil, dtype: DType = .f32, on device: Device) throws {
        let settings = try settings ?? SentenceSettings(in: folder)
        let model = try EncoderDirectory.load(
            folder, head: EncoderHead.none, on: device, trains: false, dtype: dtype
        ).model
        try self.init(model, Tokenizer.load(folder), settings, file: folder)
    }

    /// A model that is there, in training perhaps.
    /// - `file`: where it comes from, for errors.
    /// - Throws: `RetortError` 65 where the tokenizer has ids that the model does not know.
    public init(_ model: any EncoderModel, _ tokenizer: Tokenizer, _ settings: SentenceSettings, file: String) throws {
        guard tokenizer.idLimit <= model.vocabulary else {
            throw RetortError.badData(
                "the tokenizer has ids up to \(tokenizer.idLimit - 1), the model \(model.vocabulary) tokens",
                at: .init(file: file))
        }
        (self.model, self.tokenizer, self.settings) = (model, tokenizer, settings)
    }

    /// Numbers of a vector.
    public var width: Int { model.hidden }

    /// The tokens of a text, as many as the model reads.
    public func tokens(_ text: String) throws -> Encoding {
        let length = min(settings.length ?? tokenizer.truncation?.length ?? model.maxPositions, model.maxPositions)
        return try tokenizer.encode(text, truncation: Truncation(length: length))
    }

    /// Vectors of texts, in their order.
    /// - `rows`: texts read at once; it changes nothing but speed and memory.
    /// - Throws: `RetortError` 65 for a text of which the tokenizer makes no token; 75 when a signal asked to stop.
    public func embed(_ texts: [String], rows: Int = 32) throws -> [[Float]] {
        precondition(rows > 0)
        model.setTraining(false)
        let encodings = try texts.enumerated().map { index, text in
            let encoding = try tokens(text)
            guard encoding.count > 0 else {
                throw RetortError.badData(
                    "text \(index + 1) is empty", why: "the tokenizer puts no token around a text")
            }
            return encoding
        }
        // Texts of like length are read together: padding costs as much as text.
        let order = encodings.indices.sorted { (encodings[$0].count, $0) < (encodings[$1].count, $1) }
        var vectors = [[Float]](repeating: [], count: texts.count)
        for start in stride(from: 0, to: order.count, by: rows) {
            if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
            let part = order[start..<min(order.count, start + rows)]
            let batch = try EncoderBatch(part.map { encodings[$0] }, padding: model.paddingToken)
            let values = try Autograd.withoutGradients { try settings.embed(batch, model).values() }
            for (row, index) in part.enumerated() {
                vectors[index] = Array(values[(row * width)..<((row + 1) * width)])
            }
        }
        return vectors
    }
}

/// How a sentence's vector is made of an encoder's answer.
public struct SentenceSettings: Sendable, Equatable {
    public var pooling: TokenPooling
    /// Whether vectors are made as long as 1.
    public var normalizes: Bool
    /// Tokens read at most; nil: as many as the tokenizer's file says, else the model's positions.
    public var length: Int?

    public init(pooling: TokenPooling = .mean, normalizes: Bool = true, length: Int? = nil) {
        self.pooling = pooling
        self.normalizes = normalizes
        self.length = length
    }

    /// Vectors `[rows, hidden]`, fp32, on the tape: a student's are trained through it.
    public func embed(_ batch: EncoderBatch, _ model: any EncoderModel) throws -> Tensor {
        try vectors(of: model.forward(batch).hidden, batch.tokens)
    }

    /// Vectors `[rows, hidden]` of tokens' vectors `[rows, tokens, hidden]`.
    public func vectors(of hidden: Tensor, _ tokens: TokenBatch) throws -> Tensor {
        let pooled = try pooling(hidden, tokens)
        return normalizes ? try pooled.normalized() : pooled
    }
}

// MARK: The files of sentence-transformers

extension SentenceSettings {
    /// What `modules.json`, the pooling's `config.json` and `sentence_bert_config.json` say; the mean, made as long as 1, where they are not
    /// there.
    /// - Throws: `RetortError` 65 for files that are malformed or ask for what is not supported.
    public init(in folder: String) throws {
        self.init()
        if let limits = try Self.file("sentence_bert_config.json", in: folder) {
            length = try limits.optional("max_seq_length")?.int(in: 1...(1 << 24))
        }
        guard let modules = try Self.file("modules.json", in: folder) else {
            if let pooling = try Self.file("1_Pooling/config.json", in: folder) {
                self.pooling = try Self.pooling(pooling)
            }
            return
        }
        normalizes = false
        for module in try modules.elements() {
            let type = try module.member("type")
            switch try type.string().split(separator: ".").last {
            case "Transformer": break
            case "Normalize": normalizes = true
            case "Pooling":
                let path = try module.member("path")
                let name = try path.string()
                // A name, never a path: the file is a stranger's.
                guard !name.isEmpty, !name.contains("/"), !name.hasPrefix(".") else {
                    throw path.failure("a module is a folder of the same directory")
                }
                if let config = try Self.file(name + "/config.json", in: folder) { pooling = try Self.pooling(config) }
            default:
                throw type.failure("only Transformer, Pooling and Normalize are supported")
            }
        }
    }

    private static func file(_ name: String, in folder: String) throws -> JSONCursor? {
        let path = folder + "/" + name
        return FileManager.default.fileExists(atPath: path) ? try ModelDirectory.configuration(path) : nil
    }

    /// Flags, of which exactly one is set, or a word.
    private static func pooling(_ config: JSONCursor) throws -> TokenPooling {
        if let mode = try config.optional("pooling_mode") {
            guard let pooling = TokenPooling(rawValue: try mode.string()) else {
                throw mode.failure(
                    "it is one of \(TokenPooling.allCases.map(\.rawValue).joined(separator: ", "))")
            }
            return pooling
        }
        let known: [(String, TokenPooling)] = [
            ("pooling_mode_cls_token", .cls), ("pooling_mode_mean_tokens", .mean),
            ("pooling_mode_max_tokens", .max),
        ]
        let on = try config.members().filter { $0.key.hasPrefix("pooling_mode_") && $0.value.value == .bool(true) }
        guard on.count == 1, let pooling = known.first(where: { $0.0 == on[0].key })?.1 else {
            throw config.failure("exactly one of \(known.map(\.0).joined(separator: ", ")) must be true")
        }
        return pooling
    }
}

// MARK: Input and output

extension SentenceEncoder {
    /// The texts of a file, one a line.
    /// - Throws: `RetortError` 66 when it is not there, 65 when it is empty, too large or not UTF-8.
    public static func lines(_ path: String) throws -> [String] {
        let lines = try TextLines(path)
        guard lines.count > 0 else {
            throw RetortError.badData(
                "\(path.quoted(limit: 200)) has no text", at: .init(file: path), why: "it is empty")
        }
        return (0..<lines.count).map(lines.text)
    }

    /// A text and its vector, each number as short as it can be said.
    public static func json(_ text: String, _ vector: [Float]) -> JSON {
        [
            "text": .string(text),
            "embedding": .array(vector.map { .double(Double($0.description) ?? Double($0)) }),
        ]
    }

    /// Texts with vectors, and how they were made.
    public func json(_ rows: [JSON]) -> JSON {
        [
            "pooling": .string(settings.pooling.rawValue), "normalized": .bool(settings.normalizes),
            "rows": .array(rows),
        ]
    }
}
