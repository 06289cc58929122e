import Foundation
import RetortData
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

@Suite("Encoders")
struct EncoderTests {
    private func device() throws -> Device { try TestBackend.cpu.device() }

    private func logits(_ folder: String, _ golden: GoldenModel) throws -> [Float] {
        let (model, _) = try EncoderDirectory.load(folder, on: try device())
        return try #require(try model.forward(EncoderGoldenTests.batch(golden)).logits).values()
    }

    @Test("padding changes nothing", arguments: ["bert_cls", "distilbert_mlm"], TestBackend.fast)
    func padding(_ name: String, _ backend: TestBackend) throws {
        let (model, _) = try EncoderDirectory.load(Project.golden("models/\(name)"), on: try backend.device())
        let texts: [[Int32]] = [[2, 17, 30, 41, 3], [2, 55, 3]]
        let together = try EncoderBatch(texts.map { Encoding(ids: $0) }, padding: 0)
        #expect(together.tokens.valid == [true, true, true, true, true, true, true, true, false, false])
        let hidden = try model.forward(together).hidden.values()
        let width = model.hidden
        for (row, text) in texts.enumerated() {
            let alone = try model.forward(EncoderBatch([Encoding(ids: text)], padding: 0)).hidden.values()
            let start = row * 5 * width
            expectClose(
                Array(hidden[start..<(start + text.count * width)]), alone.map(Double.init), absolute: 2e-6, "\(row)")
        }
        // A row of nothing gives numbers.
        let empty = try EncoderBatch(TokenBatch([2, 3, 0, 0], rows: 2, valid: [true, true, false, false]))
        #expect(try model.forward(empty).hidden.values().allSatisfy(\.isFinite))
    }

    @Test("names of old checkpoints: no prefix, gamma and beta, buffers, other heads")
    func oldNames() throws {
        let bert = try GoldenModel("bert_mlm")
        let expected = try logits(Project.golden("models/bert_mlm"), bert)
        func old(_ name: String) -> String {
            name.replacing("LayerNorm.weight", with: "LayerNorm.gamma")
                .replacing("LayerNorm.bias", with: "LayerNorm.beta")
        }
        func bare(_ name: String) -> String { name.hasPrefix("bert.") ? String(name.dropFirst(5)) : name }
        let extra = [
            "bert.embeddings.position_ids", "bert.pooler.dense.weight", "cls.seq_relationship.weight",
        ].map { (name: $0, count: 48) }
        for copy in [
            try ModelCopy(of: "bert_mlm", rename: old, extra: extra),
            try ModelCopy(of: "bert_mlm", rename: { old(bare($0)) }, extra: [("pooler.dense.bias", 4)]),
            try ModelCopy(of: "bert_mlm", set: [("architectures", ["BertForPreTraining"])], rename: bare),
        ] {
            #expect(try logits(copy.path, bert) == expected)
        }
        let distil = try GoldenModel("distilbert_mlm")
        let copy = try ModelCopy(
            of: "distilbert_mlm", rename: { $0.replacing("distilbert.", with: "") },
            extra: [("distilbert.embeddings.position_ids", 48), ("classifier.weight", 3)])
        #expect(
            try logits(copy.path, distil) == logits(Project.golden("models/distilbert_mlm"), distil))
        // What belongs to nothing is an error all the same.
        let stray = try ModelCopy(of: "bert_mlm", rename: old, extra: [("bert.encoder.layer.9.output.dense.bias", 4)])
        let error = try #require(thrown(RetortError.self) { _ = try logits(stray.path, bert) })
        #expect(error.exit == .badData && error.what.contains("layer.9"))
    }

    @Test("a head's matrix and bias stored beside what they are tied to: equal ones are passed over, others refused")
    func tiedTwice() throws {
        func copy(_ name: String, _ matrix: Float, bias: Float = 0) throws -> String {
            let isBERT = name == "bert_mlm"
            let words = (isBERT ? "bert." : "distilbert.") + "embeddings.word_embeddings.weight"
            let decoder = isBERT ? "cls.predictions.decoder." : "vocab_projector."
            var copies = [(of: words, name: decoder + "weight", adding: matrix)]
            if isBERT { copies.append((of: "cls.predictions.bias", name: decoder + "bias", adding: bias)) }
            return try ModelCopy(of: name, rename: { $0 }, copies: copies).path
        }
        for name in ["bert_mlm", "distilbert_mlm"] {
            let golden = try GoldenModel(name)
            #expect(try logits(copy(name, 0), golden) == logits(Project.golden("models/\(name)"), golden))
            let error = thrown(RetortError.self) { _ = try logits(copy(name, 0.5), golden) }
            #expect(error?.exit == .badData && error?.what.contains("differs from the embedding") == true)
            #expect(error?.help.contains("tie_word_embeddings") == (name == "distilbert_mlm"), "\(error?.help ?? "")")
            // Who has no use for the head does not look at it.
            _ = try EncoderDirectory.load(copy(name, 0.5), head: EncoderHead.none, on: try device())
        }
        let bias = thrown(RetortError.self) { _ = try logits(copy("bert_mlm", 0, bias: 1), GoldenModel("bert_mlm")) }
        #expect(bias?.what.contains("cls.predictions.decoder.bias differs from the head's bias") == true)
    }

    @Test("DistilBERT's config in BERT's keys")
    func commonKeys() throws {
        let golden = try GoldenModel("distilbert_mlm")
        let keys = [
            ("dim", "hidden_size", 32), ("hidden_dim", "intermediate_size", 64), ("n_layers", "num_hidden_layers", 2),
            ("n_heads", "num_attention_heads", 4),
        ]
        let copy = try ModelCopy(
            of: "distilbert_mlm", set: keys.flatMap { [($0.0, nil), ($0.1, JSON.int($0.2))] })
        #expect(
            try logits(copy.path, golden) == logits(Project.golden("models/distilbert_mlm"), golden))
    }

    // MARK: Heads

    @Test("the bare encoder of a model with a head: same vectors, its own names when saved")
    func bare() throws {
        for (name, architecture) in [
            ("bert_cls", "BertModel"), ("bert_mlm", "BertModel"), ("distilbert_mlm", "DistilBertModel"),
        ] {
            let golden = try GoldenModel(name)
            let batch = try EncoderGoldenTests.batch(golden)
            let (whole, _) = try EncoderDirectory.load(Project.golden("models/\(name)"), on: try device())
            let (bare, _) = try EncoderDirectory.load(
                Project.golden("models/\(name)"), head: EncoderHead.none, on: try device())
            // What shows its attention composes it, and rounds otherwise.
            let shown = Set(bare.signals)
            let output = try bare.forward(batch, capturing: shown)
            #expect(output.logits == nil && Set(output.signals.keys) == Set(bare.signals))
            #expect(try output.hidden.values() == whole.forward(batch, capturing: shown).hidden.values())
            expectClose(
                try whole.forward(batch).hidden.values(), try output.hidden.values().map(Double.init), absolute: 1e-5)
            let folder = try ScratchFolder()
            try EncoderDirectory.save(bare, to: folder.path)
            let saved = try SafeTensors(path: folder.path + "/model.safetensors")
            #expect(saved["embeddings.word_embeddings.weight"] != nil)
            #expect(saved.tensors.allSatisfy { !$0.name.hasPrefix("bert.") && !$0.name.hasPrefix("distilbert.") })
            let config = try JSON.read(folder.path + "/config.json")
            #expect(config["architectures"] == [.string(architecture)])
            let (again, _) = try EncoderDirectory.load(folder.path, on: try device())
            #expect(again.head == .none)
            #expect(try again.forward(batch, capturing: shown).hidden.values() == output.hidden.values())
        }
    }

    @Test("a new head begins with the seed, on the encoder that is there", arguments: ["bert_mlm", "distilbert_mlm"])
    func newHead(_ name: String) throws {
        let batch = try EncoderGoldenTests.batch(try GoldenModel(name))
        let path = Project.golden("models/\(name)")
        func model(_ seed: UInt64) throws -> any EncoderModel {
            try EncoderDirectory.load(path, head: .classification(classes: 5), seed: seed, on: try device()).model
        }
        let (one, same, other) = (try model(1), try model(1), try model(2))
        let logits = try #require(try one.forward(batch).logits)
        #expect(logits.shape == [2, 5])
        #expect(try Set(logits.values()).count == 10)
        #expect(try logits.values() == same.forward(batch).logits?.values())
        #expect(try logits.values() != other.forward(batch).logits?.values())
        let (stored, _) = try EncoderDirectory.load(path, on: try device())
        #expect(try one.forward(batch).hidden.values() == stored.forward(batch).hidden.values())
        let folder = try ScratchFolder()
        try EncoderDirectory.save(one, to: folder.path)
        let config = try JSON.read(folder.path + "/config.json")
        #expect(config["id2label"]?["4"] == "LABEL_4" && config["label2id"]?["LABEL_4"] == 4)
        let (again, _) = try EncoderDirectory.load(folder.path, on: try device())
        #expect(again.head == .classification(classes: 5))
        #expect(try again.forward(batch).logits?.values() == logits.values())
        // Other classes than the saved ones: anew again.
        let (third, _) = try EncoderDirectory.load(
            folder.path, head: .classification(classes: 3), seed: 1, on: try device())
        #expect(try third.forward(batch).logits?.shape == [2, 3])
        let (back, _) = try EncoderDirectory.load(
            folder.path, head: .maskedLanguage, seed: 1, on: try device())
        #expect(try back.forward(batch).logits?.shape == [2, 11, 100])
    }

    @Test("labels by name, by number, or two of them; what they mean; unknown keys stay")
    func labels() throws {
        func configuration(_ set: [(key: String, value: JSON?)]) throws -> EncoderConfiguration {
            try EncoderConfiguration(
                ModelDirectory.configuration(try ModelCopy(of: "bert_cls", set: set).path + "/config.json"))
        }
        #expect(try configuration([]).head == .classification(classes: 3))
        #expect(try configuration([("id2label", nil)]).head == .classification(classes: 2))
        #expect(try configuration([("id2label", nil), ("num_labels", 7)]).head == .classification(classes: 7))
        #expect(try configuration([]).problem == nil)
        #expect(try configuration([("problem_type", "regression")]).problem == .regression)
        #expect(try configuration([("architectures", nil)]).head == .none)
        let copy = try ModelCopy(
            of: "bert_cls",
            set: [("id2label", ["0": "no", "1": "maybe", "2": "yes"]), ("ours", ["a": [1, 2.5, nil]])])
        let (model, _) = try EncoderDirectory.load(copy.path, on: try device())
        let folder = try ScratchFolder()
        try EncoderDirectory.save(model, to: folder.path)
        #expect(try JSON.read(folder.path + "/config.json") == JSON.read(copy.path + "/config.json"))
    }

    // MARK: Bad input

    @Test("configs that lie or ask for what is not there")
    func configs() throws {
        let cases: [(String, [(key: String, value: JSON?)], String)] = [
            ("bert_cls", [("model_type", "bart")], "bart"),
            ("bert_cls", [("architectures", ["BertForQuestionAnswering"])], "QuestionAnswering"),
            ("bert_cls", [("num_attention_heads", 5)], "do not divide"),
            ("bert_cls", [("num_labels", 4)], "3 labels"),
            ("bert_cls", [("id2label", [:])], "no label"),
            ("bert_cls", [("id2label", ["0": "one"])], "shape"),
            ("bert_cls", [("vocab_size", 101)], "shape"),
            ("bert_cls", [("vocab_size", nil)], "vocab_size"),
            ("bert_cls", [("pad_token_id", 100)], "outside"),
            ("bert_cls", [("hidden_act", "mish")], "gelu"),
            ("bert_cls", [("is_decoder", true)], "false"),
            ("bert_cls", [("position_embedding_type", "relative_key")], "absolute"),
            ("bert_cls", [("hidden_dropout_prob", 1.0)], "dropout"),
            ("bert_cls", [("hidden_dropout_prob", -0.1)], "outside"),
            ("bert_cls", [("problem_type", "guessing")], "regression"),
            ("bert_cls", [("num_hidden_layers", 2)], "belongs to no parameter"),
            ("bert_cls", [("num_hidden_layers", 4)], "no tensor"),
            ("bert_mlm", [("tie_word_embeddings", false)], "distilbert"),
            ("distilbert_mlm", [("sinusoidal_pos_embds", true)], "false"),
            ("distilbert_mlm", [("tie_word_embeddings", false)], "vocab_projector.weight"),
        ]
        for (name, set, word) in cases {
            let copy = try ModelCopy(of: name, set: set)
            let error = try #require(
                thrown(RetortError.self) { _ = try EncoderDirectory.load(copy.path, on: try device()) }, "\(set)")
            #expect(
                error.exit == .badData && "\(error.what) \(error.why) \(error.help)".contains(word),
                "\(set): \(error.what) \(error.why)")
            #expect(error.location != nil)
        }
        let missing = thrown(RetortError.self) {
            _ = try EncoderDirectory.load("/nowhere", on: try device())
        }
        #expect(missing?.exit == .missingInput)
    }

    @Test("tokens, types and lengths that the model does not have")
    func limits() throws {
        let (model, _) = try EncoderDirectory.load(Project.golden("models/bert_cls"), on: try device())
        func refused(_ ids: [Int32], _ types: [Int32]? = nil) -> Bool {
            thrown(TensorError.self) {
                _ = try model.forward(EncoderBatch(TokenBatch(ids, rows: 1), typeIDs: types))
            } != nil
        }
        #expect(refused([Int32](repeating: 1, count: 49)))
        #expect(refused([100]))
        #expect(refused([-1]))
        #expect(refused([1, 2], [0, 2]))
        #expect(refused([1, 2], [0]))
    }
}
