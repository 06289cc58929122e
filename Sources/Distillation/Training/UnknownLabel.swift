import RetortData
import RetortSupport

extension RetortError {
    /// Exit 65: the first label of a CSV file that a model has no class for. It is the file that is held for wrong: the model says how many
    /// classes there are, and which of both is right only the reader knows. A model with classes that the file has not is told of by itself.
    /// - Parameters:
    ///   - column: the name of the label column.
    ///   - owner: whose classes they are: "the student".
    ///   - classes: how many; labels from 0 to one less are known.
    ///   - source: who says so: "its last layer has that many outputs".
    ///   - all: the classes of the whole file, the largest label + 1.
    ///   - remedy: what to do where the label is right.
    /// - Returns: nil where the file has no such label.
    /// - Throws: `RetortError` 65, 66 or 74 when the file cannot be read once more.
    static func unknownLabel(
        in path: String, column: String, of owner: String, classes: Int, all: Int, source: String, remedy: String
    ) throws -> RetortError? {
        guard let place = try NumericCSV.firstLabel(in: path, label: column, from: classes) else { return nil }
        let known = classes == 1 ? "1 class, 0" : "\(classes) classes, 0 to \(classes - 1)"
        return .badData(
            "the label \(place.label) is beyond the classes of \(owner)", at: place.location,
            why: "\(owner) has \(known): \(source); \(place.count) of \(place.rows) rows have a label beyond, "
                + "and the file has \(all) classes by its largest\n" + place.excerpt,
            help: "Correct the label, or check that \(column.quoted()) is the column of labels. "
                + "If the file is right, \(remedy).")
    }
}
