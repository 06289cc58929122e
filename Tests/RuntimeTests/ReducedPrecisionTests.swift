import Foundation
import RetortKernels
import TestSupport
import Testing

@testable import RetortRuntime

/// What a step of reduced precision is made of: functions of bf16 tensors.
@Suite("Functions of bf16 tensors")
struct ReducedPrecisionTests {
    struct Function: Sendable, CustomTestStringConvertible {
        let name: String
        /// Of its operands; those behind the first `activations` stay f32.
        let shapes: [Dimensions]
        let activations: Int
        let apply: @Sendable ([Tensor]) throws -> Tensor
        var testDescription: String { name }

        init(
            _ name: String, _ shapes: [Dimensions], activations: Int? = nil,
            _ apply: @escaping @Sendable ([Tensor]) throws -> Tensor
        ) {
            self.name = name
            self.shapes = shapes
            self.activations = activations ?? shapes.count
            self.apply = apply
        }

        /// Variables, and what the function gets of them.
        func operands(on device: Device) throws -> (parameters: [Parameter], tensors: [Tensor]) {
            let variables = try shapes.enumerated().map { index, shape in
                let values = (0..<shape.product).map {
                    Float(sin(Double($0 * (index + 3)) * 0.7 + Double(index))) + 0.1
                }
                return try Tensor.variable(values, shape, on: device)
            }
            let tensors = try variables.enumerated().map { try $1.0.stored(as: $0 < activations ? .bf16 : .f32) }
            return (variables.map(\.1), tensors)
        }
    }

    static let functions: [Function] = [
        Function("rmsNorm", [[2, 5, 37], [37]], activations: 1) { try $0[0].rmsNorm(weight: $0[1]) },
        Function("rmsNorm beyond 1", [[2, 5, 37], [37]], activations: 1) {
            try $0[0].rmsNorm(weight: $0[1], weightOffset: 1)
        },
        Function("rmsNorm without weight", [[7, 16]]) { try $0[0].rmsNorm() },
        // Rows with gaps, and rows that are none.
        Function("rmsNorm of columns", [[7, 16]]) { try $0[0].transposed(0, 1).rmsNorm() },
        Function("layerNorm", [[2, 5, 37], [37], [37]], activations: 1) {
            try $0[0].layerNorm(weight: $0[1], bias: $0[2])
        },
        Function("layerNorm without weight", [[7, 16]]) { try $0[0].layerNorm() },
        Function("rotated", [[5, 2 * 34]]) { try rotated($0[0], .halves) },
        Function("rotated in pairs", [[5, 2 * 34]]) { try rotated($0[0], .interleaved) },
        Function("silu", [[5, 37]]) { try $0[0].map(.silu) },
        Function("gelu of columns", [[5, 37]]) { try $0[0].transposed(0, 1).map(.geluTanh) },
        Function("scaled", [[5, 37]]) { try $0[0].scaled(0.3) },
        Function("dropout", [[5, 37]]) { try $0[0].dropout(0.3, seed: 1, stream: 2, firstElement: 3) },
        Function("sum", [[2, 5, 37], [2, 5, 37]]) { try $0[0] + $0[1] },
        Function("sum with a row", [[2, 5, 36], [36]]) { try $0[0] - $0[1] },
        Function("SwiGLU", [[5, 37], [5, 37]]) { try Tensor.gated(.swiglu, gate: $0[0], up: $0[1]) },
        Function("GEGLU", [[5, 36], [5, 36]]) { try Tensor.gated(.gegluTanh, gate: $0[0], up: $0[1]) },
    ]

    private static func rotated(_ x: Tensor, _ pairing: RotaryEmbedding.Pairing) throws -> Tensor {
        let table = try RotaryTable(width: 34, theta: 100, positions: 7, on: x.device)
        let positions = try x.device.view([3, 0, 6, 1, 2].map(Int32.init), [5], .i32)
        return try x.rotated(table, positions: positions, heads: 2, pairing: pairing)
    }

    /// Products may add in another order; what stands in for their activation's argument is rounded too.
    static let products: [Function] = [
        Function("linear with GELU", [[5, 16], [8, 16]]) { try $0[0].linear($0[1], activation: .geluTanh) }
    ]

    /// Backward reads its answers, which are rounded.
    static let attentions: [Function] = [
        Function("attention", [[2, 5, 4, 7], [2, 6, 2, 7], [2, 6, 2, 7]]) {
            try $0[0].flashAttention(keys: $0[1], values: $0[2], scale: 0.4)
        },
        Function("attention with a soft cap", [[2, 5, 4, 7], [2, 6, 2, 7], [2, 6, 2, 7]]) {
            try $0[0].flashAttention(keys: $0[1], values: $0[2], scale: 0.4, softCap: 0.5)
        },
        Function("attention of keys that are their own values", [[2, 5, 4, 7], [2, 6, 2, 7]]) {
            try $0[0].flashAttention(keys: $0[1], values: $0[1], scale: 0.4)
        },
        Function("attention of a packed projection", [[2, 5, 3, 2, 7]]) { try $0[0].packedAttention(scale: 0.4) },
    ]

    /// Value and gradients of Σ y².
    private func results(_ f: Function, on device: Device, _ apply: ([Tensor]) throws -> Tensor) throws -> [[Float]] {
        let (parameters, tensors) = try f.operands(on: device)
        let y = try apply(tensors)
        #expect(y.dtype == .bf16)
        try y.stored(as: .f32).squared().sum().backward()
        return try [y.values()] + parameters.map { try $0.gradientValues() }
    }

    @Test("are those of fp32 tensors, rounded once", arguments: functions, TestBackend.available)
    func rounded(_ f: Function, _ backend: TestBackend) throws {
        let device = try backend.device()
        let native = try results(f, on: device, f.apply)
        let converted = try results(f, on: device) { tensors in
            try f.apply(tensors.map { try $0.stored(as: .f32) }).stored(as: .bf16)
        }
        #expect(native == converted)
        #expect(native.allSatisfy { $0.contains { $0 != 0 } })
    }

    @Test(
        "attention is fp32's, rounded once; so are its gradients but for the answers", arguments: attentions,
        TestBackend.available)
    func attention(_ f: Function, _ backend: TestBackend) throws {
        let device = try backend.device()
        let native = try results(f, on: device, f.apply)
        let converted = try results(f, on: device) { tensors in
            try f.apply(tensors.map { try $0.stored(as: .f32) }).stored(as: .bf16)
        }
        #expect(native[0] == converted[0])
        for (mine, theirs) in zip(native, converted).dropFirst() {
            let largest = theirs.reduce(0) { max($0, abs($1)) }
            #expect(zip(mine, theirs).allSatisfy { abs($0 - $1) < 0.01 * largest } && largest > 0)
        }
    }

    @Test(
        "queries and keys that are stored differently: answers as queries are, gradients of all",
        arguments: TestBackend.available)
    func mixedAttention(_ backend: TestBackend) throws {
        let device = try backend.device()
        let f = Self.attentions[0]
        func gradients(_ types: [DType]) throws -> [[Float]] {
            let (parameters, tensors) = try f.operands(on: device)
            let y = try f.apply(zip(tensors, types).map { try $0.stored(as: $1) })
            #expect(y.dtype == types[0])
            try y.stored(as: .f32).squared().sum().backward()
            return try parameters.map { try $0.gradientValues() }
        }
        #expect(try gradients([.f32, .bf16, .bf16]) == gradients([.f32, .f32, .f32]))
    }

    @Test("of operands that are stored differently meet in fp32; gates refuse them", arguments: TestBackend.available)
    func mixed(_ backend: TestBackend) throws {
        let device = try backend.device()
        let a = try Tensor([1, 2.515625, -3], [3], on: device).stored(as: .bf16)
        // What b would lose in bf16 decides how sums that lie in the middle are rounded.
        let b = try Tensor([0x1p-8 + 0x1p-18, 0x1p-7 - 0x1p-20, 1], [3], on: device)
        let sum = try a + b
        #expect(sum.dtype == .bf16)
        #expect(try sum.values() == [1 + 0x1p-7, 2.515625, -2])
        #expect(try (b + a).dtype == .f32)
        #expect {
            try Tensor.gated(.swiglu, gate: a, up: b)
        } throws: { "\($0)" == "gate is bf16 and up f32; they are stored alike" }
    }

    @Test("convert nothing, forward and backward", arguments: functions + products + attentions)
    func unconverted(_ f: Function) throws {
        let plan = PlannedDevice()
        let device = Device(.planned(plan))
        let (_, tensors) = try f.operands(on: device)
        let upstream = try Tensor(view: device.compute.empty(f.apply(tensors).shape), on: device)
        let before = plan.operationCount
        try f.apply(tensors).backward(upstream: upstream)
        let names = plan.operations.dropFirst(before).map(\.name)
        #expect(names.count > 2 && !names.contains("convert"), "\(names)")
    }
}
