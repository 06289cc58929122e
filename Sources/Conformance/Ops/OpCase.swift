import RetortKernels

/// Where an operand's elements lie: dense unless said otherwise.
struct Layout: Sendable {
    /// Elements in front of the first; odd ones break alignment.
    var offset = 0
    /// Elements between two rows.
    var padding = 0
    /// How many dimensions, innermost in memory first, a row is made of.
    var rowRank = 1
    /// Dimensions as they lie in memory, outermost first; nil keeps the shape's own order.
    var order: [Int]?

    static let dense = Layout()
    static func padded(_ padding: Int, offset: Int = 0) -> Layout { Layout(offset: offset, padding: padding) }

    func strides(_ shape: [Int]) -> [Int] {
        var strides = [Int](repeating: 1, count: shape.count)
        var next = 1
        for (place, dimension) in (order ?? Array(shape.indices)).reversed().enumerated() {
            strides[dimension] = next
            next = next * max(1, shape[dimension]) + (place == rowRank - 1 ? padding : 0)
        }
        return strides
    }
}

/// One operand on the host.
struct HostArray {
    let name: String
    let dtype: DType
    let shape: [Int]
    let layout: Layout
    /// Bit patterns in row-major order; nil for an output, which is poisoned.
    let bits: [UInt32]?
    /// False for operands that must be the same afterwards.
    let isOutput: Bool

    /// An output that is read too: it has values before the run.
    var isUpdated: Bool { isOutput && bits != nil }
    var strides: [Int] { layout.strides(shape) }
    var count: Int { shape.elements }
    /// Elements from the first to the last, both included.
    var span: Int { count == 0 ? 0 : 1 + zip(shape, strides).reduce(0) { $0 + ($1.0 - 1) * $1.1 } }

    /// Distance of each element from the first, in row-major order.
    var positions: [Int] {
        guard count > 0 else { return [] }
        var positions = [0]
        for (size, stride) in zip(shape, strides) {
            guard size != 1 else { continue }
            positions = positions.flatMap { first in (0..<size).map { first + $0 * stride } }
        }
        return positions
    }
}

/// The operands of one run, on their device.
struct OperandViews {
    let device: ComputeDevice
    let views: [String: View]
    subscript(_ name: String) -> View { views[name]! }
    /// An operand that some samples leave out.
    func optional(_ name: String) -> View? { views[name] }
}

/// One sample made concrete: operands on the host, the call, and what must come out.
struct OpCase {
    private(set) var arrays: [HostArray] = []
    private(set) var invoke: (OperandViews) throws -> Void = { _ in }
    /// The same call with its operands made once: what a clock may repeat.
    private(set) var prepare: (OperandViews) throws -> (() throws -> Void) = { _ in {} }
    private(set) var cost: (OperandViews) throws -> Cost = { _ in Cost() }
    /// Expectations by output; computed only when asked for.
    var reference: () -> [String: Expected] = { [:] }

    /// Numbers that `dtype`, f32 or bf16, holds exactly.
    mutating func input(
        _ name: String, _ values: [Float], _ shape: [Int], _ layout: Layout = .dense, as dtype: DType = .f32
    ) {
        add(name, dtype, shape, layout, values.map { Self.bits($0, dtype) }, isOutput: false)
    }

    private static func bits(_ value: Float, _ dtype: DType) -> UInt32 {
        dtype == .bf16 ? value.bitPattern >> 16 : value.bitPattern
    }

    mutating func input(_ name: String, ints values: [Int32], _ shape: [Int]) {
        add(name, .i32, shape, .dense, values.map(UInt32.init(bitPattern:)), isOutput: false)
    }

    mutating func input(_ name: String, bits: [UInt32], _ dtype: DType, _ shape: [Int]) {
        add(name, dtype, shape, .dense, bits, isOutput: false)
    }

    /// An output that the op must fill: it starts out poisoned.
    mutating func output(_ name: String, _ shape: [Int], _ layout: Layout = .dense, dtype: DType = .f32) {
        add(name, dtype, shape, layout, nil, isOutput: true)
    }

    /// An operand that is read and written: added to, updated, or overwritten in place.
    mutating func updated(
        _ name: String, _ values: [Float], _ shape: [Int], _ layout: Layout = .dense, as dtype: DType = .f32
    ) {
        add(name, dtype, shape, layout, values.map { Self.bits($0, dtype) }, isOutput: true)
    }

    mutating func updated(_ name: String, ints values: [Int32], _ shape: [Int]) {
        add(name, .i32, shape, .dense, values.map(UInt32.init(bitPattern:)), isOutput: true)
    }

    private mutating func add(
        _ name: String, _ dtype: DType, _ shape: [Int], _ layout: Layout, _ bits: [UInt32]?, isOutput: Bool
    ) {
        precondition(
            bits.map { $0.count == shape.elements } ?? true, "\(name): \(bits?.count ?? 0) values for \(shape)")
        arrays.append(
            HostArray(name: name, dtype: dtype, shape: shape, layout: layout, bits: bits, isOutput: isOutput))
    }

    /// The same with f32 operands wherever they are bf16: what an op gives there before it rounds.
    var widened: OpCase {
        var wide = self
        wide.arrays = arrays.map { array in
            guard array.dtype == .bf16 else { return array }
            return HostArray(
                name: array.name, dtype: .f32, shape: array.shape, layout: array.layout,
                bits: array.bits?.map { $0 << 16 }, isOutput: array.isOutput)
        }
        return wide
    }

    /// The call that is checked.
    mutating func run<O: Op>(_ op: O, _ operands: @escaping (OperandViews) throws -> O.Operands) {
        invoke = { try RetortKernels.run(op, try operands($0), on: $0.device) }
        prepare = { views in
            let made = try operands(views)
            return { try RetortKernels.run(op, made, on: views.device) }
        }
        cost = { op.cost(try operands($0)) }
    }

    /// A call of any kind: for tests of the checker itself.
    mutating func call(_ body: @escaping (OperandViews) throws -> Void) {
        invoke = body
        prepare = { views in { try body(views) } }
    }
}

extension OpCase {
    /// An output that is written or added to: `old` says what it holds before.
    mutating func result(
        _ name: String, _ shape: [Int], _ layout: Layout = .dense, old: [Float]?, as dtype: DType = .f32
    ) {
        if let old { updated(name, old, shape, layout, as: dtype) } else { output(name, shape, layout, dtype: dtype) }
    }
}

extension [Estimate] {
    /// Added to what an accumulating output held before, if it did.
    func added(to old: [Float]?) -> [Estimate] {
        guard let old else { return self }
        return zip(self, old).map { $0.added(to: $1) }
    }
}

extension Output {
    /// Added to when `old` says so.
    static func result(_ view: View, old: [Float]?) -> Output { Output(view, old == nil ? .write : .accumulate) }
}
