import Foundation
import RetortSupport

/// The part of an example that a model sees: some features of a table, or a region or some channels of images. Positions count from 0; both
/// ends are meant. Kept beside the weights in `preprocessor_config.json` under `sees`, as a recipe says it.
public struct InputRegion: Sendable, Equatable {
    public var channels: ClosedRange<Int>?
    public var rows: ClosedRange<Int>?
    public var columns: ClosedRange<Int>?

    /// Everything.
    public init() {}

    public var isWhole: Bool { self == InputRegion() }

    static let key = "sees"

    /// As the file holds it.
    var json: JSON {
        func pair(_ range: ClosedRange<Int>) -> JSON { .array([.int(range.lowerBound), .int(range.upperBound)]) }
        return .object(
            [("channels", channels), ("rows", rows), ("columns", columns)].compactMap { name, range in
                range.map { (key: name, value: pair($0)) }
            })
    }

    /// Reads a model directory's file; everything where it says nothing.
    /// - Throws: `RetortError` 65 with the place.
    init(in folder: String) throws {
        self.init()
        let path = folder + "/" + Preprocessing.fileName
        guard FileManager.default.fileExists(atPath: path),
            let sees = try JSONCursor.read(path, limits: Preprocessing.limits).optional(Self.key)
        else { return }
        try sees.expectKeys(["channels", "rows", "columns"])
        func range(_ key: String) throws -> ClosedRange<Int>? {
            guard let pair = try sees.optional(key) else { return nil }
            let ends = try pair.elements().map { try $0.int(in: 0...Int(Int32.max)) }
            guard ends.count == 2, ends[0] <= ends[1] else {
                throw pair.failure("it is the first position and the last, counted from 0")
            }
            return ends[0]...ends[1]
        }
        (channels, rows, columns) = (try range("channels"), try range("rows"), try range("columns"))
    }
}
