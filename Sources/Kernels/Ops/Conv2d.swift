/// How a kernel moves over an image: what `torch.nn.functional.conv2d` calls stride, padding, dilation and groups.
public struct Conv2dGeometry: Sendable, Hashable {
    /// A number for each direction.
    public struct Pair: Sendable, Hashable, CustomStringConvertible {
        public var vertical: Int
        public var horizontal: Int

        public init(_ vertical: Int, _ horizontal: Int) {
            self.vertical = vertical
            self.horizontal = horizontal
        }
        /// The same in both directions.
        public init(_ both: Int) { self.init(both, both) }

        public var description: String { vertical == horizontal ? "\(vertical)" : "\(vertical)x\(horizontal)" }
    }

    /// Pixels from one position of the kernel to the next.
    public var stride: Pair
    /// Rows (columns) of zeros at each end.
    public var padding: Pair
    /// Pixels from one element of the kernel to the next.
    public var dilation: Pair
    /// Channels fall into this many groups; outputs of a group see its channels only.
    public var groups: Int

    public init(stride: Int = 1, padding: Int = 0, dilation: Int = 1, groups: Int = 1) {
        self.init(stride: Pair(stride), padding: Pair(padding), dilation: Pair(dilation), groups: groups)
    }

    public init(stride: Pair, padding: Pair = Pair(0), dilation: Pair = Pair(1), groups: Int = 1) {
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
    }

    /// ⌊(input + 2 · padding − dilation · (kernel − 1) − 1) / stride⌋ + 1 in each direction; nil when the kernel does not fit
    /// into the padded image, or when a number makes no sense.
    public func outputSize(input: Pair, kernel: Pair) -> Pair? {
        func size(_ input: Int, _ kernel: Int, _ stride: Int, _ padding: Int, _ dilation: Int) -> Int? {
            let numbers = [input, kernel, stride, padding, dilation]
            guard input >= 0, padding >= 0, kernel > 0, stride > 0, dilation > 0,
                numbers.allSatisfy({ $0 < 1 << 24 })
            else { return nil }
            let room = input + 2 * padding - dilation * (kernel - 1) - 1
            return room < 0 ? nil : room / stride + 1
        }
        guard
            let vertical = size(
                input.vertical, kernel.vertical, stride.vertical, padding.vertical, dilation.vertical),
            let horizontal = size(
                input.horizontal, kernel.horizontal, stride.horizontal, padding.horizontal, dilation.horizontal)
        else { return nil }
        return Pair(vertical, horizontal)
    }

    /// The size a transposed convolution gives, (input − 1) · stride − 2 · padding + dilation · (kernel − 1) + 1 + outputPadding in each
    /// direction: of the sizes that a convolution takes to `input`, the one that leaves `outputPadding` rows (columns) unread. nil when
    /// there is none: less than a pixel would be left, or `outputPadding` is not below the stride.
    public func transposedSize(input: Pair, kernel: Pair, outputPadding: Pair = Pair(0)) -> Pair? {
        func size(_ input: Int, _ kernel: Int, _ stride: Int, _ padding: Int, _ dilation: Int, _ extra: Int) -> Int? {
            let numbers = [input, kernel, stride, padding, dilation]
            guard numbers.allSatisfy({ (0..<1 << 24).contains($0) }), input > 0, (0..<stride).contains(extra)
            else { return nil }
            return (input - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + extra
        }
        guard
            let vertical = size(
                input.vertical, kernel.vertical, stride.vertical, padding.vertical, dilation.vertical,
                outputPadding.vertical),
            let horizontal = size(
                input.horizontal, kernel.horizontal, stride.horizontal, padding.horizontal, dilation.horizontal,
                outputPadding.horizontal),
            vertical > 0, horizontal > 0
        else { return nil }
        let result = Pair(vertical, horizontal)
        return outputSize(input: result, kernel: kernel) == input ? result : nil
    }
}

extension Conv2dGeometry: CustomStringConvertible {
    public var description: String { "stride \(stride), padding \(padding), dilation \(dilation), \(groups) groups" }
}

/// y = activation(x ∗ weight + bias): two-dimensional cross-correlation, as `torch.nn.functional.conv2d`.
///
/// x `[n, channels, height, width]` and y `[n, outputs, height', width']` contiguous; weight `[outputs, channels / groups, kh, kw]`, whose
/// outputs may lie any distance apart; bias `[outputs]`. y is written or added to (after the activation).
public struct Conv2d: Op {
    public let geometry: Conv2dGeometry
    /// `none` or `relu`.
    public let activation: MatmulActivation

    public init(_ geometry: Conv2dGeometry = .init(), activation: MatmulActivation = .none) {
        self.geometry = geometry
        self.activation = activation
    }

    public struct Operands {
        public let x: View
        public let weight: View
        public let bias: View?
        public let y: Output
        public init(x: View, weight: View, bias: View? = nil, y: Output) {
            self.x = x
            self.weight = weight
            self.bias = bias
            self.y = y
        }
    }

    public var name: String { "conv2d" }
    public func validate(_ o: Operands) throws {
        try requireConvolution(geometry, x: ("x", o.x), weight: ("weight", o.weight), y: ("y", o.y.view))
        try requireBias(o.bias, outputs: o.weight.shape[0])
        try require(activation == .none || activation == .relu, "activation \(activation): none or relu can be fused")
    }
    public func cost(_ o: Operands) -> Cost {
        convolutionCost(o.y.view, o.weight, reading: o.x.count + o.weight.count, writing: o.y)
    }
}

/// dx of `Conv2d` from dy: dx `[n, channels, height, width]` and dy `[n, outputs, height', width']` contiguous, weight as there.
public struct Conv2dBackwardInput: Op {
    public let geometry: Conv2dGeometry
    public init(_ geometry: Conv2dGeometry = .init()) { self.geometry = geometry }

    public struct Operands {
        public let dy: View
        public let weight: View
        public let dx: Output
        public init(dy: View, weight: View, dx: Output) {
            self.dy = dy
            self.weight = weight
            self.dx = dx
        }
    }

    public var name: String { "conv2d_backward_input" }
    public func validate(_ o: Operands) throws {
        try requireConvolution(geometry, x: ("dx", o.dx.view), weight: ("weight", o.weight), y: ("dy", o.dy))
    }
    public func cost(_ o: Operands) -> Cost {
        convolutionCost(o.dy, o.weight, reading: o.dy.count + o.weight.count, writing: o.dx)
    }
}

/// dweight and dbias of `Conv2d` from x and dy, both contiguous; dweight `[outputs, channels / groups, kh, kw]` with outputs any distance
/// apart, dbias `[outputs]` or absent. The sum over images and pixels is cut into pieces that depend on the shape alone.
public struct Conv2dBackwardWeight: Op {
    public let geometry: Conv2dGeometry
    public init(_ geometry: Conv2dGeometry = .init()) { self.geometry = geometry }

    public struct Operands {
        public let x: View
        public let dy: View
        public let dWeight: Output
        public let dBias: Output?
        public init(x: View, dy: View, dWeight: Output, dBias: Output? = nil) {
            self.x = x
            self.dy = dy
            self.dWeight = dWeight
            self.dBias = dBias
        }
    }

    public var name: String { "conv2d_backward_weight" }
    public func validate(_ o: Operands) throws {
        try requireConvolution(geometry, x: ("x", o.x), weight: ("dweight", o.dWeight.view), y: ("dy", o.dy))
        try requireBias(o.dBias?.view, outputs: o.dWeight.view.shape[0])
    }
    public func cost(_ o: Operands) -> Cost {
        convolutionCost(o.dy, o.dWeight.view, reading: o.x.count + o.dy.count, writing: o.dWeight)
    }
}

extension Op {
    /// Whether x, weight and y belong together; the labels say what the op calls them.
    fileprivate func requireConvolution(
        _ geometry: Conv2dGeometry, x: (String, View), weight: (String, View), y: (String, View)
    ) throws {
        let (xs, ws, ys) = (x.1.shape, weight.1.shape, y.1.shape)
        for (label, view) in [x, weight, y] {
            try requireF32(label, view)
            try require(view.rank == 4, "\(label) \(view.shape) must have four dimensions")
        }
        try require(
            geometry.groups > 0 && xs[1] % geometry.groups == 0 && ws[0] % geometry.groups == 0,
            "\(geometry.groups) groups do not divide \(xs[1]) channels and \(ws[0]) outputs")
        try require(
            ws[1] == xs[1] / geometry.groups,
            "\(x.0) \(xs) with \(geometry.groups) groups needs \(weight.0) [outputs, \(xs[1] / geometry.groups), kh, kw], not \(ws)"
        )
        guard
            let size = geometry.outputSize(
                input: .init(xs[2], xs[3]), kernel: .init(ws[2], ws[3]))
        else {
            throw operandError(name, "\(weight.0) \(ws) does not fit into \(x.0) \(xs) with \(geometry)")
        }
        try require(
            ys == [xs[0], ws[0], size.vertical, size.horizontal],
            "\(x.0) \(xs) and \(weight.0) \(ws) with \(geometry) go with [\(xs[0]), \(ws[0]), \(size.vertical), \(size.horizontal)], not \(y.0) \(ys)"
        )
        try require(x.1.isContiguous, "\(x.0) \(xs), strides \(x.1.strides) must be contiguous")
        try require(y.1.isContiguous, "\(y.0) \(ys), strides \(y.1.strides) must be contiguous")
        let depth = ws[1] * ws[2] * ws[3]
        try require(
            weight.1.hasContiguousRows,
            "\(weight.0) \(ws), strides \(weight.1.strides): an output's elements must be adjacent")
        // Kernels count pixels, elements of one image and places in the padded planes of a group in 31 bits; images lie further
        // apart than that.
        let pitch = ws[0] > 1 ? weight.1.strides[0] : depth
        let padded =
            (xs[2] + 2 * geometry.padding.vertical + size.vertical)
            * (xs[3] + 2 * geometry.padding.horizontal + size.horizontal) + 32
        let limits = [
            xs[0] * xs[2] * xs[3], xs[0] * size.vertical * size.horizontal, xs[1] * xs[2] * xs[3],
            ws[0] * size.vertical * size.horizontal, ws[0] * pitch, max(xs[1], ws[0]) / geometry.groups * padded,
        ]
        try require(
            limits.allSatisfy { $0 < 1 << 31 },
            "\(x.0) \(xs), \(weight.0) \(ws), \(geometry): more than 2^31 − 1 pixels, weights or padded elements")
    }

    fileprivate func requireBias(_ bias: View?, outputs: Int) throws {
        guard let bias else { return }
        try requireF32(("bias", bias))
        try require(bias.shape == [outputs] && bias.isContiguous, "bias \(bias.shape) must be [\(outputs)]")
    }

    /// Two operations for each product of the convolution; every operand once, an accumulated output twice.
    fileprivate func convolutionCost(_ y: View, _ weight: View, reading: Int, writing output: Output) -> Cost {
        let products = Double(y.count) * Double(weight.shape.dropFirst().product)
        let written = Double(output.view.count) * (output.mode == .accumulate ? 2 : 1)
        return Cost(flops: 2 * products, bytes: 4 * (Double(reading) + written))
    }
}

extension View {
    /// Whether everything behind the first dimension is one contiguous row.
    fileprivate var hasContiguousRows: Bool {
        let row = View(
            storage: storage, offset: offset, shape: shape.dropFirst(), strides: strides.dropFirst(),
            dtype: dtype)
        return row.isContiguous && (shape[0] < 2 || strides[0] >= row.count)
    }
}
