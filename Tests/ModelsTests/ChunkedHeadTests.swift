import RetortKernels
import RetortModels
import RetortRuntime
import TestSupport
import Testing

/// Language models under a loss by chunks: the gradients of every parameter are those of the loss of all logits.
@Suite("Chunked losses of language models")
struct ChunkedHeadTests {
    @Test(
        "tied and untied heads, and logits that are capped", arguments: TestBackend.fast,
        ["gpt2", "llama_tied_rope3_hd", "llama_gqa_untied", "gemma2"])
    func models(_ backend: TestBackend, _ name: String) throws {
        let device = try backend.device()
        let (model, arena) = try LanguageModelDirectory.load(Project.golden("models/\(name)"), on: device)
        let ids: [Int32] = [3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 32, 3]
        let batch = try TokenBatch(ids, rows: 2)
        let next = ids.indices.map { $0 % 6 == 5 ? Int32(-100) : ids[$0 + 1] }
        let labels = try device.compute.view(next, [ids.count], .i32)
        let weights = try Tensor.tokenWeights(labels, divisor: 10, on: device)
        let shape: Dimensions = [ids.count, model.vocabulary]
        let teacher = try Tensor(
            (0..<(shape[0] * shape[1])).map { Float($0 * 37 % 101) * 0.04 - 2 }, shape, on: device)
        let op = Divergence(.forwardKL, temperature: 2, softWeight: 2, hardWeight: 0.5)
        func step(_ loss: () throws -> Tensor) throws -> (loss: Float, gradients: [[Float]]) {
            arena.clearGradients()
            let total = try loss()
            try total.backward()
            return (try total.item(), try model.parameters.map { try $0.gradientValues() })
        }
        let dense = try step {
            try model.forward(batch).logits.divergence(op, teacher: teacher.view, labels: labels, rowWeights: weights)
                .total
        }
        for mode in [HeadGradient.held, .added] {
            let chunked = try step {
                try model.hidden(batch).last.chunkedDivergence(
                    op, head: model.head(), teacher: DenseLogits(teacher), labels: labels, rowWeights: weights,
                    chunk: .rows(5), headGradient: mode
                ).total
            }
            expectClose([chunked.loss], [Double(dense.loss)], absolute: 0, relative: 1e-5)
            for (parameter, (a, b)) in zip(model.parameters, zip(chunked.gradients, dense.gradients)) {
                let largest = Double(b.map(abs).max() ?? 0)
                expectClose(
                    a, b.map(Double.init), absolute: 2e-5 * largest + 1e-9, relative: 1e-4, "\(name) \(parameter.name)")
            }
        }
    }
}
