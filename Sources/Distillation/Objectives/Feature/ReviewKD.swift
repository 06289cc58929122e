import RetortModels
import RetortRuntime

/// Knowledge review: alpha·Σ over levels of HCL(f, t). From the deepest level to the shallowest, f is the student's stage fused with what the deeper
/// ones gave (ABF: a 1×1 convolution with batch norm, two attention maps that mix it with the deeper result, a 3×3 convolution with batch norm to
/// the teacher's channels), so that a shallow layer of the teacher also teaches the student's deeper ones. HCL is the mean squared difference of the
/// maps and of both averaged to 4×4, 2×2 and 1×1 (where smaller than the map), weighed 1, 1/2, 1/4, 1/8 and divided by the sum
/// of the weights. Chen et al. 2021 (arXiv:2104.09044).
///
/// Levels: every stage and, as a 1×1 map, the embedding; the teacher's stages before their activation where it shows them. alpha 1 is the authors'
/// (0.6 to 8 by pair), their warm-up `ramp: {kind: warm-up, epochs: 20}`; middle channels are the embedding's, at most 512.
public struct ReviewKDObjective: SignalObjective {
    public static let section = RecipeSection(
        "reviewkd", "Each level of the teacher teaches the student's levels down to it.",
        [AlphaField.field("1")] + SignalChoice.fields(.reviewed))
    private let alpha: Float
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        choice = SignalChoice("reviewkd", .reviewed, recipe)
    }

    public var laws: Set<ObjectiveLaw> { [.nonNegative] }
    public var contract: String {
        "\(alpha.short)·Σ HCL(fused s, t), squared differences at full size, 4×4, 2×2, 1×1, \(choice.contract), "
            + "mean over rows and features"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        let pairs = try choice.pairs(context.models)
        let shapes = try pairs.map { pair in
            let (s, t) = try context.shapes(pair)
            guard let student = Self.map(s), let teacher = Self.map(t) else {
                throw context.misfit(pair, "reviewkd", "it takes maps [channels, height, width] or vectors")
            }
            return (student: student, teacher: teacher)
        }
        let middle = min(512, shapes[shapes.count - 1].student.channels)
        let fusions = shapes.indices.map { i in
            Fusion(
                "\(context.name).\(i)", inputs: shapes[i].student.channels, middle: middle, output: shapes[i].teacher,
                fuses: i < shapes.count - 1)
        }
        return Term(Array(zip(pairs, fusions)), alpha: alpha)
    }

    /// A vector is a map of one position.
    private static func map(_ shape: [Int]) -> MapShape? { MapShape(shape.count == 1 ? shape + [1, 1] : shape) }

    private final class Term: ObjectiveTerm {
        private let levels: [(pair: SignalPair, fusion: Fusion)]
        private let alpha: Float

        init(_ levels: [(SignalPair, Fusion)], alpha: Float) {
            self.levels = levels
            self.alpha = alpha
        }

        var modules: [any Module] { levels.map(\.fusion) }

        func loss(_ input: ObjectiveInput) throws -> Tensor {
            var deeper: Tensor?
            var losses: [Tensor] = []
            for (pair, fusion) in levels.reversed() {
                let (student, teacher) = try input.signals(pair)
                let (features, fused) = try fusion(student.asMaps(), deeper: deeper)
                losses.append(try features.hierarchicalContextLoss(teacher.asMaps()))
                deeper = fused
            }
            return try Tensor.total(losses) * alpha
        }
    }

    /// Attention-based fusion (ABF).
    private final class Fusion: Module {
        let children: [any Module]
        var isTraining = true
        private let enter: (Convolution2d, BatchNorm2d)
        private let leave: (Convolution2d, BatchNorm2d)
        private let attention: Convolution2d?
        private let output: MapShape

        init(_ name: String, inputs: Int, middle: Int, output: MapShape, fuses: Bool) {
            func layer(_ part: String, _ inputs: Int, _ outputs: Int, kernel: Int) -> (Convolution2d, BatchNorm2d) {
                // He's uniform start with slope 1.
                let bound = (3 / Float(inputs * kernel * kernel)).squareRoot()
                return (
                    Convolution2d(
                        "\(name).\(part).conv", inputs: inputs, outputs: outputs, kernel: kernel, padding: kernel / 2,
                        bias: false, initializer: .uniform(bound: bound)),
                    BatchNorm2d("\(name).\(part).bn", channels: outputs)
                )
            }
            enter = layer("enter", inputs, middle, kernel: 1)
            leave = layer("leave", middle, output.channels, kernel: 3)
            attention = fuses ? Convolution2d(name + ".attention", inputs: 2 * middle, outputs: 2, kernel: 1) : nil
            self.output = output
            children = [enter.0, enter.1, leave.0, leave.1] + (attention.map { [$0] } ?? [])
        }

        /// - Returns: features of the teacher's shape, and what the next shallower level is fused with.
        func callAsFunction(_ x: Tensor, deeper: Tensor?) throws -> (features: Tensor, fused: Tensor) {
            var y = try enter.1(enter.0(x))
            if let attention, let deeper {
                let above = try deeper.resizedNearest(height: y.shape[2], width: y.shape[3])
                let shares = try attention(Tensor.concatenated([y, above], axis: 1)).map(.sigmoid)
                y = try y * shares.narrowed(axis: 1, 0..<1) + above * shares.narrowed(axis: 1, 1..<2)
            }
            y = try y.resizedNearest(height: output.height, width: output.width)
            return (try leave.1(leave.0(y)), y)
        }
    }
}

extension Tensor {
    /// HCL of maps `[rows, channels, height, width]` of one shape; the teacher is constant.
    public func hierarchicalContextLoss(_ teacher: Tensor) throws -> Tensor {
        let teacher = teacher.detached
        var loss = try meanSquaredError(teacher)
        var (weight, total): (Float, Float) = (1, 1)
        for size in [4, 2, 1] where size < shape[2] {
            weight /= 2
            total += weight
            loss =
                try loss
                + averaged(size, size).meanSquaredError(teacher.averaged(size, size)) * weight
        }
        return try loss * (1 / total)
    }

    /// A vector `[rows, features]` as maps of one position.
    fileprivate func asMaps() throws -> Tensor { rank == 4 ? self : try reshaped([shape[0], shape[1], 1, 1]) }
}
