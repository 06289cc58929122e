import RetortRuntime
import RetortSupport

/// The tokens that two tokenizers both know, found by comparing what the vocabularies write, byte by byte: the classes over which a student
/// and a teacher of different vocabularies are compared. Each is a row of both heads; nothing stands for a token that one of them lacks.
///
/// Heads are often longer than their vocabulary (Qwen2.5: 151665 tokens, heads of 151936 and 152064 rows): where ids agree from 0 on they
/// are narrowed, without a copy; otherwise their rows are gathered.
public struct SharedVocabulary: Sendable {
    /// Of each shared token the student's id, ascending, and the teacher's.
    public let studentIDs: [Int32]
    public let teacherIDs: [Int32]
    /// Whether both are 0, 1, 2 …
    public let isPrefix: Bool
    /// A shared token's place by the student's id; −1: the teacher does not know it.
    private let places: [Int32]

    public var count: Int { studentIDs.count }

    /// - Throws: `RetortError` 65 where the tokenizers do not write tokens alike (byte-level "Ġthe", "▁the"), or share none.
    public init(student: Tokenizer, teacher: Tokenizer) throws {
        guard student.kind == teacher.kind else {
            throw RetortError.badData(
                "the student's tokenizer is \(student.kind), the teacher's \(teacher.kind)",
                why: "they write the same text in different ways, so their tokens cannot be compared",
                help: "use a method across tokenizers, or a teacher whose tokenizer is of the student's kind")
        }
        var (ours, theirs): ([Int32], [Int32]) = ([], [])
        var places = [Int32](repeating: -1, count: student.idLimit)
        var taken = Set<Int32>()
        for id in 0..<Int32(student.idLimit) {
            guard let token = student.token(id), let other = teacher.id(of: token),
                teacher.token(other)?.hasSameBytes(as: token) ?? false, taken.insert(other).inserted
            else { continue }
            places[Int(id)] = Int32(ours.count)
            ours.append(id)
            theirs.append(other)
        }
        guard !ours.isEmpty else {
            throw RetortError.badData(
                "student and teacher have no token in common", help: "use a method across tokenizers")
        }
        (studentIDs, teacherIDs, self.places) = (ours, theirs, places)
        isPrefix = ours == theirs && ours == Array(0..<Int32(ours.count))
    }

    /// The student's head over the shared tokens; gradients reach its own rows.
    /// - Throws: `TensorError` where the head has fewer rows than the tokenizer has ids.
    public func studentHead(_ head: OutputHead) throws -> OutputHead { try restricted(head, studentIDs) }

    /// The teacher's. Gathered rows are a copy: made once, not for each batch.
    public func teacherHead(_ head: OutputHead) throws -> OutputHead { try restricted(head, teacherIDs) }

    private func restricted(_ head: OutputHead, _ ids: [Int32]) throws -> OutputHead {
        isPrefix ? try head.narrowed(to: count) : try head.gathered(ids)
    }

    /// What to do with a label that the teacher does not know.
    public enum Outside: Sendable {
        case error
        /// It becomes the ignored label; the caller counts valid tokens after this.
        case masked
    }

    /// The student's labels as places among the shared tokens.
    /// - Parameter ignored: the label that masks a position; it stays.
    /// - Throws: `RetortError` 65 for an id that the student does not have, and, unless they are masked, for one that the teacher does not know.
    public func labels(_ ids: [Int32], outside: Outside, ignored: Int32 = -100) throws -> [Int32] {
        try ids.map { id in
            if id == ignored { return ignored }
            if let place = try place(of: id) { return place }
            switch outside {
            case .masked: return ignored
            case .error: throw unknownToTeacher(id)
            }
        }
    }

    /// The teacher's ids of a text that the student's tokenizer has cut.
    /// - Throws: `RetortError` 65 for a token that the teacher does not know.
    public func teacherIDs(of ids: [Int32]) throws -> [Int32] {
        try ids.map { id in
            guard let place = try place(of: id) else { throw unknownToTeacher(id) }
            return teacherIDs[Int(place)]
        }
    }

    private func place(of id: Int32) throws -> Int32? {
        guard places.indices.contains(Int(id)) else {
            throw RetortError.badData("the student has no token \(id)", why: "its ids end at \(places.count - 1)")
        }
        return places[Int(id)] < 0 ? nil : places[Int(id)]
    }

    private func unknownToTeacher(_ id: Int32) -> RetortError {
        .badData(
            "the teacher does not know the student's token \(id)",
            help: "mask such labels, or use a method across tokenizers")
    }
}
