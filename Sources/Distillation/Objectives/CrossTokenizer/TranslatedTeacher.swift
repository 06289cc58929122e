import RetortKernels
import RetortModels
import RetortRuntime

/// A teacher that has read a batch in tokens of its own, and which of them write the same as which of the student's.
public struct TranslatedTeacher {
    /// Tokens of both that write the same text, and are learned.
    struct Group {
        /// Where the student predicts them, and where the teacher does: places in the rows of all tokens of a batch.
        let student: Range<Int>
        let teacher: Range<Int>
    }
    let groups: [Group]
    /// Σ over the groups of the teacher's ln p of its tokens in a range of places.
    let logProbability: (Range<Int>) -> Float
    /// Its logits at places, on the student's device.
    let logits: ([Int]) throws -> any LogitSource
    /// The tokens that both vocabularies have, by the student's and the teacher's ids.
    let shared: (student: [Int32], teacher: [Int32])
}

/// What losses across tokenizers have in common: the distribution of each group of tokens, and how groups are weighed.
///
/// A group of several tokens has the distribution of its last token times the probabilities of those before it (`last`, the chain rule), or
/// of its first times those behind it (`first`): numbers that sum to less than 1. It weighs as much as the student's tokens in it together.
struct GroupedDistributions {
    enum Merge: String, CaseIterable, Sendable { case last, first }

    let merge: Merge
    /// Logits of the student and of the teacher are divided by these.
    let temperature: Float
    let teacherTemperature: Float
    let weight: Float

    static let fields = [
        RecipeField(
            "merge", .choice(Merge.allCases.map(\.rawValue)), .defaulted(Merge.last.rawValue),
            "of several tokens that write what the other model writes otherwise: the last one's distribution times the probabilities before it, or the first one's times those behind it"
        ),
        RecipeField("temperature", .number(1e-3...1e3), .defaulted("1"), "the student's logits are divided by it"),
        RecipeField(
            "teacher-temperature", .number(1e-3...1e3), .defaulted("1"), "the teacher's logits are divided by it"),
        RecipeField("weight", .number(0...1e6), .defaulted("1"), "of the loss among others"),
    ]

    init(_ recipe: RecipeNode) {
        merge = Merge(rawValue: recipe.required("merge").text) ?? .last
        temperature = Float(recipe.required("temperature").number)
        teacherTemperature = Float(recipe.required("teacher-temperature").number)
        weight = Float(recipe.required("weight").number)
    }

    var contract: String {
        (temperature == 1 && teacherTemperature == 1
            ? "" : "T=\(temperature.short), teacher's T=\(teacherTemperature.short), ")
            + "groups by their \(merge.rawValue) token"
    }

    /// Σ over the groups of weight · what the student's tokens weigh · distance; of a mean over tokens that is their number / the batch's.
    /// - Parameter distance: of rows of both distributions, `[groups, vocabulary]` each, → `[groups]`.
    func loss(
        _ input: LanguageInput, _ distance: (_ student: Tensor, _ teacher: Tensor, TranslatedTeacher) throws -> Tensor
    ) throws -> Tensor {
        guard case .translated(let teacher)? = input.teacher else {
            throw TensorError("a loss across tokenizers without a teacher that has read the text in its own tokens")
        }
        let (groups, device) = (teacher.groups, Device(input.hidden.device))
        guard !groups.isEmpty else { return try Tensor([0], [], on: device) }
        func base(_ places: Range<Int>) -> Int { merge == .last ? places.upperBound - 1 : places.lowerBound }
        func others(_ places: Range<Int>) -> Range<Int> { merge == .last ? places.dropLast() : places.dropFirst() }

        let width = input.head.hidden
        let hidden = try input.hidden.reshaped([input.hidden.count / width, width]).gatherRows(
            groups.map { Int32(base($0.student)) }, shape: [groups.count])
        let own = try scale(groups.map { others($0.student) }, input)
        let theirs = try Tensor(
            groups.map { teacher.logProbability(others($0.teacher)) }, [groups.count, 1], on: device
        ).exp()
        let weights = try Tensor(
            groups.map { $0.student.reduce(0) { $0 + input.shares[$1] } * weight }, [groups.count], on: device)
        return try hidden.chunkedComposition(
            head: input.head, teachers: [teacher.logits(groups.map { base($0.teacher) })],
            rowInputs: own.map { [$0] } ?? [],
            chunk: input.chunk, headGradient: input.gradient
        ) { logits, taught, range, scales in
            var q = try logits.softmax(temperature: temperature)
            if let scale = scales.first { q = try q * scale.reshaped([range.count, 1]) }
            let p = try Tensor(view: taught[0], on: device).softmax(temperature: teacherTemperature)
            return try (distance(q, p * theirs.slice(range), teacher) * weights.slice(range)).sum()
        }
    }

    /// What the distribution of each group is multiplied by, `[groups]`; nil where all groups of the student have one token.
    private func scale(_ others: [Range<Int>], _ input: LanguageInput) throws -> Tensor? {
        let most = others.map(\.count).max() ?? 0
        guard most > 0 else { return nil }
        // Each place is in one group at most.
        let known = others.flatMap { $0 }
        let width = input.head.hidden
        let hidden = try input.hidden.reshaped([input.hidden.count / width, width]).gatherRows(
            known.map(Int32.init), shape: [known.count])
        let labels = try hidden.device.view(known.map { input.targets[$0] }, [known.count], .i32)
        let logs = try hidden.chunkedLogProbabilities(labels, head: input.head, chunk: input.chunk)
        let numbers = Dictionary(uniqueKeysWithValues: zip(known, Int32(0)...))
        let places = others.flatMap { range in
            (0..<most).map { range.count > $0 ? numbers[range.lowerBound + $0] ?? 0 : 0 }
        }
        let counts = others.flatMap { range in (0..<most).map { Float(range.count > $0 ? 1 : 0) } }
        let shape: Dimensions = [others.count, most]
        return try
            (logs.reshaped([logs.count, 1]).gatherRows(places, shape: [places.count]).reshaped(shape)
            * Tensor(counts, shape, on: Device(logs.device))).sum(-1).exp()
    }
}
