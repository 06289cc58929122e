/// The windows along one dimension of an image.
public enum PoolWindow: Sendable, Equatable {
    /// Window o holds positions o · stride − padding ..< o · stride − padding + kernel, as far as they exist.
    case regular(kernel: Int, stride: Int, padding: Int = 0)
    /// As many windows as asked for, in one row or overlapping by a position: ⌊o · length / count⌋ ..< ⌈(o + 1) · length / count⌉.
    case adaptive(Int)

    /// How many windows a dimension of `length` elements has; nil when there cannot be any.
    public func count(of length: Int) -> Int? {
        switch self {
        case .regular(let kernel, let stride, let padding):
            guard length >= 1, kernel >= 1, stride >= 1, max(kernel, stride) < 1 << 24, padding >= 0,
                padding <= kernel / 2, length + 2 * padding >= kernel
            else { return nil }
            return (length + 2 * padding - kernel) / stride + 1
        case .adaptive(let count): return count >= 1 && length >= 1 ? count : nil
        }
    }
}

/// An image's two dimensions with their windows, as kernels take them.
struct PoolGeometry {
    let planes: Int
    /// Length, windows, kernel, stride, padding; rows, then columns.
    let numbers: [Int32]
    let inputs: Int
    let outputs: Int

    init(_ image: Dimensions, _ rows: PoolWindow, _ columns: PoolWindow, _ op: some Op) throws {
        guard image.count >= 2, let height = rows.count(of: image[image.count - 2]),
            let width = columns.count(of: image[image.count - 1])
        else { throw operandError(op.name, "images \(image) have no windows \(rows) by \(columns)") }
        let axes = [(image[image.count - 2], height, rows), (image[image.count - 1], width, columns)]
        inputs = axes[0].0 * axes[1].0
        outputs = height * width
        guard max(inputs, outputs, axes[0].0 * height, axes[1].0 * width) < Int(Int32.max) / 2 else {
            throw operandError(op.name, "images \(image) are too large")
        }
        planes = image.dropLast(2).product
        numbers = axes.flatMap { length, count, window in
            switch window {
            case .regular(let kernel, let stride, let padding): [length, count, kernel, stride, padding]
            // Windows of one size that lie side by side are regular ones.
            case .adaptive where length % count == 0: [length, count, length / count, length / count, 0]
            case .adaptive: [length, count, 0, 1, 0]
            }
        }.map(Int32.init)
        guard Int(numbers[2]) * Int(numbers[7]) <= Int(Int32.max) else {
            throw operandError(op.name, "windows \(rows) by \(columns) are too large")
        }
    }

    /// Refuses a view that is not these images, or what is pooled of them.
    func require(_ view: View, _ label: String, elements: Int, _ dtype: DType = .f32, of op: some Op) throws {
        guard view.dtype == dtype, view.isContiguous, view.count == planes * elements else {
            throw operandError(
                op.name,
                "\(label) is contiguous \(dtype), \(planes) x \(elements) elements, not \(view.dtype) \(view.shape)")
        }
    }

    /// Elements the kernel divides by; 0: those that exist. Windows without padding are the same either way.
    func divisor(countsPadding: Bool) -> Int32 { countsPadding ? numbers[2] * numbers[7] : 0 }
}

/// The mean of each window. x `[..., height, width]`, y `[..., windows, windows]`, contiguous.
public struct AveragePool: Op {
    public let rows: PoolWindow
    public let columns: PoolWindow
    /// Whether padding counts as zeros, or not at all.
    public let countsPadding: Bool

    public init(rows: PoolWindow, columns: PoolWindow, countsPadding: Bool = true) {
        self.rows = rows
        self.columns = columns
        self.countsPadding = countsPadding
    }

    public struct Operands {
        public let x: View
        public let y: View
        public init(x: View, y: View) {
            self.x = x
            self.y = y
        }
    }
    public var name: String { "average_pool" }
    func geometry(_ o: Operands) throws -> PoolGeometry { try PoolGeometry(o.x.shape, rows, columns, self) }
    public func validate(_ o: Operands) throws {
        let g = try geometry(o)
        try g.require(o.x, "x", elements: g.inputs, of: self)
        try g.require(o.y, "y", elements: g.outputs, of: self)
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: Double(o.x.count), bytes: 4 * Double(o.x.count + o.y.count))
    }
}

/// The gradient of `AveragePool`: each element gets its share of every window that holds it.
public struct AveragePoolBackward: Op {
    public let rows: PoolWindow
    public let columns: PoolWindow
    public let countsPadding: Bool

    public init(_ forward: AveragePool) {
        (rows, columns, countsPadding) = (forward.rows, forward.columns, forward.countsPadding)
    }

    public struct Operands {
        public let dy: View
        public let dx: Output
        public init(dy: View, dx: Output) {
            self.dy = dy
            self.dx = dx
        }
    }
    public var name: String { "average_pool_backward" }
    func geometry(_ o: Operands) throws -> PoolGeometry { try PoolGeometry(o.dx.view.shape, rows, columns, self) }
    public func validate(_ o: Operands) throws {
        let g = try geometry(o)
        try g.require(o.dx.view, "dx", elements: g.inputs, of: self)
        try g.require(o.dy, "dy", elements: g.outputs, of: self)
    }
    public func cost(_ o: Operands) -> Cost {
        let dx = o.dx.mode == .write ? 4 : 8
        return Cost(flops: Double(o.dx.view.count), bytes: Double(dx * o.dx.view.count + 4 * o.dy.count))
    }
}

/// The largest element of each window and where it is: x `[..., height, width]`; y and int32 indices (row · width + column of the
/// plane) `[..., windows, windows]`, contiguous. Of equal elements the first in row-major order; NaN wins, padding never does:
/// PyTorch's rules.
public struct MaxPool: Op {
    public let rows: PoolWindow
    public let columns: PoolWindow

    public init(rows: PoolWindow, columns: PoolWindow) {
        self.rows = rows
        self.columns = columns
    }

    public struct Operands {
        public let x: View
        public let y: View
        public let indices: View
        public init(x: View, y: View, indices: View) {
            self.x = x
            self.y = y
            self.indices = indices
        }
    }
    public var name: String { "max_pool" }
    func geometry(_ o: Operands) throws -> PoolGeometry { try PoolGeometry(o.x.shape, rows, columns, self) }
    public func validate(_ o: Operands) throws {
        let g = try geometry(o)
        try g.require(o.x, "x", elements: g.inputs, of: self)
        try g.require(o.y, "y", elements: g.outputs, of: self)
        try g.require(o.indices, "indices", elements: g.outputs, .i32, of: self)
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: Double(o.x.count), bytes: 4 * Double(o.x.count + 2 * o.y.count))
    }
}

/// The gradient of `MaxPool`: each element gets the gradients of the windows it won.
public struct MaxPoolBackward: Op {
    public let rows: PoolWindow
    public let columns: PoolWindow

    public init(_ forward: MaxPool) { (rows, columns) = (forward.rows, forward.columns) }

    public struct Operands {
        public let dy: View
        public let indices: View
        public let dx: Output
        public init(dy: View, indices: View, dx: Output) {
            self.dy = dy
            self.indices = indices
            self.dx = dx
        }
    }
    public var name: String { "max_pool_backward" }
    func geometry(_ o: Operands) throws -> PoolGeometry { try PoolGeometry(o.dx.view.shape, rows, columns, self) }
    public func validate(_ o: Operands) throws {
        let g = try geometry(o)
        try g.require(o.dx.view, "dx", elements: g.inputs, of: self)
        try g.require(o.dy, "dy", elements: g.outputs, of: self)
        try g.require(o.indices, "indices", elements: g.outputs, .i32, of: self)
    }
    public func cost(_ o: Operands) -> Cost {
        let dx = o.dx.mode == .write ? 4 : 8
        return Cost(flops: Double(o.dy.count), bytes: Double(dx * o.dx.view.count + 8 * o.dy.count))
    }
}
