import ArgumentParser
import RetortDistillation
import RetortSupport

/// What can be said of the data where it does not say it itself.
struct EvalDataOptions: ParsableArguments {
    @Option(help: "What the data is: csv, idx, cifar10, cifar100 or images (default: as its files' names tell).")
    var kind: EvaluationData.Kind?
    @Option(help: "test or train (default: test where there are parts, else everything).")
    var split: EvaluationData.Split?
    @Option(help: "CSV, or texts with classes: the column or key that holds the class (default: label).")
    var label: String?
    @Option(help: "CSV: every feature is multiplied by this (default: as the model was trained).")
    var scale: Double?
    @Option(help: "CSV, text, or class folders without test folder: every n-th is for the test, as in the recipe.")
    var testEvery: Int?
    @Option(help: "CIFAR-100: fine or coarse classes (default: by the model's number of classes).")
    var labels: EvaluationData.Labels?
    @Option(help: "Images in folders: pixels (default: the model's).")
    var height: Int?
    @Option(help: "Images in folders: pixels (default: the model's).")
    var width: Int?
    @Option(help: "Images in folders: 1 or 3 (default: the model's).")
    var channels: Int?
    @Option(help: "Images: mean by channel, e.g. 0.49,0.48,0.45 (default: as the model was trained).")
    var mean: NumberList?
    @Option(help: "Images: deviation by channel (default: as the model was trained).")
    var deviation: NumberList?
    @Option(
        help: "Images in folders: decoded images to hold; more are decoded while they are measured (default: 2GiB).")
    var memory: ByteSize?

    func of(_ path: String) -> EvaluationData {
        var data = EvaluationData(path)
        (data.kind, data.split, data.testEvery) = (kind, split, testEvery)
        (data.scale, data.cifarLabels) = (scale, labels)
        if let label { data.label = label }
        if let memory { data.memory = memory.bytes }
        (data.height, data.width, data.channels) = (height, width, channels)
        (data.mean, data.deviation) = (mean?.numbers, deviation?.numbers)
        return data
    }

    /// The flags that were given.
    var given: [String] {
        let flags: [(String, Bool)] = [
            ("--kind", kind != nil), ("--split", split != nil), ("--label", label != nil), ("--scale", scale != nil),
            ("--test-every", testEvery != nil), ("--labels", labels != nil), ("--height", height != nil),
            ("--width", width != nil), ("--channels", channels != nil), ("--mean", mean != nil),
            ("--deviation", deviation != nil), ("--memory", memory != nil),
        ]
        return flags.filter(\.1).map(\.0)
    }

    func validate() throws {
        if let testEvery, testEvery < 2 { throw ValidationError("--test-every is 2 or more, not \(testEvery)") }
        if let scale, !scale.isFinite || scale == 0 { throw ValidationError("--scale is a finite number other than 0") }
        if let all = deviation?.numbers, !all.allSatisfy({ $0 > 0 }) { throw ValidationError("--deviation is above 0") }
        for (name, value) in [("--height", height), ("--width", width), ("--channels", channels)] {
            if let value, value < 1 { throw ValidationError("\(name) is 1 or more") }
        }
    }
}

extension EvaluationData.Kind: ExpressibleByArgument {}
extension EvaluationData.Split: ExpressibleByArgument {}
extension EvaluationData.Labels: ExpressibleByArgument {}

/// Finite numbers with commas between them.
struct NumberList: ExpressibleByArgument {
    let numbers: [Double]

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map {
            DecimalText.double(String($0))
        }
        guard (1...4).contains(parts.count), parts.allSatisfy({ $0?.isFinite == true }) else { return nil }
        numbers = parts.compactMap { $0 }
    }
}

/// 0, 512MiB, 2GiB.
struct ByteSize: ExpressibleByArgument {
    let bytes: Int

    init(bytes: Int) { self.bytes = bytes }

    init?(argument: String) {
        guard let bytes = ByteCount.parse(argument) else { return nil }
        self.init(bytes: bytes)
    }

    var defaultValueDescription: String { NumberFormat.bytes(bytes) }
}
