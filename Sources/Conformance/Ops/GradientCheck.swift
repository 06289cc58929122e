import RetortKernels
import RetortRuntime
import RetortSupport

/// A tensor function with its vjp, beside the same function in float64.
public struct GradientDescription: Sendable {
    /// The function of `Tensor`: "layerNorm".
    public let op: String
    public let sample: String
    let shapes: [[Int]]
    let values: @Sendable (inout RandomNumbers) -> [[Float]]
    let tensor: @Sendable ([Tensor], Device) throws -> Tensor
    let reference: @Sendable ([[Double]]) -> [Double]

    /// - Parameter values: inputs, one array for each shape; nil: all different, away from kinks.
    init(
        _ op: String, _ sample: String, _ shapes: [[Int]],
        values: (@Sendable (inout RandomNumbers) -> [[Float]])? = nil,
        tensor: @escaping @Sendable ([Tensor], Device) throws -> Tensor,
        reference: @escaping @Sendable ([[Double]]) -> [Double]
    ) {
        self.op = op
        self.sample = sample
        self.shapes = shapes
        self.values = values ?? { random in shapes.map { random.distinct($0.elements) } }
        self.tensor = tensor
        self.reference = reference
    }
}

/// The gradient that a device computes against central differences of the float64 reference.
///
/// What is differentiated is Σ (w z + z²/2) of the function's output z: a non-linear op behind it, whose gradient w + z differs from
/// element to element and depends on the value, so that a vjp which mixes up elements or drops a factor cannot pass.
public struct GradientCheck {
    public private(set) var problems: [String] = []
    public private(set) var worst = 0.0

    public init(_ description: GradientDescription, seed: UInt64, on device: Device) {
        do {
            var random = RandomNumbers(seed: seed, "gradient \(description.op) \(description.sample)")
            let inputs = description.values(&random)
            let doubles = inputs.map { $0.map(Double.init) }
            let output = description.reference(doubles)
            let weights = random.uniform(output.count, -1, 1)

            let first = try Self.gradients(description, inputs, weights, device)
            let second = try Self.gradients(description, inputs, weights, device)
            if first.gradients.map({ $0.map(\.bitPattern) }) != second.gradients.map({ $0.map(\.bitPattern) }) {
                problems.append("two backward passes differ")
            }
            compare("output", first.output, output)
            for (i, shape) in description.shapes.enumerated() {
                let numeric = Self.differences(description, doubles, i, weights.map(Double.init))
                compare("gradient of input \(i) \(shape)", first.gradients[i], numeric)
            }
        } catch {
            problems.append("threw: \(error)")
        }
    }

    private static func gradients(
        _ description: GradientDescription, _ inputs: [[Float]], _ weights: [Float], _ device: Device
    ) throws -> (output: [Float], gradients: [[Float]]) {
        let variables = try zip(inputs, description.shapes).map { try Tensor.variable($0, Dimensions($1), on: device) }
        let z = try description.tensor(variables.map(\.0), device)
        let w = try Tensor(weights, z.shape, on: device)
        let scalar = try (z * w + z.squared() * 0.5).sum()
        try scalar.backward()
        return (try z.values(), try variables.map { try $0.1.gradientValues() })
    }

    /// Central differences with steps of 1e-5: their own error is about 1e-9.
    private static func differences(
        _ description: GradientDescription, _ inputs: [[Double]], _ input: Int, _ weights: [Double]
    ) -> [Double] {
        func scalar(_ inputs: [[Double]]) -> Double {
            zip(description.reference(inputs), weights).reduce(0) { $0 + $1.1 * $1.0 + $1.0 * $1.0 / 2 }
        }
        return inputs[input].indices.map { i in
            let step = 1e-5 * max(1, abs(inputs[input][i]))
            var moved = inputs
            moved[input][i] += step
            let above = scalar(moved)
            moved[input][i] -= 2 * step
            return (above - scalar(moved)) / (2 * step)
        }
    }

    /// fp32 through a handful of ops: 2e-5 of the value, and 2e-6 of the largest where terms cancel.
    private mutating func compare(_ what: String, _ found: [Float], _ expected: [Double]) {
        guard found.count == expected.count else {
            problems.append("\(what): \(found.count) values, expected \(expected.count)")
            return
        }
        let largest = expected.reduce(0) { max($0, abs($1)) }
        var wrong = 0
        var worstAt = (index: 0, share: -1.0)
        for (i, (a, e)) in zip(found, expected).enumerated() {
            let difference = abs(Double(a) - e)
            let share = difference.isNaN ? .infinity : difference / (2e-5 * abs(e) + 2e-6 * largest + 1e-7)
            if share > worstAt.share { worstAt = (i, share) }
            if share > 1 { wrong += 1 }
        }
        worst = max(worst, worstAt.share)
        guard wrong > 0 else { return }
        let i = worstAt.index
        problems.append(
            "\(what): \(wrong) of \(found.count) are wrong; worst at \(i): \(found[i]), expected \(Float(expected[i]))")
    }
}

/// Checks the gradients of all tensor functions, or of those a selection names, on targets.
/// - Throws: `RetortError` (usage) when the selection picks nothing.
public func checkGradients(_ selection: OpSelection, on targets: [OpTarget], report: (OpResult) -> Void) throws {
    let named = GradientDescription.all.filter { selection.op == nil || $0.op == selection.op }
    guard !named.isEmpty else { throw noSuchOp(selection.op ?? "") }
    let chosen =
        named.contains { $0.sample == selection.sample }
        ? named.filter { $0.sample == selection.sample }
        : named.filter { selection.sample.map($0.sample.contains) ?? true }
    if chosen.isEmpty, let text = selection.sample { throw noSuchSample(text) }
    for description in chosen {
        for target in targets {
            let start = ContinuousClock.now
            let check = GradientCheck(description, seed: selection.seed, on: target.device)
            report(
                OpResult(
                    op: description.op, sample: description.sample, target: target.name,
                    outcome: check.problems.isEmpty ? .passed : .failed(check.problems), worst: check.worst,
                    seconds: (ContinuousClock.now - start).inSeconds,
                    command: target.command(
                        "grad", op: description.op, sample: description.sample, seed: selection.seed)))
        }
    }
}
