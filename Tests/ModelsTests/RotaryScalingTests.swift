import Foundation
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Frequencies stretched for longer texts, against transformers: Tests/Fixtures/rotary.
@Suite("Rotary scalings")
struct RotaryScalingTests {
    private static let folder = Project.root + "/Tests/Fixtures/rotary/"

    private static func json(_ name: String) throws -> JSONCursor {
        let path = folder + name
        return try JSONCursor.read(path)
    }

    private func configuration(_ values: JSON) throws -> DecoderConfiguration {
        guard case .object(var object) = values else { throw TensorError("no object") }
        object.set("model_type", "llama")
        for key in ["vocab_size", "intermediate_size", "num_hidden_layers"] { object.set(key, 1) }
        return try DecoderConfiguration(JSONCursor(.object(object), file: "config.json"))
    }

    @Test("cosines and sines of every scaling", arguments: TestBackend.available)
    func frequencies(_ backend: TestBackend) throws {
        let device = try backend.device()
        let cases = try Self.json("frequencies.json").member("cases").elements()
        #expect(cases.count == 12)
        for (number, entry) in cases.enumerated() {
            let config = try configuration(try entry.member("config").value)
            let frequencies = try entry.member("inverse_frequencies").elements().map { try $0.double() }
            let factor = try entry.member("attention_factor").double()
            let table = try RotaryTable(
                width: config.headWidth, theta: config.theta, scaling: config.scaling, positions: 40,
                reach: try entry.member("reach").int(), on: device.compute)
            let angles = (0..<40).flatMap { position in frequencies.map { Double(position) * $0 } }
            // The reference's frequencies are fp32.
            expectClose(
                try device.compute.read(table.cosines), angles.map { factor * cos($0) }, absolute: 2e-5, "\(number)")
            expectClose(
                try device.compute.read(table.sines), angles.map { factor * sin($0) }, absolute: 2e-5, "\(number)")
        }
    }

    @Test("texts longer than max_position_embeddings", arguments: ["yarn", "dynamic"], TestBackend.available)
    func longTexts(_ name: String, _ backend: TestBackend) throws {
        let golden = try Self.json(name + ".expected.json")
        let model = try LanguageModelDirectory.load(Self.folder + name, on: try backend.device(), trains: false).model
        #expect(model.maxPositions == 64)
        let ids = try golden.member("ids").elements().map { Int32(try $0.int()) }
        let short = try golden.member("short").int()
        func logits(_ ids: [Int32], _ row: Int) throws -> [Float] {
            let all = try model.forward(try TokenBatch(ids, rows: 1)).logits.values()
            return Array(all[(row * model.vocabulary)..<((row + 1) * model.vocabulary)])
        }
        // The long one first: what it asks of the frequencies must not stay.
        for (row, values) in zip(
            try golden.member("rows").elements(), try golden.member("logits").elements())
        {
            expectClose(
                try logits(ids, row.int()), try values.elements().map { try $0.double() }, absolute: 1e-4,
                "\(name) \(try row.int())")
        }
        expectClose(
            try logits(Array(ids[..<short]), short - 1),
            try golden.member("short_logits").elements().map { try $0.double() }, absolute: 1e-4, name)
        let written = try golden.member("greedy").elements().map { Int32(try $0.int()) }
        #expect(try model.generate(Array(ids[..<short]), count: written.count) == written)
    }

    @Test("what is not known is refused with its place")
    func unknown() throws {
        for (scaling, part) in [
            (#"{"rope_type": "longrope", "factor": 2.0}"#, "longrope"), (#"{"rope_type": "dynamic"}"#, "factor"),
            (#"{"rope_type": "yarn", "factor": 0}"#, "factor"),
            (#"{"rope_type": "yarn", "factor": 2.0, "truncate": 3}"#, "truncate"),
        ] {
            let text = #"{"hidden_size": 8, "num_attention_heads": 2, "rope_scaling": \#(scaling)}"#
            let failure = thrown(RetortError.self) { _ = try configuration(try JSON.parse(text, file: "config.json")) }
            #expect(failure?.exit == .badData && "\(failure.map { "\($0)" } ?? "")".contains(part), "\(scaling)")
        }
        // Rotations turn pairs of numbers; a head with an odd number of them is its own mistake, not the file's.
        let odd = try JSON.parse(
            #"""
            {"model_type": "llama", "vocab_size": 8, "hidden_size": 6, "intermediate_size": 8, "num_hidden_layers": 1,
             "num_attention_heads": 2}
            """#, file: "config.json")
        let refused = thrown(RetortError.self) {
            _ = try DecoderConfiguration(JSONCursor(odd, file: "config.json"))
        }
        #expect(refused?.what == "the value of 'num_attention_heads' is wrong", "\(String(describing: refused))")
    }
}
