import RetortData
import RetortRuntime

/// RandAugment (Cubuk et al. 2020, arXiv:1909.13719): some operations of fourteen for each picture, all equally likely, drawn with
/// replacement, one after the other.
///
/// With a magnitude M, 0 to 30, all operations are as strong as M says, on torchvision's scale: rotations of M degrees, slopes of 0.01 · M,
/// shifts of ⌊150 / 331 · M / 30 · side⌋ pixels and factors of 1 ± 0.03 · M, each of these with a sign of its own; bytes from
/// 255 · (1 − M / 30) on inverted; 8 − round(4 · M / 30) bits. Without one each operation draws its strength, as in FixMatch (Sohn et
/// al. 2020, arXiv:2001.07685): −30 to 30 degrees, slopes of −0.3 to 0.3, shifts of −0.3 to 0.3 of the side, factors of 0.05 to 0.95,
/// thresholds of 0 to 256, 4 to 7 bits. There a grey square follows, of a side up to a share of the width, drawn too (`cutout`).
///
/// Everything is a function of (seed, view, pass, number of the picture in the training set) alone: words of Philox's block
/// pass · 2³² + number. Operation k, from 0, has those of the stream "rand-augment" + k, for the strong view "rand-augment/strong" + k:
/// the upper 32 bits of word 0 times 14 tell the operation, in the order of `Kind`; word 1 · 2⁻³² how far its strength is from the lower
/// end of its range to the upper; the uppermost bit of word 2 the sign. The square has those of "cutout": word 0 its side, words 1 and 2
/// the column and line of its middle.
public struct RandAugment: Sendable, Equatable {
    /// Operations on each picture.
    public let operations: Int
    /// 0 to 30; nil: each draws its own.
    public let magnitude: Double?
    /// Largest side of the grey square as a share of the width; 0: none.
    public let cutout: Double

    private enum Kind: CaseIterable {
        case identity, autocontrast, equalize, rotate, solarize, color, posterize, contrast, brightness, sharpness
        case shearX, shearY, translateX, translateY
    }

    static let field = RecipeField(
        "rand-augment",
        .section(
            RecipeSection(
                "rand-augment", "Operations drawn for each picture, after crop and flip (Cubuk et al. 2020).",
                [
                    RecipeField("operations", .integer(1...16), .defaulted("2"), "how many, one after the other"),
                    RecipeField(
                        "magnitude", .number(0...30), .optional,
                        "how strong all are; absent: each draws its own, as in FixMatch"),
                    RecipeField(
                        "cutout", .number(0...1), .defaulted("0"),
                        "largest side of a grey square that follows, as a share of the width, drawn too; "
                            + "0.5 in FixMatch"),
                ])), .optional, "operations drawn for each picture, after crop and flip")

    /// - Parameters:
    ///   - operations: on each picture, 1 or more.
    ///   - magnitude: 0 to 30; nil: each operation draws its own.
    ///   - cutout: largest side of the grey square as a share of the width; 0: none.
    public init(operations: Int = 2, magnitude: Double? = nil, cutout: Double = 0) {
        self.operations = operations
        self.magnitude = magnitude
        self.cutout = cutout
    }

    init(_ node: RecipeNode) {
        self.init(
            operations: node.required("operations").integer, magnitude: node["magnitude"]?.number,
            cutout: node.required("cutout").number)
    }

    /// What is done to one picture, in this order.
    /// - Parameters:
    ///   - sample: its number in the training set.
    ///   - view: each draws its own.
    ///   - moment: its seed and pass; the step changes nothing.
    ///   - height: in pixels.
    ///   - width: in pixels.
    func drawn(
        _ sample: Int, _ view: ExampleView, at moment: DeviceRows.Moment, height: Int, width: Int
    ) -> [PictureOperation] {
        let block = UInt64(moment.epoch) << 32 | UInt64(sample)
        let stream = view.stream("rand-augment")
        var result = (0..<operations).map { place in
            operation(
                Philox(seed: moment.seed, stream: stream &+ UInt64(place)).block(block), height: height, width: width)
        }
        if cutout > 0 {
            let words = Philox(seed: moment.seed, stream: view.stream("cutout")).block(block)
            if let cut = square(words, height: height, width: width) { result.append(cut) }
        }
        return result
    }

    private func operation(
        _ words: (UInt32, UInt32, UInt32, UInt32), height: Int, width: Int
    ) -> PictureOperation {
        let share = Double(words.1) * 0x1p-32
        let sign = words.2 >> 31 == 0 ? 1.0 : -1.0
        let level = magnitude.map { $0 / 30 }
        func between(_ low: Double, _ high: Double) -> Double { low + (high - low) * share }
        func factor() -> Double { level.map { 1 + sign * 0.9 * $0 } ?? between(0.05, 0.95) }
        func moved(_ most: Double) -> Double { level.map { sign * most * $0 } ?? between(-most, most) }
        func shift(_ side: Int) -> Double {
            let pixels = Double(side)
            return level.map { sign * (150.0 / 331 * $0 * pixels).rounded(.down) } ?? between(-0.3, 0.3) * pixels
        }
        switch Kind.allCases[Int((UInt64(words.0) * UInt64(Kind.allCases.count)) >> 32)] {
        case .identity: return .identity
        case .autocontrast: return .autocontrast
        case .equalize: return .equalize
        case .rotate: return .rotate(degrees: moved(30))
        case .solarize: return .solarize(threshold: level.map { 255 * (1 - $0) } ?? between(0, 256))
        case .color: return .color(factor())
        case .posterize:
            return .posterize(
                bits: level.map { 8 - Int((4 * $0).rounded(.toNearestOrEven)) } ?? Int(between(4, 8)))
        case .contrast: return .contrast(factor())
        case .brightness: return .brightness(factor())
        case .sharpness: return .sharpness(factor())
        case .shearX: return .shearX(moved(0.3))
        case .shearY: return .shearY(moved(0.3))
        case .translateX: return .translateX(shift(width))
        case .translateY: return .translateY(shift(height))
        }
    }

    /// The square as FixMatch's code places it: a middle anywhere in the picture, the upper left corner cut to whole pixels inside it, and from
    /// there a side, both ends meant. nil for a side of 0.
    private func square(
        _ words: (UInt32, UInt32, UInt32, UInt32), height: Int, width: Int
    ) -> PictureOperation? {
        let side = cutout * (Double(words.0) * 0x1p-32) * Double(width)
        guard side > 0 else { return nil }
        func range(_ word: UInt32, _ length: Int) -> Range<Int> {
            let first = Int(max(0, Double(word) * 0x1p-32 * Double(length) - side / 2))
            return first..<min(length, Int(min(Double(length), Double(first) + side)) + 1)
        }
        return .cut(lines: range(words.2, height), columns: range(words.1, width))
    }
}
