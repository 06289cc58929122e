/// The activation of the gate in a gated feed-forward block (Shazeer 2020, arXiv:2002.05202).
public enum GatedActivation: String, Sendable, CaseIterable {
    case swiglu
    case gegluTanh

    var kernel: String { self == .swiglu ? "swiglu" : "geglu_tanh" }
}

/// y = activation(gate) · up; all f32 or all bf16, computed in fp32.
public struct Gated: Op {
    public let kind: GatedActivation
    public init(_ kind: GatedActivation) { self.kind = kind }

    public struct Operands {
        public let gate: View
        public let up: View
        public let y: Output
        public init(gate: View, up: View, y: Output) {
            self.gate = gate
            self.up = up
            self.y = y
        }
    }
    public var name: String { kind.kernel }
    public func validate(_ o: Operands) throws {
        try requireActivations(("gate", o.gate), ("up", o.up), ("y", o.y.view))
        try require(o.gate.shape == o.up.shape && o.gate.shape == o.y.view.shape, "gate, up and y differ in shape")
        _ = try MatchedElements([o.gate, o.up, o.y.view], self)
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 5 * Double(o.gate.count), bytes: 3 * Double(o.gate.dtype.size * o.gate.count))
    }
}

/// dgate = dy · up · activation′(gate), dup = dy · activation(gate); gate and up both f32 or both bf16, gradients f32.
public struct GatedBackward: Op {
    public let kind: GatedActivation
    public init(_ kind: GatedActivation) { self.kind = kind }

    public struct Operands {
        public let gate: View
        public let up: View
        public let dy: View
        public let dGate: Output
        public let dUp: Output
        public init(gate: View, up: View, dy: View, dGate: Output, dUp: Output) {
            self.gate = gate
            self.up = up
            self.dy = dy
            self.dGate = dGate
            self.dUp = dUp
        }
        var all: [View] { [gate, up, dy, dGate.view, dUp.view] }
    }
    public var name: String { kind.kernel + "_backward" }
    public func validate(_ o: Operands) throws {
        try requireActivations(("gate", o.gate), ("up", o.up))
        try requireF32(("dy", o.dy), ("dgate", o.dGate.view), ("dup", o.dUp.view))
        try require(o.all.allSatisfy { $0.shape == o.gate.shape }, "operands differ in shape")
        try require(o.dGate.mode == o.dUp.mode, "dgate and dup must both be written or both be added to")
        _ = try MatchedElements(o.all, self)
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 10 * Double(o.gate.count), bytes: Double((2 * o.gate.dtype.size + 12) * o.gate.count))
    }
}
