/// How pixels between pixels come about.
public enum Interpolation: Sendable, Equatable {
    /// A weighted mean of the four pixels around, by centres: output o lies at (o + ½) · length / outputs − ½, at least 0. PyTorch's
    /// `align_corners=False` without antialiasing.
    case bilinear
    /// Pixel ⌊o · (length / outputs)⌋, computed in fp32: PyTorch's mode "nearest".
    case nearest

    var kernel: String { self == .bilinear ? "bilinear" : "nearest" }
}

/// Images of another size: x `[..., height, width]`, y `[..., newHeight, newWidth]`, contiguous.
public struct Resize: Op {
    public let interpolation: Interpolation
    public init(_ interpolation: Interpolation) { self.interpolation = interpolation }

    public struct Operands {
        public let x: View
        public let y: View
        public init(x: View, y: View) {
            self.x = x
            self.y = y
        }
    }
    public var name: String { interpolation.kernel }
    public func validate(_ o: Operands) throws { _ = try ResizeGeometry(o.x, o.y, self) }
    public func cost(_ o: Operands) -> Cost {
        Cost(
            flops: interpolation == .bilinear ? 8 * Double(o.y.count) : 0, bytes: 4 * Double(o.x.count + o.y.count))
    }
}

/// The gradient of `Resize`: each pixel gets its share of every one it went into.
public struct ResizeBackward: Op {
    public let interpolation: Interpolation
    public init(_ interpolation: Interpolation) { self.interpolation = interpolation }

    public struct Operands {
        public let dy: View
        public let dx: Output
        public init(dy: View, dx: Output) {
            self.dy = dy
            self.dx = dx
        }
    }
    public var name: String { interpolation.kernel + "_backward" }
    public func validate(_ o: Operands) throws { _ = try ResizeGeometry(o.dx.view, o.dy, self) }
    public func cost(_ o: Operands) -> Cost {
        let dx = o.dx.mode == .write ? 4 : 8
        return Cost(
            flops: Double(interpolation == .bilinear ? 8 * o.dy.count : o.dy.count),
            bytes: Double(dx * o.dx.view.count + 4 * o.dy.count))
    }
}

/// Planes of two sizes.
struct ResizeGeometry {
    let planes: Int
    let height: Int
    let width: Int
    let outHeight: Int
    let outWidth: Int

    /// - Parameters:
    ///   - x: what is resized, or its gradient.
    ///   - y: what it becomes, or its gradient.
    init(_ x: View, _ y: View, _ op: some Op) throws {
        guard x.dtype == .f32, y.dtype == .f32, x.isContiguous, y.isContiguous, x.rank >= 2, x.rank == y.rank,
            x.shape.dropLast(2) == y.shape.dropLast(2)
        else {
            throw operandError(
                op.name,
                "takes contiguous f32 [..., height, width]; \(x.dtype) \(x.shape) and \(y.dtype) \(y.shape) differ")
        }
        planes = x.shape.dropLast(2).product
        (height, width) = (x.shape[x.rank - 2], x.shape[x.rank - 1])
        (outHeight, outWidth) = (y.shape[y.rank - 2], y.shape[y.rank - 1])
        // Places are computed as whole numbers of 1 / (2 · outputs), and planes are counted in 32 bits.
        let largest = max(height * width, outHeight * outWidth, height * outHeight, width * outWidth)
        guard min(height, width, outHeight, outWidth) >= 1, largest < Int(Int32.max) / 8 else {
            throw operandError(op.name, "images \(x.shape) cannot become \(y.shape)")
        }
    }

    var sizes: [Int32] { [height, width, outHeight, outWidth].map(Int32.init) }
    /// Rows and columns of x for one of y, as PyTorch rounds them.
    var scales: [Float] { [Float(height) / Float(outHeight), Float(width) / Float(outWidth)] }
    var elements: (inputs: Int, outputs: Int) { (height * width, outHeight * outWidth) }
}
