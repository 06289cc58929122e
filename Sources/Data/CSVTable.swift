import RetortSupport

/// What every table of rows under a header has in common: names, counts, numbers. Errors are exit 65 with file:line:column.
extension CSVScanner {
    /// The header's names, each once.
    /// - Throws: when a name is empty, stands twice, or all names are numbers.
    func columnNames(_ fields: [Field]) throws(RetortError) -> [String] {
        var names: [String] = []
        var seen: Set<ExactKey> = []
        for field in fields {
            let name = text(field)
            guard !name.isEmpty else {
                throw failure(at: field.range.lowerBound, "a column without a name")
            }
            guard seen.insert(ExactKey(name)).inserted else {
                throw failure(at: field.range.lowerBound, "the column \(name.quoted()) appears twice")
            }
            names.append(name)
        }
        // A file without header would lose its first row and get numbers for names.
        if names.allSatisfy({ DecimalText.double($0) != nil }) {
            throw failure(
                at: 0, "the header row is missing: the first line holds only numbers",
                help: "Add a first line with the names of the columns.")
        }
        return names
    }

    /// The position of a column by its name.
    /// - `what`: the column's part in messages: "label column".
    func column(_ what: String, _ name: String, of names: [String]) throws(RetortError) -> Int {
        if let position = names.firstIndex(where: { $0.hasSameBytes(as: name) }) { return position }
        let shown = names.prefix(20).map { $0.quoted(limit: 40) }.joined(separator: ", ")
        let list = shown + (names.count > 20 ? ", … (\(names.count) in all)" : "")
        throw failure(
            at: 0, "there is no \(what) \(name.quoted())", why: "the columns are " + list,
            help: EditDistance.nearest(to: name, among: names).map { "Did you mean \($0.quoted())?" } ?? "")
    }

    func checkCount(_ fields: [Field], wanted: Int) throws(RetortError) {
        guard fields.count != wanted, let last = fields.last else { return }
        if fields.count == 1, last.range.isEmpty, !last.isQuoted {
            throw failure(at: last.range.lowerBound, "an empty line", help: "Remove it.")
        }
        let why = "it has \(NumberFormat.counted(fields.count, "field", "fields")); the header has \(wanted)"
        if fields.count < wanted {
            throw failure(
                at: last.end, "a truncated row", why: why, help: "Perhaps the file was cut off while it was written.")
        }
        throw failure(at: fields[wanted].range.lowerBound, "a row with too many fields", why: why)
    }

    /// A finite decimal number; spaces around it are allowed.
    func number(_ field: Field, column: String) throws(RetortError) -> Double {
        let range = trimmed(field)
        if let number = DecimalText.double(in: bytes, range) {
            guard number.isFinite else { throw notFinite(field, column: column) }
            return number
        }
        guard !range.isEmpty else {
            throw failure(
                at: field.range.lowerBound, "a missing value in column \(column.quoted())",
                help: "Fill in or remove the rows with missing values.")
        }
        let text = text(field)
        let word = text.drop { $0 == "-" || $0 == "+" }.lowercased()
        if ["nan", "inf", "infinity"].contains(word) { throw notFinite(field, column: column) }
        throw failure(
            at: range.lowerBound, "not a number in column \(column.quoted())",
            why: "\(text.quoted()) is not a decimal number")
    }

    func notFinite(_ field: Field, column: String) -> RetortError {
        failure(
            at: trimmed(field).lowerBound, "a value that is not finite in column \(column.quoted())",
            why: "\(text(field).quoted()) is NaN, infinite or too large for a 32-bit float",
            help: "Fill in or remove the rows with missing values.")
    }
}
