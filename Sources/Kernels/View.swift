/// Where the bytes of a view live. Closed on purpose: backends are two (and a dry run), ops are many.
public enum Storage: Sendable {
    /// Host memory of the CPU backend.
    case host(Block)
    /// A range of an OpenCL buffer.
    case openCL(Block)
    /// No bytes at all: running a step on planned storage records what it would allocate and cost.
    case planned(Block)

    public var block: Block {
        switch self {
        case .host(let b), .openCL(let b), .planned(let b): b
        }
    }
}

/// A strided window on storage: the operand of every op. Shapes and strides are in elements, row-major by default.
public struct View: Sendable {
    public let storage: Storage
    /// First element, counted from the start of the block.
    public let offset: Int
    public let shape: Dimensions
    public let strides: Dimensions
    public let dtype: DType

    public init(
        storage: Storage, offset: Int = 0, shape: Dimensions, strides: Dimensions? = nil, dtype: DType = .f32
    ) {
        self.storage = storage
        self.offset = offset
        self.shape = shape
        self.strides = strides ?? Self.contiguousStrides(shape)
        self.dtype = dtype
    }

    public static func contiguousStrides(_ shape: Dimensions) -> Dimensions {
        var strides = Dimensions(repeating: 1, count: shape.count)
        for i in stride(from: shape.count - 2, through: 0, by: -1) { strides[i] = strides[i + 1] * shape[i + 1] }
        return strides
    }

    public var rank: Int { shape.count }
    /// Number of elements; 1 for a scalar.
    public var count: Int { shape.product }

    /// Whether the elements follow each other without gaps, row-major. True of a view without elements.
    public var isContiguous: Bool {
        if shape.contains(0) { return true }
        var expected = 1
        for i in stride(from: shape.count - 1, through: 0, by: -1) {
            if shape[i] != 1, strides[i] != expected { return false }
            expected *= shape[i]
        }
        return true
    }

    /// The same elements seen as rows of the last dimension, or nil when no single pitch describes them.
    /// A vector is one row; a scalar is one row of one column.
    public var rows: Rows? {
        guard let columns = shape.last else { return Rows(view: self, rows: 1, columns: 1, pitch: 1) }
        guard columns <= 1 || strides[rank - 1] == 1 else { return nil }
        var rows = 1
        var pitch = max(1, columns)
        var first = true
        for i in stride(from: rank - 2, through: 0, by: -1) where shape[i] != 1 {
            if first {
                pitch = strides[i]
                first = false
            } else if strides[i] != pitch * rows {
                return nil
            }
            rows *= shape[i]
        }
        return Rows(view: self, rows: rows, columns: columns, pitch: pitch)
    }

    /// The same bytes under another shape of equally many elements. The view must be contiguous.
    public func reshaped(_ shape: Dimensions) -> View {
        precondition(isContiguous && shape.product == count, "reshape \(self.shape) to \(shape)")
        return View(storage: storage, offset: offset, shape: shape, dtype: dtype)
    }

    public func transposed(_ a: Int, _ b: Int) -> View {
        var shape = shape
        var strides = strides
        shape.swapAt(a, b)
        strides.swapAt(a, b)
        return View(storage: storage, offset: offset, shape: shape, strides: strides, dtype: dtype)
    }

    /// Views that lie one behind the other in one piece of memory, as one: the first dimensions add up. nil where they do not lie so, and
    /// for none.
    public static func stacked(_ views: [View]) -> View? {
        guard let first = views.first, first.rank > 0 else { return nil }
        var rows = 0
        for view in views {
            guard view.storage.block === first.storage.block, view.dtype == first.dtype, view.strides == first.strides,
                view.shape.dropFirst() == first.shape.dropFirst(),
                view.offset == first.offset + rows * first.strides[0]
            else { return nil }
            rows += view.shape[0]
        }
        return View(
            storage: first.storage, offset: first.offset, shape: [rows] + first.shape.dropFirst(),
            strides: first.strides, dtype: first.dtype)
    }

    /// The matrix transpose of the last two dimensions; no bytes move.
    public var transposed: View { transposed(rank - 2, rank - 1) }

    /// The view repeated along dimensions of size 1 (or missing ones) up to `shape`, with stride 0; nil when it does not fit.
    public func broadcast(to target: Dimensions) -> View? {
        guard target.count >= rank else { return nil }
        var strides = Dimensions(repeating: 0, count: target.count)
        for i in 0..<rank {
            let t = target.count - rank + i
            if shape[i] == target[t] {
                strides[t] = shape[i] == 1 ? 0 : self.strides[i]
            } else if shape[i] != 1 {
                return nil
            }
        }
        return View(storage: storage, offset: offset, shape: target, strides: strides, dtype: dtype)
    }

    /// Rows `range` of the first dimension.
    public func slice(_ range: Range<Int>) -> View { narrowed(0, range) }

    /// Positions `range` of one dimension.
    public func narrowed(_ axis: Int, _ range: Range<Int>) -> View {
        precondition(range.lowerBound >= 0 && range.upperBound <= shape[axis], "\(range) of axis \(axis) of \(shape)")
        var shape = shape
        shape[axis] = range.count
        return View(
            storage: storage, offset: offset + range.lowerBound * strides[axis], shape: shape, strides: strides,
            dtype: dtype)
    }

    /// The dimensions in another order: dimension i is the present dimension `axes[i]`.
    public func permuted(_ axes: [Int]) -> View {
        precondition(axes.sorted() == Array(shape.indices), "\(axes) of \(shape)")
        return View(
            storage: storage, offset: offset, shape: Dimensions(axes.map { shape[$0] }),
            strides: Dimensions(axes.map { strides[$0] }),
            dtype: dtype)
    }
}

/// A view seen as a matrix: `rows` rows of `columns` contiguous elements, `pitch` elements apart.
public struct Rows: Sendable {
    public let view: View
    public let rows: Int
    public let columns: Int
    public let pitch: Int

    /// True when the rows follow each other without gaps, so that they can be treated as one long row.
    public var isDense: Bool { rows <= 1 || pitch == columns }
}

/// Whether an op replaces what an output holds or adds to it (gradients, tied weights, micro-batches).
public enum WriteMode: Sendable, Equatable {
    case write, accumulate

    /// The flag as kernels take it.
    var flag: Int32 { self == .accumulate ? 1 : 0 }
}

/// An output operand.
public struct Output: Sendable {
    public let view: View
    public let mode: WriteMode

    public init(_ view: View, _ mode: WriteMode = .write) {
        self.view = view
        self.mode = mode
    }
    public static func write(_ view: View) -> Output { Output(view, .write) }
    public static func accumulate(_ view: View) -> Output { Output(view, .accumulate) }
}
