import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// The vision transformer against transformers: a directory that `save_pretrained` wrote, logits, hidden states, attention, every
/// gradient, three steps of AdamW.
@Suite("ViT, goldens")
struct ViTGoldenTests {
    /// The names gradients have in the reference's memory, by those in its file.
    private func memoryName(_ name: String) -> String {
        name.replacing("vit.encoder.layer.", with: "vit.layers.")
            .replacing("attention.attention.query", with: "attention.q_proj")
            .replacing("attention.attention.key", with: "attention.k_proj")
            .replacing("attention.attention.value", with: "attention.v_proj")
            .replacing("attention.output.dense", with: "attention.o_proj")
            .replacing("intermediate.dense", with: "mlp.fc1").replacing("output.dense", with: "mlp.fc2")
    }

    @Test("logits, signals, gradients, training", arguments: TestBackend.available)
    func agrees(_ backend: TestBackend) throws {
        let device = try backend.device()
        let golden = try GoldenModel("vit_cls")
        let (model, arena) = try ModelDirectory.load(Project.golden("models/vit_cls"), on: device)
        #expect(model.parameterCount == (try golden.json.member("param_count").int()))
        let x = try golden.tensor("pixel_values", on: device)
        let labels = try golden.labels()
        let labelView = try device.compute.view(labels, [labels.count], .i32)
        let optimizer = try Adam(
            arena, options: .init(beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, decoupled: true))
        let expected = try golden.trainingLosses()
        model.setTraining(true)
        for (step, reference) in expected.enumerated() {
            let output = try model.forward(x, capturing: step == 0 ? Set(model.signals.paths) : [])
            let loss = try output.logits.crossEntropy(labelView, scale: 1 / Float(labels.count)).total
            #expect(
                abs(Double(try loss.item()) - reference) < 4e-6 * Double(2 * step + 1) * max(1, reference), "\(step)")
            if step == 0 {
                expectClose(
                    try output.logits.values(), try golden.floats("logits").map(Double.init),
                    absolute: try golden.tolerance("logits"), "logits")
                let signals = ["embeddings": "hidden_states.0", "layers.0.hidden": "hidden_states.1"]
                for (path, key) in signals {
                    expectClose(
                        try #require(output.signals[path]).values(), try golden.floats(key).map(Double.init),
                        absolute: try golden.tolerance(key), path)
                }
                for layer in 0..<2 {
                    expectClose(
                        try #require(output.signals["layers.\(layer).attention"]).values(),
                        try golden.floats("attentions.\(layer)").map(Double.init), absolute: 1e-5, "attention \(layer)")
                }
            }
            guard step < expected.count - 1 else { break }
            try loss.backward()
            if step == 0 {
                var compared = 0
                for parameter in model.parameters {
                    let key = "grad." + memoryName(parameter.name)
                    guard golden.tensors.tensors.contains(where: { $0.name == key }) else { continue }
                    compared += 1
                    let gradient = try golden.floats(key).map(Double.init)
                    // The bias of keys changes nothing: its gradient is 0, made of differences of numbers as large as what reaches the
                    // values (softmax's backward: p · (dO·v − Σ p dO·v)), and errs like these.
                    let scale =
                        key.hasSuffix("k_proj.bias")
                        ? try golden.floats(key.replacing("k_proj.bias", with: "v_proj.weight"))
                        : try golden.floats(key)
                    expectClose(
                        try parameter.gradientValues(), gradient,
                        absolute: 2e-5 * Double(scale.map(abs).max() ?? 1) + 1e-7, parameter.name)
                }
                #expect(compared == golden.tensors.tensors.count { $0.name.hasPrefix("grad.") })
            }
            try optimizer.step(learningRate: 0.003)
        }
        for stored in golden.tensors.tensors where stored.name.hasPrefix("after3.") {
            let parameter = try #require(
                model.parameters.first { "after3." + memoryName($0.name) == stored.name }, "\(stored.name)")
            expectClose(
                try parameter.values(), try golden.floats(stored.name).map(Double.init), absolute: 2e-5, stored.name)
        }
    }
}
