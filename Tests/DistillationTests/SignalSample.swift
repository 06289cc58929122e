import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import Testing

@testable import RetortDistillation

/// Signals without models: what a loss of features or relations sees of a student and a teacher of made-up shapes.
struct SignalSample {
    enum Shapes: String, CaseIterable, Sendable {
        /// Student and teacher of one shape.
        case alike
        /// Other channels and widths.
        case different
    }

    static let rows = 4
    static let classes = 5
    static let examples = 12
    static let labels: [Int32] = [0, 3, 1, 3]
    static let ids: [Int32] = [7, 0, 11, 4]

    static let studentShapes: [String: Dimensions] = [
        "s1": [3, 8, 8], "s2": [4, 4, 4], "s3": [5, 2, 2], "p1": [3, 8, 8], "p2": [4, 4, 4], "p3": [5, 2, 2],
        "e": [6], "cam": [5, 4, 4],
    ]
    static let otherShapes: [String: Dimensions] = [
        "s1": [4, 8, 8], "s2": [6, 4, 4], "s3": [7, 2, 2], "p1": [4, 8, 8], "p2": [6, 4, 4], "p3": [7, 2, 2],
        "e": [9], "cam": [5, 4, 4],
    ]
    static let catalog = SignalCatalog(
        stages: ["s1", "s2", "s3"], preactivations: ["p1", "p2", "p3"], embedding: "e", others: ["cam"])

    let term: any ObjectiveTerm
    let request: SignalRequest
    let device: Device
    /// How many teachers the loss sees.
    let teacherCount: Int
    private let teacherShapes: [String: Dimensions]
    private let projectors: Projectors
    private let arena: ParameterArena

    private final class Projectors: Module {
        let children: [any Module]
        var isTraining = true
        init(_ modules: [any Module]) { children = modules }
    }

    init(_ objective: any Objective, _ shapes: Shapes, on device: Device) throws {
        teacherCount = objective.takesAllTeachers ? 2 : 1
        let models = ModelPair(student: Self.catalog, teacher: Self.catalog, teacherCount: teacherCount)
        request = try objective.signals(models)
        teacherShapes = shapes == .alike ? Self.studentShapes : Self.otherShapes
        // Three of each class or so; the batch's own are at their places.
        var all = (0..<Int32(Self.examples)).map { $0 % Int32(Self.classes) }
        for (id, label) in zip(Self.ids, Self.labels) { all[Int(id)] = label }
        let context = TermContext(
            models: models,
            student: Self.studentShapes.filter { [request] in request.student.contains($0.key) }.mapValues(Array.init),
            teacher: teacherShapes.filter { [request] in request.teacher.contains($0.key) }.mapValues(Array.init),
            classes: Self.classes,
            examples: Self.examples, labels: try device.compute.view(all, [Self.examples], .i32), name: "term", seed: 3,
            device: device)
        term = try objective.term(context)
        projectors = Projectors(term.modules)
        arena = try projectors.materialize(on: device, seed: 9)
        self.device = device
    }

    /// Every number a loss depends on, by name: "logits", the student's signals, the projectors' parameters.
    typealias Values = [String: [Float]]

    /// Random values of everything that is differentiated.
    func start(_ purpose: String = "student", spread: Float = 1.5) throws -> Values {
        var values: Values = ["logits": Self.random(purpose + "logits", Self.rows * Self.classes, spread)]
        for path in request.student {
            let count = Self.rows * Self.studentShapes[path]!.reduce(1, *)
            values[path] = Self.random(purpose + path, count, spread)
        }
        for parameter in projectors.parameters { values[parameter.name] = try parameter.values() }
        return values
    }

    /// What the teachers show; that of `values` where shapes are alike and they are asked to agree.
    func teachers(agreeingWith values: Values? = nil, spread: Float = 1.5) throws -> [ModelOutput] {
        try (0..<teacherCount).map { number in
            try teacher(number == 0 ? "teacher" : "teacher\(number)", agreeingWith: values, spread: spread)
        }
    }

    private func teacher(_ name: String, agreeingWith values: Values?, spread: Float) throws -> ModelOutput {
        func tensor(_ path: String, _ shape: Dimensions) throws -> Tensor {
            let shape: Dimensions = [Self.rows] + shape
            let own = Self.random(name + path, shape.product, spread)
            return try Tensor(values?[path] ?? own, shape, on: device)
        }
        var signals: [String: Tensor] = [:]
        for path in request.teacher { signals[path] = try tensor(path, teacherShapes[path]!) }
        return ModelOutput(logits: try tensor("logits", [Self.classes]), signals: signals)
    }

    struct Result {
        let loss: Float
        let gradients: Values
    }

    func input(_ values: Values, teachers: [ModelOutput], epoch: Int = 5) throws -> (
        ObjectiveInput, leaves: [String: Parameter]
    ) {
        var leaves: [String: Parameter] = [:]
        func leaf(_ path: String, _ shape: Dimensions) throws -> Tensor {
            let (tensor, parameter) = try Tensor.variable(values[path]!, [Self.rows] + shape, on: device)
            leaves[path] = parameter
            return tensor
        }
        var signals: [String: Tensor] = [:]
        for path in request.student { signals[path] = try leaf(path, Self.studentShapes[path]!) }
        let student = ModelOutput(logits: try leaf("logits", [Self.classes]), signals: signals)
        let input = ObjectiveInput(
            student: student, teachers: teachers, labels: try device.compute.view(Self.labels, [Self.rows], .i32),
            ids: try device.compute.view(Self.ids, [Self.rows], .i32),
            progress: TrainingProgress(epoch: epoch, epochs: 10, step: 3))
        return (input, leaves)
    }

    /// The loss and its gradients, through `then`.
    func evaluate(
        _ values: Values, teachers: [ModelOutput], epoch: Int = 5, then: (Tensor) throws -> Tensor = { $0 }
    ) throws -> Result {
        for parameter in projectors.parameters { try parameter.assign(values[parameter.name]!) }
        arena.clearGradients()
        let (input, leaves) = try input(values, teachers: teachers, epoch: epoch)
        let loss = try then(term.loss(input))
        let value = try loss.item()
        if loss.needsGradient { try loss.backward() }
        var gradients: Values = [:]
        for (path, leaf) in leaves { gradients[path] = try leaf.gradientValues() }
        for parameter in projectors.parameters { gradients[parameter.name] = try parameter.gradientValues() }
        return Result(loss: value, gradients: gradients)
    }

    static func random(_ purpose: String, _ count: Int, _ spread: Float) -> [Float] {
        Philox(seed: 21, stream: Philox.stream(purpose)).uniforms(count, -spread, spread)
    }
}

extension Setting {
    /// Every loss that looks inside the models, with the weight given where one is.
    static func signalLosses(alpha: String?) -> [Setting] {
        ObjectiveRegistry.all.filter { !($0 is any LogitObjective.Type) }.map {
            // A share keeps its default.
            let alpha = $0.section.name == "be-your-own-teacher" ? nil : alpha
            return Setting(recipe: "loss: \($0.section.name)" + (alpha.map { ", alpha: " + $0 } ?? ""))
        }
    }
}
