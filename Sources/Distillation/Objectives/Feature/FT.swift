import RetortKernels
import RetortModels
import RetortRuntime

/// Factor transfer: mse(paraphrase(t), t), then alpha·mean |F(translator(s)) − F(encoder(t))|, F(f) = a / ‖a‖ with a the mean over channels of f², flattened
/// `[rows, height · width]`; mean over rows and positions. The paraphraser is an autoencoder of the teacher's map, three 3×3 convolutions each way with
/// leaky ReLU, whose code (`rate` of the teacher's channels) is what the student's translator, of the same form with batch norm, has to
/// give; the larger map is adaptively averaged. Kim et al. 2018 (arXiv:1802.04977).
///
/// alpha 200, rate 0.5, the last stage are RepDistiller's. As its authors do, the paraphraser learns first, for `paraphrase` of the epochs (0.125, as
/// their 30 before 240), and is then frozen.
public struct FTObjective: SignalObjective {
    public static let section = RecipeSection(
        "ft", "A code of the teacher's map that the student's translator has to give.",
        [
            AlphaField.field("200"),
            RecipeField(
                "rate", .number(0.01...4), .defaulted("0.5"), "channels of the code, as a share of the teacher's"),
            RecipeField(
                "paraphrase", .number(0...1), .defaulted("0.125"),
                "share of the epochs, at the start, in which only the paraphraser learns"),
        ] + SignalChoice.fields(.lastStage))
    private let alpha: Float
    private let rate: Double
    private let share: Double
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        rate = recipe.required("rate").number
        share = recipe.required("paraphrase").number
        choice = SignalChoice("ft", .lastStage, recipe)
    }

    public var laws: Set<ObjectiveLaw> { [.nonNegative] }
    /// 1 once the paraphraser is frozen.
    public func stage(_ progress: TrainingProgress) -> Int {
        Double(progress.epoch) >= share * Double(progress.epochs) ? 1 : 0
    }
    public var contract: String {
        "mse(paraphrase(t), t) for \(Float(share).short) of the epochs, then \(alpha.short)·|F(translator(s)) − F(encoder(t))|, "
            + "F = mean over channels of f², length 1, \(choice.contract), mean over rows and positions"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        try Term(
            choice.pairs(context.models).enumerated().map { i, pair in
                let maps = try context.maps(pair, "ft")
                let code = max(1, Int(Double(maps.teacher.channels) * rate))
                let name = "\(context.name).\(i)"
                return (
                    pair, Paraphraser(name + ".paraphraser", channels: maps.teacher.channels, code: code),
                    ConvChain(
                        name + ".translator", [maps.student.channels, maps.student.channels, code, code], norm: true)
                )
            }, alpha: alpha, transfers: { stage($0.progress) == 1 })
    }

    private final class Term: ObjectiveTerm, LastingPart {
        private let pairs: [(pair: SignalPair, paraphraser: Paraphraser, translator: ConvChain)]
        private let alpha: Float
        private let transfers: (ObjectiveInput) -> Bool
        /// The paraphrasers' weights since they are frozen.
        private var frozen: [(parameter: Parameter, value: Tensor)] = []

        init(
            _ pairs: [(SignalPair, Paraphraser, ConvChain)], alpha: Float,
            transfers: @escaping (ObjectiveInput) -> Bool
        ) {
            self.pairs = pairs
            self.alpha = alpha
            self.transfers = transfers
        }

        var modules: [any Module] { pairs.flatMap { [$0.paraphraser, $0.translator] as [any Module] } }

        func loss(_ input: ObjectiveInput) throws -> Tensor {
            let transfers = transfers(input)
            if transfers, frozen.isEmpty { try freeze(on: Device(input.student.logits.device)) }
            return try Tensor.total(
                pairs.map { pair, paraphraser, translator in
                    let (student, teacher) = try input.signals(pair)
                    guard transfers else {
                        return try paraphraser.decoder(paraphraser.encoder(teacher)).meanSquaredError(teacher)
                    }
                    let code = try Autograd.withoutGradients { try paraphraser.encoder(teacher) }
                    return try translator(student).factorDistance(code) * alpha
                })
        }

        private func freeze(on device: Device) throws {
            frozen = try pairs.flatMap { pair in
                try pair.paraphraser.parameters.map { ($0, try Tensor(view: $0.value, on: device).copied()) }
            }
        }

        func describe(_ state: inout TrainingState, as name: String) {
            state.set(name + ".frozen", .bool(!frozen.isEmpty))
        }

        /// What it is frozen at are the weights of its modules, which are there already.
        func resume(_ stored: StoredState, as name: String, on device: ComputeDevice) throws {
            if try stored.facts.member(name + ".frozen").bool() { try freeze(on: Device(device)) }
        }

        /// Momentum and weight decay move weights that have no gradient too.
        func afterStep() throws {
            for (parameter, value) in frozen {
                try run(Copy(), .init(x: value.view, y: .write(parameter.value)), on: value.device)
            }
        }
    }

    private final class Paraphraser: Module {
        let encoder: ConvChain
        let decoder: ConvChain
        var isTraining = true
        var children: [any Module] { [encoder, decoder] }

        init(_ name: String, channels: Int, code: Int) {
            encoder = ConvChain(name + ".encoder", [channels, channels, code, code], norm: false)
            decoder = ConvChain(name + ".decoder", [code, code, channels, channels], norm: false)
        }
    }

    /// 3×3 convolutions that keep the size, each with leaky ReLU and, when asked, batch norm before it.
    private final class ConvChain: Module {
        let children: [any Module]
        var isTraining = true
        private let layers: [(convolution: Convolution2d, norm: BatchNorm2d?)]

        init(_ name: String, _ channels: [Int], norm: Bool) {
            layers = zip(channels, channels.dropFirst()).enumerated().map { i, ends in
                (
                    Convolution2d("\(name).\(i).conv", inputs: ends.0, outputs: ends.1, kernel: 3, padding: 1),
                    norm ? BatchNorm2d("\(name).\(i).bn", channels: ends.1) : nil
                )
            }
            children = layers.flatMap { [$0.convolution] + ($0.norm.map { [$0] } ?? []) as [any Module] }
        }

        func callAsFunction(_ x: Tensor) throws -> Tensor {
            try layers.reduce(x) { x, layer in
                let y = try layer.convolution(x)
                return try (layer.norm.map { try $0(y) } ?? y).map(.leakyRelu(slope: 0.1))
            }
        }
    }
}

extension Tensor {
    /// FT's distance of codes `[rows, channels, height, width]`; the teacher's is constant.
    public func factorDistance(_ teacher: Tensor) throws -> Tensor {
        let (s, t) = try Tensor.atSmallerSize(self, teacher.detached)
        return try s.factor().meanAbsoluteError(t.factor())
    }

    private func factor() throws -> Tensor { try squared().mean(1).flattenedRows().normalized() }
}
