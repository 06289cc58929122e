import RetortData
import RetortKernels
import RetortRuntime

/// How the pictures of one view are changed at random: first crop and flip, then RandAugment.
public struct PictureAugmentation: Sendable, Equatable {
    public var geometry: ImageAugmentation
    /// nil: the device crops and flips while it gathers a batch. Otherwise the host does all of it beside the training.
    public var randAugment: RandAugment?

    public static let none = PictureAugmentation()

    /// - Parameters:
    ///   - geometry: crop and flip.
    ///   - randAugment: what follows; nil: nothing.
    public init(_ geometry: ImageAugmentation = .none, randAugment: RandAugment? = nil) {
        self.geometry = geometry
        self.randAugment = randAugment
    }

    static let fields = [
        RecipeField("crop", .integer(0...1024), .defaulted("0"), "zeros on each side before a random crop"),
        RecipeField("flip", .number(0...1), .defaulted("0"), "probability of a left-right flip"),
        RandAugment.field,
    ]

    init(_ node: RecipeNode) {
        self.init(
            ImageAugmentation(
                padding: node.required("crop").integer, flipProbability: node.required("flip").number),
            randAugment: node["rand-augment"].map { RandAugment($0) })
    }

    /// Changes one picture as the device and the host together would change it in a batch.
    /// - Parameters:
    ///   - picture: as it is in the training set.
    ///   - sample: its number there, from 0 on.
    ///   - view: each draws its own.
    ///   - moment: its seed and pass; the step changes nothing.
    func apply(to picture: inout PictureBytes, _ sample: Int, _ view: ExampleView, at moment: DeviceRows.Moment) {
        precondition(sample >= 0, "picture \(sample) of a training set, which counts from 0")
        if geometry != .none {
            // As `augment.cl` says: the words that `GatherImages` draws on the device.
            let words = Philox(seed: moment.seed, stream: view.stream("augment"))
                .block(UInt64(moment.epoch) << 32 | UInt64(sample))
            func offset(_ word: UInt32) -> Int {
                Int((UInt64(word) * UInt64(2 * geometry.padding + 1)) >> 32) - geometry.padding
            }
            picture.shift(
                down: offset(words.0), right: offset(words.1), flipped: Int(words.2) < geometry.flipThreshold)
        }
        let operations = randAugment?.drawn(
            sample, view, at: moment, height: picture.height, width: picture.width)
        for operation in operations ?? [] { picture.apply(operation) }
    }
}
