import Foundation
import RetortSupport

/// What becomes of raw inputs before a model sees them. A model without it is half of itself: pictures normalised by other numbers
/// than in training are measured wrongly and nothing says so. Kept beside the weights in `preprocessor_config.json`, in the words of
/// Hugging Face's image processors.
public enum Preprocessing: Sendable, Equatable {
    /// Every feature of a table times this.
    case features(scale: Double)
    case images(ImagePreprocessing)
}

/// Pictures, resized where they are of another size, then (byte / 255 − mean) / deviation by channel.
public struct ImagePreprocessing: Sendable, Equatable {
    /// `[channels]`, of values from 0 to 1.
    public let mean: [Double]
    /// `[channels]`, of values from 0 to 1; above 0.
    public let deviation: [Double]
    /// In pixels; nil where a file does not say.
    public let height: Int?
    /// In pixels; nil where a file does not say.
    public let width: Int?

    public init(mean: [Double], deviation: [Double], height: Int? = nil, width: Int? = nil) {
        self.mean = mean
        self.deviation = deviation
        self.height = height
        self.width = width
    }

    public var channels: Int { mean.count }
}

extension Preprocessing: CustomStringConvertible {
    /// In words, for messages: "features times 0.0625", "mean 0.49, 0.48, deviation 0.2, 0.2".
    public var description: String {
        switch self {
        case .features(let scale): return "features times \(scale)"
        case .images(let images):
            func list(_ numbers: [Double]) -> String {
                numbers.map { NumberFormat.significant($0) }.joined(separator: ", ")
            }
            return "mean \(list(images.mean)), deviation \(list(images.deviation))"
        }
    }

    /// Whether the model sees the same numbers, sizes aside.
    public func treatsInputs(as other: Preprocessing?) -> Bool {
        guard case .images(let own) = self, case .images(let theirs) = other else { return self == other }
        return own.mean == theirs.mean && own.deviation == theirs.deviation
    }

    static let fileName = "preprocessor_config.json"
    static let limits = JSON.Limits(bytes: 1 << 20, depth: 32, values: 100_000)
    private static let byteScale = 1.0 / 255

    /// As the file holds it.
    var json: JSON {
        switch self {
        case .features(let scale): return ["do_rescale": true, "rescale_factor": .double(scale)]
        case .images(let images):
            var members: [(key: String, value: JSON)] = [("image_processor_type", "ViTImageProcessor")]
            if let height = images.height, let width = images.width {
                // 2 is bilinear.
                members += [
                    ("do_resize", true), ("resample", 2), ("size", ["height": .int(height), "width": .int(width)]),
                ]
            }
            members += [
                ("do_rescale", true), ("rescale_factor", .double(Self.byteScale)), ("do_normalize", true),
                ("image_mean", .array(images.mean.map(JSON.double))),
                ("image_std", .array(images.deviation.map(JSON.double))),
            ]
            return .object(members)
        }
    }

    /// Reads a model directory's file; nil when there is none. Also takes what others write: pictures that are not normalised, or
    /// normalised from another scale than 0 to 1.
    /// - Throws: `RetortError` 65 with the place.
    init?(in folder: String) throws {
        let path = folder + "/" + Self.fileName
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        let root = try JSONCursor.read(path, limits: Self.limits)
        let rescales = try root.optional("do_rescale")?.bool() ?? true
        let factor = rescales ? try root.optional("rescale_factor")?.double(in: 1e-9...1e9) : 1
        let mean = try Self.numbers(root, "image_mean", in: -1e6...1e6)
        let deviation = try Self.numbers(root, "image_std", in: 1e-9...1e6)
        guard let mean, let deviation else {
            // A file that speaks of other things says nothing of scales.
            guard try root.optional("do_rescale") != nil || root.optional("rescale_factor") != nil else { return nil }
            self = .features(scale: factor ?? 1)
            return
        }
        guard mean.count == deviation.count else {
            throw root.failure("image_mean has \(mean.count) numbers, image_std \(deviation.count)")
        }
        let normalizes = try root.optional("do_normalize")?.bool() ?? true
        // (f·b − m) / s = (b/255 − m/(255·f)) / (s/(255·f)). Our own factor is exact: the numbers stay as they are.
        let own = factor ?? Self.byteScale
        let unit = own == Self.byteScale ? 1 : 255 * own
        let size = try root.optional("size").flatMap { try Self.size($0) }
        self = .images(
            ImagePreprocessing(
                mean: mean.map { normalizes ? $0 / unit : 0 },
                deviation: deviation.map { (normalizes ? $0 : 1) / unit },
                height: size?.height, width: size?.width))
    }

    private static func numbers(
        _ root: JSONCursor, _ key: String, in range: ClosedRange<Double>
    ) throws -> [Double]? {
        guard let list = try root.optional(key) else { return nil }
        let elements = try list.elements()
        guard (1...4).contains(elements.count) else {
            throw list.failure("it has a number for each of 1 to 4 channels")
        }
        return try elements.map { try $0.double(in: range) }
    }

    /// `{height, width}`, or one number for both; nil for what crops or keeps the shortest edge, which is no size.
    private static func size(_ cursor: JSONCursor) throws -> (height: Int, width: Int)? {
        if case .int = cursor.value {
            let side = try cursor.int(in: 1...1 << 14)
            return (side, side)
        }
        guard let height = try cursor.optional("height"), let width = try cursor.optional("width") else { return nil }
        return (try height.int(in: 1...1 << 14), try width.int(in: 1...1 << 14))
    }
}
