import RetortModels
import RetortRuntime

/// A loss that is a mean over rows of logits `[rows, classes]`, each looked at by itself, composed of other operations: it serves a classifier's
/// examples and, chunk by chunk, a language model's tokens.
public protocol RowObjective: LogitObjective, PlainLanguageObjective {}

extension RowObjective {
    public var takesAllTeachers: Bool { false }
    public static var takesReduction: Bool { true }
    public static var reductions: [TokenReduction] { TokenReduction.allCases }
    public func contract(over what: String) -> String {
        contract.replacing("mean over rows", with: "mean over \(what)")
    }

    public func loss(_ input: LanguageInput) throws -> Tensor {
        let teachers = needsTeacher ? input.teachers.compactMap(\.logits) : []
        guard teachers.allSatisfy({ $0.classes == input.head.classes }) else {
            throw TensorError("teachers of \(teachers.map(\.classes)) classes for a student of \(input.head.classes)")
        }
        return try input.hidden.chunkedComposition(
            head: input.head, teachers: teachers, chunk: input.chunk, headGradient: input.gradient
        ) { student, teachers, range in
            // Of a chunk's rows those that count, together where they weigh the same.
            let counting = Dictionary(grouping: range.filter { input.targets[$0] >= 0 }) { input.shares[$0] }
            guard !counting.isEmpty else { return nil }
            let device = Device(student.device)
            return try Tensor.total(
                counting.sorted { $0.value[0] < $1.value[0] }.map { weight, places -> Tensor in
                    func own(_ x: Tensor) throws -> Tensor {
                        guard places.count < range.count else { return x }
                        return try x.gatherRows(places.map { Int32($0 - range.lowerBound) }, shape: [places.count])
                    }
                    let labels = try device.compute.view(places.map { input.targets[$0] }, [places.count], .i32)
                    let taught = try teachers.map { ModelOutput(logits: try own(Tensor(view: $0, on: device))) }
                    let mean = try loss(
                        ObjectiveInput(
                            student: ModelOutput(logits: own(student)), teachers: taught, labels: labels,
                            progress: input.progress))
                    return try mean * (weight * Float(places.count))
                })
        }
    }
}
