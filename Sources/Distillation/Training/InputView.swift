import RetortModels
import RetortRuntime
import RetortSupport

/// The part of an example that a model sees, so that teacher and student can learn from two modalities of the same examples: some
/// features of a table, or a region or some channels of images. Positions count from 0; both ends are meant.
public struct InputView: Sendable {
    /// As a model's directory keeps it.
    public let region: InputRegion
    private let location: RetortError.Location?

    /// Everything.
    public static let whole = InputView(InputRegion())

    /// What a model's directory says.
    public init(_ region: InputRegion) {
        self.region = region
        location = nil
    }

    private var ranges: [(key: String, range: ClosedRange<Int>)] {
        [("channels", region.channels), ("rows", region.rows), ("columns", region.columns)].compactMap { key, range in
            range.map { (key, $0) }
        }
    }

    static let field = RecipeField(
        "sees",
        .section(
            RecipeSection(
                "sees", "The part of an example that the model sees; absent: all of it.",
                ["columns", "rows", "channels"].map { key in
                    RecipeField(
                        key, .list(of: .integer(0...Int(Int32.max)), count: 2...2), .optional,
                        key == "columns"
                            ? "first and last feature of a table, or column of images, counted from 0"
                            : "first and last of images, counted from 0")
                })), .optional, "the part of an example that the model sees, where modalities stand side by side")

    /// - Throws: `RetortError` 78 when a last position comes before its first.
    init(_ node: RecipeNode?) throws {
        func range(_ key: String) throws -> ClosedRange<Int>? {
            guard let list = node?[key]?.list.map(\.integer) else { return nil }
            guard list[0] <= list[1] else {
                throw RetortError.recipe(
                    "sees.\(key) ends at \(list[1]), before it begins at \(list[0])", at: node?[key]?.location)
            }
            return list[0]...list[1]
        }
        var region = InputRegion()
        (region.channels, region.rows, region.columns) = (
            try range("channels"), try range("rows"), try range("columns")
        )
        self.region = region
        location = node?.location
    }

    public var isWhole: Bool { region.isWhole }

    /// In words: "columns 0 to 31"; "" for everything.
    var contract: String {
        ranges.map { "\($0.key) \($0.range.lowerBound) to \($0.range.upperBound)" }.joined(separator: ", ")
    }

    /// The shape of what is seen of an example.
    /// - Parameter sample: `[features]` or `[channels, height, width]`.
    /// - Throws: `RetortError` 78 for positions that examples do not have.
    func shape(of sample: [Int]) throws -> [Int] {
        var shape = sample
        for (key, range) in ranges {
            guard let axis = Self.axis(key, sample) else {
                throw RetortError.recipe(
                    "sees.\(key) is for images, and the examples are rows of \(sample[0]) features", at: location)
            }
            guard range.upperBound < sample[axis] else {
                throw RetortError.recipe(
                    "sees.\(key) ends at \(range.upperBound), but examples of shape \(sample) have \(sample[axis]) \(key)",
                    at: location, help: "positions count from 0, so the last is \(sample[axis] - 1)")
            }
            shape[axis] = range.count
        }
        return shape
    }

    /// `[rows, …sample]` → `[rows, …seen]`, off the tape.
    func callAsFunction(_ x: Tensor) throws -> Tensor {
        guard !isWhole else { return x }
        let sample = Array(x.shape.dropFirst())
        return try ranges.reduce(x.detached) { x, part in
            guard let axis = Self.axis(part.key, sample) else {
                throw RetortError.internalBug("sees.\(part.key) of examples \(sample)")
            }
            return try x.narrowed(axis: axis + 1, part.range.lowerBound..<(part.range.upperBound + 1))
        }.copied()
    }

    private static func axis(_ key: String, _ sample: [Int]) -> Int? {
        guard sample.count == 3 else { return key == "columns" ? sample.count - 1 : nil }
        return ["channels": 0, "rows": 1, "columns": 2][key]
    }
}

extension ClassificationTask {
    /// The task of a model that sees a part of each example.
    /// - Throws: `RetortError` 78 for a part that examples do not have.
    func seen(by view: InputView) throws -> ClassificationTask {
        ClassificationTask(sample: try view.shape(of: sample), classes: classes)
    }
}
