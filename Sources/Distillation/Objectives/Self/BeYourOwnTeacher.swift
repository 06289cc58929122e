import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Self-distillation from deep to shallow (Zhang et al. 2019, "Be Your Own Teacher", arXiv:1905.08094): each stage but the last gets a
/// bottleneck and a classifier, and the network's own answer teaches them. Over exits i, with q the network's answer and F what its
/// classifier sees, both constant for the exits:
///
/// (1 − alpha)·(CE(q) + Σ CE(qᵢ)) + alpha·T²·Σ KL(q‖qᵢ) + beta·Σ ‖Fᵢ − F‖², mean over rows; CE at T = 1, KL at T.
///
/// No teacher and no other loss is needed. The exits train with the student and are saved apart from it. alpha 0.1 and T 3 are the
/// authors' code's; its weight of features, 1e−6 of a sum over a batch of 128, is beta 1.28e−4 here. A bottleneck is theirs too: 1×1 to a
/// quarter of the width, a window as large as the stage is larger than the last, 1×1 to the width, each with batch norm and ReLU.
/// For vectors it is a linear layer with ReLU.
public struct BeYourOwnTeacherObjective: Objective {
    public static let section = RecipeSection(
        "be-your-own-teacher", "The network's answer teaches classifiers on its own shallower stages.",
        [
            RecipeField(
                "alpha", .number(0...1), .defaulted("0.1"),
                "weight of the distillation terms; 1 − alpha weighs the cross entropies with the labels"),
            RecipeField("beta", .number(0...1e6), .defaulted("1.28e-4"), "weight of the features' squared distance"),
            RecipeField(
                "exits", .list(of: .text, count: 1...64), .optional,
                "signals of the student that get a classifier; every stage but the last when absent"),
        ] + Temperature.fields("3"))
    private let alpha: Float
    private let beta: Float
    private let temperature: Temperature
    private let exits: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        beta = Float(recipe.required("beta").number)
        temperature = Temperature(recipe)
        exits = SignalChoice("be-your-own-teacher", .allButLastStage, recipe, studentKey: "exits")
    }

    public var needsTeacher: Bool { false }
    public var laws: Set<ObjectiveLaw> { [.nonNegative] }
    public var contract: String {
        "\((1 - alpha).short)·(CE(labels, q) + Σ CE(labels, qᵢ)) + \(alpha.short)·T²·Σ KL(q‖qᵢ) + \(beta.short)·Σ ‖Fᵢ − F‖², "
            + "qᵢ trained classifiers \(exits.studentContract), T=\(temperature.contract), mean over rows"
    }

    public func signals(_ models: ModelPair) throws -> SignalRequest {
        SignalRequest(
            student: try exits.studentPaths(models) + [try embedding(models)]
                + models.student.stages.suffix(1))
    }

    private func embedding(_ models: ModelPair) throws -> String {
        guard let path = models.student.embedding else { throw exits.showsNone("what its classifier sees", models) }
        return path
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        let embedding = try embedding(context.models)
        let width = (context.student[embedding] ?? []).reduce(1, *)
        let last = context.models.student.stages.last.flatMap { MapShape(context.student[$0] ?? []) }
        return Term(
            try exits.studentPaths(context.models).enumerated().map { i, path in
                Exit(
                    "\(context.name).\(i)", path, shape: context.student[path] ?? [], last: last, width: width,
                    classes: context.classes)
            }, embedding: embedding, self)
    }

    /// A bottleneck and a classifier on one stage.
    private final class Exit: Module {
        let path: String
        let children: [any Module]
        var isTraining = true
        private let bottleneck: (Tensor) throws -> Tensor
        private let classifier: Linear

        /// - Parameter last: the deepest stage, where it is a map.
        init(_ name: String, _ path: String, shape: [Int], last: MapShape?, width: Int, classes: Int) {
            self.path = path
            classifier = Linear(name + ".classifier", inputs: width, outputs: classes)
            guard let map = MapShape(shape) else {
                let layer = Linear(
                    name + ".bottleneck", inputs: shape.reduce(1, *), outputs: width, activation: .relu)
                bottleneck = { try layer($0.flattenedRows()) }
                children = [layer, classifier]
                return
            }
            let middle = max(1, width / 4)
            let window = Conv2dGeometry.Pair(
                max(1, map.height / (last?.height ?? 1)), max(1, map.width / (last?.width ?? 1)))
            let layers = [
                ConvolutionNorm(name + ".bottleneck.0", map.channels, middle, kernel: .init(1), stride: .init(1)),
                ConvolutionNorm(name + ".bottleneck.1", middle, middle, kernel: window, stride: window),
                ConvolutionNorm(name + ".bottleneck.2", middle, width, kernel: .init(1), stride: .init(1)),
            ]
            bottleneck = { try layers.reduce($0) { try $1($0) }.averaged(1, 1).flattenedRows() }
            children = layers + [classifier]
        }

        func callAsFunction(_ x: Tensor) throws -> (logits: Tensor, features: Tensor) {
            let features = try bottleneck(x)
            return (try classifier(features), features)
        }

        private final class ConvolutionNorm: Module {
            let children: [any Module]
            var isTraining = true
            private let convolution: Convolution2d
            private let norm: BatchNorm2d

            init(
                _ name: String, _ inputs: Int, _ outputs: Int, kernel: Conv2dGeometry.Pair, stride: Conv2dGeometry.Pair
            ) {
                convolution = Convolution2d(
                    name + ".conv", inputs: inputs, outputs: outputs, kernel: kernel, geometry: .init(stride: stride))
                norm = BatchNorm2d(name + ".bn", channels: outputs)
                children = [convolution, norm]
            }

            func callAsFunction(_ x: Tensor) throws -> Tensor { try norm(convolution(x), relu: true) }
        }
    }

    private final class Term: ObjectiveTerm {
        private let exits: [Exit]
        private let embedding: String
        private let objective: BeYourOwnTeacherObjective

        init(_ exits: [Exit], embedding: String, _ objective: BeYourOwnTeacherObjective) {
            self.exits = exits
            self.embedding = embedding
            self.objective = objective
        }

        var modules: [any Module] { exits }

        func loss(_ input: ObjectiveInput) throws -> Tensor {
            guard let deepest = input.student.signals[embedding] else {
                throw RetortError.internalBug("the signal \(embedding) was not kept")
            }
            let (alpha, beta) = (objective.alpha, objective.beta)
            let temperature = objective.temperature.now(input)
            let op = Divergence(
                .forwardKL, temperature: temperature, softWeight: alpha * temperature * temperature,
                scale: 1 / Float(input.rows))
            let goal = try deepest.flattenedRows().detached
            let own = input.student.logits.detached
            var losses = [try input.hardLoss() * (1 - alpha)]
            for exit in exits {
                guard let stage = input.student.signals[exit.path] else {
                    throw RetortError.internalBug("the signal \(exit.path) was not kept")
                }
                let (logits, features) = try exit(stage)
                losses.append(try input.hardLoss(of: logits) * (1 - alpha))
                losses.append(try logits.divergence(op, teacher: own.view).total)
                losses.append(try features.generationDistance(goal) * beta)
            }
            return try Tensor.total(losses)
        }
    }
}
