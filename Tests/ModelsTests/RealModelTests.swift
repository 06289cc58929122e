import Foundation
import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// A trained Llama of 260 thousand parameters, where `RETORT_DATA` names the folder that holds it: models/stories260K.
@Suite("stories260K", .enabled(if: getenv("RETORT_DATA") != nil))
struct RealModelTests {
    private let json: JSONCursor
    private let tensors: SafeTensors

    init() throws {
        let path = Project.golden("real-models/stories260K")
        json = JSONCursor(try JSON.read(path + ".json"), file: path + ".json")
        tensors = try SafeTensors(path: path + ".safetensors")
    }

    private func load(_ device: Device) throws -> (model: any LanguageModel, arena: ParameterArena) {
        let folder = try #require(getenv("RETORT_DATA").map { String(cString: $0) })
        return try LanguageModelDirectory.load(folder + "/models/stories260K", on: device)
    }

    private func ids(_ name: String) throws -> [Int32] { try tensors.int64s(name).map(Int32.init) }

    /// Mean over the predicted tokens of the loss with each token's successor.
    private func loss(_ model: any LanguageModel, _ ids: [Int32], rows: Int, on device: Device) throws -> Tensor {
        let length = ids.count / rows
        let targets = ids.indices.map { ($0 + 1) % length == 0 ? Int32(-100) : ids[$0 + 1] }
        let logits = try model.forward(TokenBatch(ids, rows: rows)).logits
        return try logits.reshaped([ids.count, model.vocabulary]).crossEntropy(
            try device.compute.view(targets, [ids.count], .i32), scale: 1 / Float(ids.count - rows)
        ).total
    }

    @Test("its stories, word for word", arguments: TestBackend.fast)
    func stories(_ backend: TestBackend) throws {
        let (model, _) = try load(try backend.device())
        let prompts = try json.member("prompts").elements()
        #expect(prompts.count == 8)
        for prompt in prompts {
            let start = try prompt.member("ids").elements().map { Int32(try $0.int()) }
            let story = try prompt.member("greedy").elements().map { Int32(try $0.int()) }
            #expect(try model.generate(start, count: story.count) == story)
        }
    }

    @Test("from text to text", arguments: TestBackend.fast)
    func text(_ backend: TestBackend) throws {
        let folder = try #require(getenv("RETORT_DATA").map { String(cString: $0) })
        let writer = try TextGenerator(folder + "/models/stories260K", on: try backend.device())
        for prompt in try json.member("prompts").elements() {
            let start = try prompt.member("text").string()
            let expected = try prompt.member("greedy_text").string()
            let count = try prompt.member("greedy").elements().count
            var pieces = ""
            let answer = try writer.write(
                start, count: count, sampling: TokenSampling(), ignoringEnd: true, onText: { pieces += $0 })
            #expect(answer.text == pieces)
            // The reference's text has the prompt in front, or not: its new part is what counts.
            #expect(expected == answer.text || expected == start + answer.text, "\(expected) | \(answer.text)")
        }
    }

    @Test("every logit of a text, and how likely it finds another", arguments: TestBackend.fast)
    func logits(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (model, _) = try load(device)
        let text = try ids("full.input_ids")
        let output = try Autograd.withoutGradients {
            try model.forward(TokenBatch(text, rows: 1), capturing: Set(model.signals))
        }
        let error = try json.member("full_logits_f32_err").double()
        expectClose(try output.logits.values(), try tensors.floats("full.logits").map(Double.init), absolute: 8 * error)
        for state in 0...5 {
            let path = state == 0 ? "embeddings" : state == 5 ? "norm" : "layers.\(state - 1).hidden"
            let expected = try tensors.floats("full.hidden_states.\(state)").map(Double.init)
            expectClose(
                try #require(output.signals[path]).values(), expected,
                absolute: 1e-5 * (expected.map(abs).max() ?? 1), path)
        }
        let windows = try ids("nll.windows")
        let expected = try json.member("nll").member("per_window").elements().map { try $0.double() }
        let length = windows.count / expected.count
        for (window, reference) in expected.enumerated() {
            let part = Array(windows[(window * length)..<((window + 1) * length)])
            let own = try Autograd.withoutGradients { try loss(model, part, rows: 1, on: device).item() }
            expectClose([own], [reference], absolute: 2e-5, "window \(window)")
        }
    }

    @Test("five steps of fine-tuning", arguments: TestBackend.fast)
    func fineTuning(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (model, arena) = try load(device)
        let batch = try ids("finetune.input_ids")
        let optimizer = try Adam(
            arena, options: .init(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, decoupled: true))
        let expected = try json.member("finetune").member("losses").elements().map { try $0.double() }
        model.setTraining(true)
        for (step, reference) in expected.enumerated() {
            let loss = try loss(model, batch, rows: 4, on: device)
            expectClose([try loss.item()], [reference], absolute: 1e-5 * Double(step + 1), "step \(step)")
            guard step < expected.count - 1 else { break }
            try loss.backward()
            if step == 0 {
                let names = tensors.tensors.map(\.name).filter { $0.hasPrefix("finetune.grad.") }
                #expect(names.count == 3)
                for name in names {
                    let parameter = try #require(model.parameters.first { "finetune.grad." + $0.name == name })
                    let gradient = try tensors.floats(name).map(Double.init)
                    expectClose(
                        try parameter.gradientValues(), gradient, absolute: 2e-5 * (gradient.map(abs).max() ?? 1), name)
                }
            }
            try optimizer.step(learningRate: 1e-3)
        }
    }
}
