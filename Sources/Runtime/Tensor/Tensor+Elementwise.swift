import RetortKernels

extension Tensor {
    /// y = f(x), element by element, stored as x is.
    public func map(_ function: UnaryFunction) throws -> Tensor {
        let x = try contiguousView()
        let y = try device.empty(shape, dtype)
        try run(Unary(function), .init(x: x, y: .write(y)), on: device)
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            let dy = try node.dense(gradient)
            try run(UnaryBackward(function), .init(x: x, dy: dy, dx: try input!.sink()), on: node.device)
        }
    }

    public func exp() throws -> Tensor { try map(.exp) }
    public func log() throws -> Tensor { try map(.log) }
    public func squareRoot() throws -> Tensor { try map(.squareRoot) }
    public func squared() throws -> Tensor { try map(.square) }
    public func abs() throws -> Tensor { try map(.abs) }
    public func relu() throws -> Tensor { try map(.relu) }

    /// x · factor, stored as x is.
    public func scaled(_ factor: Float) throws -> Tensor {
        let x = try contiguousView()
        let y = try device.empty(shape, dtype)
        try run(Scale(factor), .init(x: x, y: .write(y)), on: device)
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            switch gradient {
            case .constant(let value): try input!.give(.constant(value * factor))
            case .view(let dy), .shared(let dy):
                try run(Scale(factor), .init(x: try node.packed(dy), y: try input!.sink()), on: node.device)
            }
        }
    }

    public static prefix func - (x: Tensor) throws -> Tensor { try x.scaled(-1) }
    public static func * (x: Tensor, factor: Float) throws -> Tensor { try x.scaled(factor) }
    public static func + (a: Tensor, b: Tensor) throws -> Tensor { try combine(.add, a, b) }
    public static func - (a: Tensor, b: Tensor) throws -> Tensor { try combine(.subtract, a, b) }
    public static func * (a: Tensor, b: Tensor) throws -> Tensor { try combine(.multiply, a, b) }
    public static func / (a: Tensor, b: Tensor) throws -> Tensor { try combine(.divide, a, b) }

    /// a ∘ b with NumPy's broadcasting, stored as a is; a gradient is summed over the dimensions its operand was repeated along.
    static func combine(_ operation: BinaryOperation, _ a: Tensor, _ b: Tensor) throws -> Tensor {
        guard let shape = broadcastShape(a.shape, b.shape) else {
            throw TensorError("cannot \(operation) shapes \(a.shape) and \(b.shape)")
        }
        let device = a.device
        // Operands that are stored differently meet in fp32.
        let type = a.dtype == b.dtype ? a.dtype : .f32
        let y = try device.empty(shape, type)
        try run(
            Binary(operation),
            .init(a: try device.stored(a.view, as: type), b: try device.stored(b.view, as: type), y: .write(y)),
            on: device)
        return Tensor.recorded(try device.stored(y, as: a.dtype), device, from: [a, b]) {
            [na = a.node, nb = b.node] node, gradient in
            if case .constant(let value) = gradient, a.shape == shape, b.shape == shape, operation.isAdditive {
                try na?.give(.constant(value))
                try nb?.give(.constant(operation == .add ? value : -value))
                return
            }
            let dy = try node.dense(gradient)
            // Sums pass the gradient itself on; with two receivers neither may write into it.
            let passed: Gradient = na != nil && nb != nil ? .shared(dy) : gradient.mapView { _ in dy }.orView(dy)
            if let na { try na.addGradient(try operation.gradientOfA(passed, dy, b.view, node.device)) }
            if let nb { try nb.addGradient(try operation.gradientOfB(passed, dy, a.view, b.view, node.device)) }
        }
    }

    /// silu(gate) · up and its kin: the gated activations of transformer feed-forward blocks. Both operands `[..., n]`, stored alike, as
    /// the result is.
    public static func gated(_ kind: GatedActivation, gate: Tensor, up: Tensor) throws -> Tensor {
        guard gate.shape == up.shape else { throw TensorError("gate \(gate.shape) and up \(up.shape) differ") }
        let (g, u, device) = (try gate.rowsView(), try up.rowsView(), gate.device)
        guard gate.dtype == up.dtype else {
            throw TensorError("gate is \(gate.dtype) and up \(up.dtype); they are stored alike")
        }
        let y = try device.empty(gate.shape, gate.dtype)
        try run(Gated(kind), .init(gate: g, up: u, y: .write(y)), on: device)
        guard Autograd.records(gate.node, up.node) else { return Tensor(y, device) }
        return Tensor.recorded(y, device, from: [gate, up]) { [ng = gate.node, nu = up.node] node, gradient in
            let dy = try node.dense(gradient)
            let dGate = try node.device.empty(g.shape)
            let dUp = try node.device.empty(u.shape)
            try run(
                GatedBackward(kind), .init(gate: g, up: u, dy: dy, dGate: .write(dGate), dUp: .write(dUp)),
                on: node.device)
            try ng?.give(.view(dGate))
            try nu?.give(.view(dUp))
        }
    }
}

extension Tensor {
    /// Its rows where they lie, halves of one product among them; a copy where they lie otherwise.
    fileprivate func rowsView() throws -> View { try view.rows == nil ? contiguousView() : view }
}

/// The shape two shapes broadcast to, or nil.
func broadcastShape(_ a: Dimensions, _ b: Dimensions) -> Dimensions? {
    let rank = max(a.count, b.count)
    var shape = Dimensions(repeating: 1, count: rank)
    for i in 0..<rank {
        let x = i < rank - a.count ? 1 : a[i - (rank - a.count)]
        let y = i < rank - b.count ? 1 : b[i - (rank - b.count)]
        guard x == y || x == 1 || y == 1 else { return nil }
        shape[i] = x == 1 ? y : x
    }
    return shape
}

extension Gradient {
    /// A number becomes the view that was made of it.
    fileprivate func orView(_ view: View) -> Gradient {
        if case .constant = self { .view(view) } else { self }
    }
}

extension Node {
    /// Adds a gradient of the broadcast shape to this node: summed over the dimensions its value was repeated along.
    func addGradient(_ gradient: Gradient) throws {
        var current = try dense(gradient)
        if current.shape == shape { return try give(gradient) }
        let full = current
        var isOwn = false
        // Each repeated dimension in turn, from the front so that shapes stay aligned at the back.
        for axis in 0..<full.rank {
            let own = axis < full.rank - shape.count ? 1 : shape[axis - (full.rank - shape.count)]
            guard own == 1, current.shape[axis] != 1 else { continue }
            var reducedShape = current.shape
            reducedShape[axis] = 1
            let reduced = try device.empty(reducedShape)
            try run(Reduce(.sum), .init(x: current, axis: axis, y: .write(reduced)), on: device)
            current = reduced
            isOwn = true
        }
        let sum = current.reshaped(shape)
        try give(isOwn ? .view(sum) : gradient.mapView { _ in sum })
    }
}

extension BinaryOperation {
    fileprivate var isAdditive: Bool { self == .add || self == .subtract }

    fileprivate func gradientOfA(_ passed: Gradient, _ dy: View, _ b: View, _ device: ComputeDevice) throws -> Gradient
    {
        switch self {
        case .add, .subtract: passed
        case .multiply: .view(try combined(.multiply, dy, b, device))
        case .divide: .view(try combined(.divide, dy, b, device))
        }
    }

    fileprivate func gradientOfB(
        _ passed: Gradient, _ dy: View, _ a: View, _ b: View, _ device: ComputeDevice
    ) throws -> Gradient {
        switch self {
        case .add: return passed
        case .subtract:
            let db = try device.empty(dy.shape)
            try run(Scale(-1), .init(x: dy, y: .write(db)), on: device)
            return .view(db)
        case .multiply: return .view(try combined(.multiply, dy, a, device))
        case .divide:
            let db = try device.empty(dy.shape)
            let type = a.dtype == b.dtype ? a.dtype : .f32
            try run(
                DivideBackward(),
                .init(
                    dy: dy, a: try device.stored(a, as: type), b: try device.stored(b, as: type), db: .write(db)),
                on: device)
            return .view(db)
        }
    }

    private func combined(_ operation: Self, _ x: View, _ y: View, _ device: ComputeDevice) throws -> View {
        let z = try device.empty(x.shape)
        try run(Binary(operation), .init(a: x, b: try device.wide(y), y: .write(z)), on: device)
        return z
    }
}
