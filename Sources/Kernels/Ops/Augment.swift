/// How the pictures of a training batch are changed at random. The default changes nothing: what evaluation uses.
public struct ImageAugmentation: Sendable, Equatable {
    /// Zeros added on each side before a crop of the picture's own size is taken at random: each offset in 0...2·padding.
    public var padding: Int
    /// Probability of a left-right flip, after the crop.
    public var flipProbability: Double

    public static let none = ImageAugmentation()

    public init(padding: Int = 0, flipProbability: Double = 0) {
        self.padding = padding
        self.flipProbability = flipProbability
    }

    /// Words below this flip their picture.
    public var flipThreshold: Int { Int((flipProbability * 4_294_967_296).rounded()) }
}

/// y[i] = the picture table[ids[i]], cropped and flipped at random, each byte replaced by its value: table u8
/// `[images, channels, height, width]`, ids int32 `[rows]`, values f32 `[channels, 256]` (`(byte / 255 − mean) / deviation`),
/// y f32 `[rows, channels, height, width]`. Contiguous. An id outside 0..<images reads nothing: its picture becomes NaN.
///
/// The choices for a picture are a function of (seed, stream, epoch, samples[i]) alone: the words of Philox's block
/// `epoch · 2³² + samples[i]`. samples, int32 `[rows]` from 0, are the pictures' numbers in the whole dataset; without them the
/// table is the whole, and they are the ids. Every device, every batch split and every way to hold the data sees the same pictures.
public struct GatherImages: Op {
    public let augmentation: ImageAugmentation
    public let seed: UInt64
    public let stream: UInt64
    /// The pass over the data, from 0.
    public let epoch: UInt32

    public init(
        _ augmentation: ImageAugmentation = .none, seed: UInt64 = 0, stream: UInt64 = 0, epoch: UInt32 = 0
    ) {
        self.augmentation = augmentation
        self.seed = seed
        self.stream = stream
        self.epoch = epoch
    }

    public struct Operands {
        public let table: View
        public let ids: View
        public let samples: View
        public let values: View
        public let y: View
        public init(table: View, ids: View, samples: View? = nil, values: View, y: View) {
            self.table = table
            self.ids = ids
            self.samples = samples ?? ids
            self.values = values
            self.y = y
        }

        /// Planes of the output: one channel of one picture each.
        var planes: Int { ids.count * table.shape[1] }
    }
    public var name: String { "gather_images" }
    public func validate(_ o: Operands) throws {
        try require(
            o.table.dtype == .u8 && o.ids.dtype == .i32 && o.samples.dtype == .i32,
            "table is \(o.table.dtype), not u8, or ids or samples are not i32")
        try requireF32(("values", o.values), ("y", o.y))
        try require(
            [o.table, o.ids, o.samples, o.values, o.y].allSatisfy(\.isContiguous),
            "table, ids, samples, values and y must be contiguous")
        try require(o.samples.count == o.ids.count, "\(o.samples.count) samples for \(o.ids.count) ids")
        try require(
            o.table.rank == 4 && o.y.shape == [o.ids.count] + o.table.shape.dropFirst(),
            "y \(o.y.shape) is not \(o.ids.count) pictures of table \(o.table.shape)")
        try require(o.values.shape == [o.table.shape[1], 256], "values \(o.values.shape) are not [channels, 256]")
        try require(o.table.shape.allSatisfy { $0 <= Int(Int32.max) }, "table \(o.table.shape) is too large")
        try require(
            augmentation.padding >= 0 && augmentation.padding <= 1 << 16,
            "padding \(augmentation.padding) is outside 0...65536")
        try require(
            augmentation.flipProbability >= 0 && augmentation.flipProbability <= 1,
            "flip probability \(augmentation.flipProbability) is outside [0, 1]")
    }
    public func cost(_ o: Operands) -> Cost { Cost(bytes: 5 * Double(o.y.count) + 4 * Double(o.ids.count)) }
}

/// The part of a picture that another one is mixed into: lines and columns.
public struct ImageBox: Sendable, Equatable {
    public let lines: Range<Int>
    public let columns: Range<Int>
    public init(lines: Range<Int>, columns: Range<Int>) {
        self.lines = lines
        self.columns = columns
    }
}

/// y[i] = x[i], except in a box, where it is weight · x[i] + (1 − weight) · pool[partners[i]]: mixup (Zhang et al. 2018) with
/// no box (all of the picture), CutMix (Yun et al. 2019) with a box and weight 0. x, y f32 `[rows, channels, height, width]`,
/// pool f32 `[n, channels, height, width]`, often x itself, partners int32 `[rows]`. Contiguous; y is none of the others. A
/// partner outside 0..<n reads nothing: what it should have given is NaN.
public struct MixImages: Op {
    public let weight: Float
    /// nil: all of the picture.
    public let box: ImageBox?

    public init(weight: Float, box: ImageBox? = nil) {
        self.weight = weight
        self.box = box
    }

    public struct Operands {
        public let x: View
        public let pool: View
        public let partners: View
        public let y: View
        public init(x: View, pool: View, partners: View, y: View) {
            self.x = x
            self.pool = pool
            self.partners = partners
            self.y = y
        }
    }
    public var name: String { "mix_images" }
    public func validate(_ o: Operands) throws {
        try requireF32(("x", o.x), ("pool", o.pool), ("y", o.y))
        try require(
            o.partners.dtype == .i32 && [o.x, o.pool, o.partners, o.y].allSatisfy(\.isContiguous),
            "x, pool, partners (i32) and y must be contiguous")
        try require(
            o.x.rank == 4 && o.x.shape == o.y.shape && o.pool.rank == 4
                && o.pool.shape.dropFirst() == o.x.shape.dropFirst(),
            "x \(o.x.shape), pool \(o.pool.shape) and y \(o.y.shape) differ")
        try require(o.partners.count == o.x.shape[0], "\(o.partners.count) partners of \(o.x.shape[0]) pictures")
        try require(weight >= 0 && weight <= 1, "weight \(weight) is outside [0, 1]")
        try require(
            o.x.shape.dropFirst().product <= Int(Int32.max) && o.pool.shape[0] <= Int(Int32.max),
            "x \(o.x.shape) or pool \(o.pool.shape) is too large")
        if let box {
            try require(
                box.lines.lowerBound >= 0 && box.lines.upperBound <= o.x.shape[2] && box.columns.lowerBound >= 0
                    && box.columns.upperBound <= o.x.shape[3],
                "lines \(box.lines), columns \(box.columns) are not in \(o.x.shape[2]) x \(o.x.shape[3])")
        }
    }
    public func cost(_ o: Operands) -> Cost { Cost(flops: 3 * Double(o.x.count), bytes: 12 * Double(o.x.count)) }

    /// Sizes as the kernels take them: channels, height, width, top, bottom, left, right. Without a box a picture is one line.
    func sizes(_ o: Operands) -> [Int32] {
        let (channels, height, width) = (o.x.shape[1], o.x.shape[2], o.x.shape[3])
        guard let box else {
            let line = channels * height * width
            return [1, 1, line, 0, 1, 0, line].map(Int32.init)
        }
        return [
            channels, height, width, box.lines.lowerBound, box.lines.upperBound, box.columns.lowerBound,
            box.columns.upperBound,
        ].map(Int32.init)
    }
}

/// The targets that belong to `MixImages`: y[i, :] is weight at labels[i] and 1 − weight at others[i] (their sum where the two
/// are one class), 0 elsewhere: rows of probabilities. labels, others int32 `[rows]`, contiguous; y f32 `[rows, classes]`. A
/// label outside 0..<classes adds nothing to its row.
public struct MixTargets: Op {
    public let weight: Float

    public init(weight: Float) { self.weight = weight }

    public struct Operands {
        public let labels: View
        public let others: View
        public let y: View
        public init(labels: View, others: View, y: View) {
            self.labels = labels
            self.others = others
            self.y = y
        }
    }
    public var name: String { "mix_targets" }
    public func validate(_ o: Operands) throws {
        try requireF32(("y", o.y))
        try require(
            o.labels.dtype == .i32 && o.others.dtype == .i32 && o.labels.isContiguous && o.others.isContiguous,
            "labels and others must be contiguous i32")
        try require(
            o.y.rank == 2 && o.labels.count == o.y.shape[0] && o.others.count == o.y.shape[0],
            "\(o.labels.count) labels and \(o.others.count) others for y \(o.y.shape)")
        try require(weight >= 0 && weight <= 1, "weight \(weight) is outside [0, 1]")
        _ = try rows(o.y, "y")
    }
    public func cost(_ o: Operands) -> Cost { Cost(bytes: 4 * Double(o.y.count) + 8 * Double(o.labels.count)) }
}
