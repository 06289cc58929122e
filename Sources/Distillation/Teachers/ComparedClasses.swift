import RetortModels
import RetortRuntime

/// The classes over which a student is compared with teachers: those of its own that all of them know. Both distributions are softmaxes over
/// these alone; nothing stands for a token that one of them lacks.
///
/// Heads are often longer than their vocabulary (Qwen2.5: 151 665 tokens, heads of 151 936 and 152 064 rows), and a teacher may count the same
/// tokens otherwise.
struct ComparedClasses: Sendable {
    /// The student's, ascending.
    let ids: [Int32]
    /// Whether teachers know all of the student's tokens: every label is one of the classes.
    let isWhole: Bool
    /// Of each teacher that counts otherwise what its ids for the classes are.
    private let others: [String: [Int32]]
    /// Of each of the student's ids the class, −1 for none; nil: they are the same.
    private let places: [Int32]?

    /// nil where all have the same ids, and heads of one length.
    /// - Parameters:
    ///   - teachers: those that read in other tokens are not compared in this way.
    ///   - student: rows of its head.
    init?(_ teachers: [LanguageTeacher], beside student: Int) {
        let own = teachers.filter { !$0.tokens.isForeign }
        guard own.contains(where: { $0.tokens.renumbering != nil || $0.vocabulary != student }) else { return nil }
        let known = own.compactMap { teacher in teacher.tokens.shared.map { (teacher.name, $0) } }
        guard let first = known.first?.1 else { return nil }
        let ids = first.studentIDs.filter { id in
            known.dropFirst().allSatisfy { $0.1.place(of: id) != nil }
        }
        self.ids = ids
        others = Dictionary(
            uniqueKeysWithValues: known.map { name, shared in (name, ids.compactMap { shared.teacherID(of: $0) }) })
        let renumberings = own.compactMap(\.tokens.renumbering)
        isWhole = renumberings.allSatisfy { $0.knowsAll }
        if ids.elementsEqual(0..<Int32(ids.count)) {
            places = nil
        } else {
            var places = [Int32](repeating: -1, count: Int(ids.last ?? -1) + 1)
            for (place, id) in ids.enumerated() { places[Int(id)] = Int32(place) }
            self.places = places
        }
    }

    var count: Int { ids.count }

    /// The ids that a teacher has for the classes.
    func ids(of teacher: LanguageTeacher) -> [Int32] { others[teacher.name] ?? ids }

    /// The class of a label; nil for a token that a teacher does not know, and where there is none.
    func place(of label: Int32) -> Int32? {
        guard label >= 0 else { return nil }
        guard let places else { return label < Int32(ids.count) ? label : nil }
        guard label < Int32(places.count), places[Int(label)] >= 0 else { return nil }
        return places[Int(label)]
    }

    /// Of all logits `[rows, classes]` those of the classes, off the tape.
    func columns(of logits: Tensor) throws -> Tensor {
        places == nil ? try logits.narrowed(axis: 1, 0..<count) : try logits.gatherColumns(ids)
    }
}
