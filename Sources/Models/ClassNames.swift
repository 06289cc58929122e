import RetortRuntime
import RetortSupport

/// What the classes of a classifier are called, in the order of its logits: Hugging Face's `id2label` and `label2id` in config.json.
public struct ClassNames: Sendable {
    /// `[classes]`.
    public let names: [String]

    public init(_ names: [String]) { self.names = names }

    /// Of data whose classes may have no names: nil where each is called by its number.
    public init?(unlessNumbers names: [String]) {
        guard names.indices.contains(where: { names[$0] != "\($0)" }) else { return nil }
        self.names = names
    }

    /// Those that a model's directory states; nil where it states none, or Hugging Face's LABEL_0, LABEL_1, … that stand for none.
    /// - Throws: `RetortError` 65 for an `id2label` that is not of the model's classes.
    public init?(in folder: String, classes: Int) throws {
        guard let labels = try ModelDirectory.configuration(folder + "/config.json").optional("id2label") else {
            return nil
        }
        var found = [String?](repeating: nil, count: classes)
        for (key, label) in try labels.members() {
            guard let number = Int(key), found.indices.contains(number), found[number] == nil else {
                throw label.failure("the model has classes 0 to \(classes - 1), each named once")
            }
            found[number] = try label.string()
        }
        let names = found.compactMap { $0 }
        guard names.count == classes else { throw labels.failure("it names \(names.count) of \(classes) classes") }
        guard names.indices.contains(where: { names[$0] != "LABEL_\($0)" }) else { return nil }
        self.names = names
    }

    func write(into config: inout JSONObject) {
        config.set("id2label", .object(names.enumerated().map { ("\($0)", .string($1)) }))
        config.set("label2id", .object(names.enumerated().map { ($1, .int($0)) }))
    }

    /// Puts a model's classes in the order of these, the data's; a model whose directory has no names stays as it is.
    /// - Parameters:
    ///   - model: as it was loaded.
    ///   - folder: where from.
    ///   - who: what messages call it.
    /// - Throws: `RetortError` 65 for a class that only the model or only the data has.
    public func align(_ model: any Model, from folder: String, who: String) throws {
        guard let own = try ClassNames(in: folder, classes: model.classes) else { return }
        try model.reorderClasses(try own.order(for: self, who: who, file: folder + "/config.json"))
    }

    /// Of each class of the data its place here.
    private func order(for data: ClassNames, who: String, file: String) throws -> [Int] {
        let own = names.map { ExactKey($0) }
        let wanted = data.names.map { ExactKey($0) }
        guard own != wanted else { return Array(own.indices) }
        let places = Dictionary(zip(own, own.indices)) { first, _ in first }
        let known = Set(wanted)
        let (unknown, absent) = (wanted.first { places[$0] == nil }, own.first { !known.contains($0) })
        func refusal(_ what: String, _ why: String) -> RetortError {
            .badData(
                what, at: .init(file: file), why: why,
                help: "Call the classes of the data as they were called in training; id2label lists them.")
        }
        if let unknown {
            let other = absent.map { "of the model's classes the data does not have \($0.string.quoted())" }
            throw refusal(
                "\(who) knows no class \(unknown.string.quoted()), which the data has",
                other ?? "the data has \(wanted.count) classes, the model \(own.count)")
        }
        if let absent {
            throw refusal(
                "the data has no class \(absent.string.quoted()), which \(who) knows",
                "the data has \(wanted.count) classes, the model \(own.count)")
        }
        let order = wanted.compactMap { places[$0] }
        guard Set(order).count == own.count, order.count == own.count else {
            throw refusal("\(who)'s classes cannot be found by name", "a name stands for two classes")
        }
        return order
    }
}

extension Model {
    /// Puts the classes in another order: the rows of the linear layer that makes the logits, whose weight `[classes, features]` and bias
    /// `[classes]` every architecture has last.
    /// - Parameter order: of each new class its old number; a permutation.
    public func reorderClasses(_ order: [Int]) throws {
        precondition(order.count == classes, "an order of \(order.count) for \(classes) classes")
        guard !order.elementsEqual(order.indices) else { return }
        for parameter in parameters.suffix(2) {
            let values = try parameter.values()
            let width = values.count / classes
            try parameter.assign(order.flatMap { values[($0 * width)..<(($0 + 1) * width)] })
        }
    }
}
