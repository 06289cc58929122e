import RetortModels
import RetortRuntime
import RetortSupport

/// A distance of the student's vectors `[rows, width]` from the teacher's, with a learned projection between them where widths differ.
final class EmbeddingDistanceTerm: EmbeddingTerm {
    private let pair: SignalPair
    private let projection: Linear?
    private let distance: (Tensor, Tensor) throws -> Tensor

    /// - Parameter distance: of the student's vectors, as wide as the teacher's, from these: a scalar.
    /// - Throws: `RetortError` 78 when more than one signal is compared.
    init(
        _ choice: SignalChoice, _ context: TermContext, _ distance: @escaping (Tensor, Tensor) throws -> Tensor
    ) throws {
        let pairs = try choice.pairs(context.models)
        guard pairs.count == 1 else {
            throw RetortError.recipe("the loss \(choice.loss) compares one signal of each model, not \(pairs.count)")
        }
        pair = pairs[0]
        let shapes = try context.shapes(pair)
        let (own, theirs) = (shapes.student.reduce(1, *), shapes.teacher.reduce(1, *))
        projection =
            own == theirs
            ? nil : Linear(context.name + ".projection", inputs: own, outputs: theirs, bias: false)
        self.distance = distance
    }

    var modules: [any Module] { projection.map { [$0] } ?? [] }

    func loss(_ input: ObjectiveInput) throws -> Tensor {
        let (student, teacher) = try vectors(input)
        return try distance(student, teacher)
    }

    func embeddings(_ input: ObjectiveInput) throws -> (student: Tensor, teacher: Tensor) {
        let (student, teacher) = try vectors(input)
        return (try student.normalized(), try teacher.normalized())
    }

    private func vectors(_ input: ObjectiveInput) throws -> (student: Tensor, teacher: Tensor) {
        let signals = try input.signals(pair)
        let student = try signals.student.flattenedRows()
        return (try projection.map { try $0(student) } ?? student, try signals.teacher.flattenedRows())
    }
}
