import RetortRuntime
import RetortSupport

/// The tokens that two tokenizers both know: the classes over which a student and a teacher of different vocabularies are compared. Each is
/// a row of both heads; nothing stands for a token that one of them lacks.
///
/// Two tokens are the same when they are spelled alike and write the same bytes, or mark something in both ("</s>", whatever its role is);
/// of the others, when they write the same bytes ("Ġthe" of byte-level BPE is "▁the" of SentencePiece), the smallest ids first.
///
/// Heads are often longer than their vocabulary (Qwen2.5: 151665 tokens, heads of 151936 and 152064 rows): where a side's ids go from 0 on
/// without a gap its head is narrowed, without a copy; otherwise its rows are gathered.
public struct SharedVocabulary: Sendable {
    /// Of each shared token the student's id, ascending, and the teacher's.
    public let studentIDs: [Int32]
    public let teacherIDs: [Int32]
    /// A shared token's place by the student's id; −1: the teacher does not know it.
    private let places: [Int32]
    /// By the teacher's id: the student knows it.
    private let isKnown: [Bool]

    public var count: Int { studentIDs.count }

    /// - Throws: `RetortError` 65, 69 for a tokenizer that cannot encode.
    public init(student: Tokenizer, teacher: Tokenizer) throws {
        self.init(student, try TokenPieces(student), teacher, try TokenPieces(teacher))
    }

    /// The first ids of both, token by token.
    public init(first count: Int) {
        (studentIDs, teacherIDs) = (Array(0..<Int32(count)), Array(0..<Int32(count)))
        places = studentIDs
        isKnown = [Bool](repeating: true, count: count)
    }

    init(_ student: Tokenizer, _ ours: TokenPieces, _ teacher: Tokenizer, _ theirs: TokenPieces) {
        var partners = [Int32](repeating: -1, count: student.idLimit)
        var isTaken = [Bool](repeating: false, count: teacher.idLimit)
        for id in 0..<Int32(student.idLimit) {
            guard let token = student.token(id), let other = teacher.id(of: token), !isTaken[Int(other)],
                teacher.token(other)?.hasSameBytes(as: token) ?? false,
                ours.bytes(id) == theirs.bytes(other) || ours.isMarker(id) && theirs.isMarker(other)
            else { continue }
            partners[Int(id)] = other
            isTaken[Int(other)] = true
        }
        var others: [[UInt8]: Int32] = [:]
        for id in (0..<Int32(teacher.idLimit)).reversed() where !isTaken[Int(id)] {
            let piece = theirs.bytes(id)
            if !piece.isEmpty { others[piece] = id }
        }
        for id in 0..<Int32(student.idLimit) where partners[Int(id)] < 0 {
            let piece = ours.bytes(id)
            if !piece.isEmpty, let other = others.removeValue(forKey: piece) { partners[Int(id)] = other }
        }
        let known = partners.indices.filter { partners[$0] >= 0 }
        studentIDs = known.map(Int32.init)
        teacherIDs = known.map { partners[$0] }
        var places = [Int32](repeating: -1, count: partners.count)
        for (place, id) in known.enumerated() { places[id] = Int32(place) }
        self.places = places
        var isKnown = [Bool](repeating: false, count: teacher.idLimit)
        for id in teacherIDs { isKnown[Int(id)] = true }
        self.isKnown = isKnown
    }

    /// Where a token of the student's stands among the shared ones; nil for one that the teacher does not know.
    public func place(of id: Int32) -> Int? {
        guard places.indices.contains(Int(id)), places[Int(id)] >= 0 else { return nil }
        return Int(places[Int(id)])
    }

    /// The teacher's id of a token of the student's; nil where it has none.
    public func teacherID(of id: Int32) -> Int32? { place(of: id).map { teacherIDs[$0] } }

    /// Whether the student has a token of the teacher's.
    public func knows(teacherID id: Int32) -> Bool { isKnown.indices.contains(Int(id)) && isKnown[Int(id)] }

    /// The student's labels as places among the shared tokens; `ignored` for those that the teacher does not know.
    /// - `ignored`: the label that masks a position; it stays.
    public func labels(_ ids: [Int32], ignored: Int32 = -100) -> [Int32] {
        ids.map { place(of: $0).map(Int32.init) ?? ignored }
    }

    /// The student's head over the shared tokens; gradients reach its own rows.
    /// - Throws: `TensorError` where the head has fewer rows than the tokenizer has ids.
    public func studentHead(_ head: OutputHead) throws -> OutputHead { try head.restricted(to: studentIDs) }

    /// The teacher's.
    public func teacherHead(_ head: OutputHead) throws -> OutputHead { try head.restricted(to: teacherIDs) }
}
