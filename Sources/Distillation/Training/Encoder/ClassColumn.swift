import RetortData
import RetortSupport

/// Where the classes of texts stand: looked at again when a model does not know all of them.
struct ClassColumn: Sendable {
    let path: String
    let texts: [String]
    let label: String
    /// Rows at most; nil: all.
    let limit: Int?

    /// Exit 65, with file:line:column, for the first row whose class is none of these; nil where all are.
    /// - Parameter owner: who knows these alone: "the teacher".
    /// - Throws: `RetortError` 66 or 74 when the file cannot be read once more.
    func unknown(beside names: [String], of owner: String) throws -> RetortError? {
        let shown = names.prefix(12).joined(separator: ", ") + (names.count > 12 ? ", …" : "")
        let columns = LabelledTexts.Columns(
            texts: texts, value: label, wanted: "one of the \(names.count) classes of \(owner): \(shown)"
        ) { value in
            names.contains { $0.hasSameBytes(as: value.name) } ? 0 : nil
        }
        do {
            try LabelledTexts.each(path, columns, limit: limit) { _ in }
            return nil
        } catch var unknown as RetortError where unknown.exit == .badData {
            unknown.help =
                "Correct the class, or check that \(label.quoted()) is the column of classes. If the file is right, "
                + "\(owner) has to learn them first: give it a `train`."
            return unknown
        }
    }
}
