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
                let values = (0..<shape.product).map { Float(sin(Double($0 * (index + 3)) * 0.7 + Double(index))) + 0.1 }
                return try Tensor.variable(values, shape, on: device)
            }
            let tensors = try variables.enumerated().map { try $1.0.stored(as: $0 < activations ? .bf16 : .f32) }
            return (variables.map(\.1), tensors)
        }
    }

    static let functions: [Function] = [
        Function("rmsNorm", [[2, 5, 37], [37]], activations: 1) { try $0[0].rmsNorm(weight: $0[1]) },
        Function("rmsNorm without weight", [[7, 16]]) { try $0[0].rmsNorm() },
        // Rows with gaps, and rows that are none.
        Function("rmsNorm of columns", [[7, 16]]) { try $0[0].transposed(0, 1).rmsNorm() },
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

    @Test("convert nothing, forward and backward", arguments: functions)
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
