import RetortKernels
import RetortRuntime
import TestSupport
import Testing

@testable import RetortConformance

/// Ops that read and write bf16 compute in fp32 and round once.
@Suite("Ops on bf16")
struct ActivationStorageTests {
    /// Those whose bf16 samples are another computation: products may add in another order, and a conversion's types are what it does.
    private static let others: Set<String> = ["matmul", "convert"]
    private static let expected: Set<String> = [
        "copy", "gather", "rms_norm", "rms_norm_backward", "unary", "unary_backward", "scale", "binary",
        "divide_backward", "gated", "gated_backward", "rotary_embedding", "rotary_append", "dropout", "layer_norm",
        "layer_norm_backward", "flash_attention", "flash_attention_backward",
    ]

    /// The outputs of a case; what `like` has in bf16 and this case in f32 is rounded by the copy that rounds.
    private func outputs(_ opCase: OpCase, like: OpCase, on device: ComputeDevice) throws -> [String: [UInt32]] {
        let (operands, wholes) = try OpCheck.place(opCase, on: device)
        try opCase.invoke(operands)
        var outputs: [String: [UInt32]] = [:]
        for array in like.arrays where array.isOutput {
            var whole = wholes[array.name]!
            if whole.dtype != array.dtype {
                let rounded = try device.empty(whole.shape, array.dtype)
                try run(Convert(), .init(x: whole, y: rounded), on: device)
                whole = rounded
            }
            let memory =
                array.dtype == .bf16
                ? try device.read(whole, as: UInt16.self).map(UInt32.init) : try device.read(whole, as: UInt32.self)
            // Any NaN stands for any other: compilers are free to change its sign.
            outputs[array.name] = array.positions.map { position in
                let bits = memory[operands[array.name].offset + position]
                let value = Float(bitPattern: array.dtype == .bf16 ? bits << 16 : bits)
                return value.isNaN ? Float.nan.bitPattern : bits
            }
        }
        return outputs
    }

    @Test("are the fp32 op between two conversions, bit for bit", arguments: TestBackend.available)
    func rounding(backend: TestBackend) throws {
        let device = try backend.device().compute
        var covered: Set<String> = []
        for description in OpDescription.all where !Self.others.contains(description.name) {
            for sample in description.samples where sample.size <= .small && sample.text.contains("bf16") {
                let opCase = description.makeCase(sample, seed: 5)
                let native = try outputs(opCase, like: opCase, on: device)
                let converted = try outputs(opCase.widened, like: opCase, on: device)
                #expect(native == converted, "\(description.name) \(sample.text)")
                covered.insert(description.name)
            }
        }
        #expect(covered == Self.expected)
    }

    @Test("activations of two types, or of a third, are refused")
    func refused() throws {
        let device = try TestBackend.cpu.device().compute
        let (f32, bf16) = (try device.empty([2, 3]), try device.empty([2, 3], .bf16))
        let (f16, rstd) = (try device.empty([2, 3], .f16), try device.empty([2]))
        func message(_ x: View, _ y: View) -> String {
            do {
                try run(RMSNorm(), .init(x: x, weight: nil, y: y, rstd: rstd), on: device)
                return ""
            } catch { return "\(error)" }
        }
        #expect(message(bf16, f32) == "[rms_norm] y is f32 and x bf16; activations are stored alike")
        #expect(message(f16, f16) == "[rms_norm] x is f16; this op takes f32 or bf16")
    }

    @Test("attention's answers are stored as its queries are, its values as its keys; backward, all alike")
    func attention() throws {
        let device = try TestBackend.cpu.device().compute
        func empty(_ dtype: DType) throws -> View { try device.empty([1, 3, 1, 4], dtype) }
        let sums = try device.empty([1, 3, 1])
        func message(_ q: DType, _ k: DType, _ v: DType, _ y: DType, backward: DType? = nil) -> String {
            do {
                let (q, k, v, y) = (try empty(q), try empty(k), try empty(v), try empty(y))
                if let backward {
                    try run(
                        FlashAttentionBackward(scale: 1),
                        .init(
                            q: q, k: k, v: v, spans: nil, y: y, logSumExp: sums, dy: empty(.f32),
                            dq: .write(empty(backward)), dk: nil, dv: nil), on: device)
                } else {
                    try run(
                        FlashAttention(scale: 1), .init(q: q, k: k, v: v, spans: nil, y: y, logSumExp: sums),
                        on: device)
                }
                return ""
            } catch { return "\(error)" }
        }
        func bytes(_ q: DType, _ k: DType) throws -> Double {
            let (q, k) = (try empty(q), try empty(k))
            return FlashAttention(scale: 1).cost(.init(q: q, k: k, v: k, spans: nil, y: q, logSumExp: sums)).bytes
        }
        // Each of q, k, v and y once.
        #expect(try bytes(.f32, .f32) == 4 * 12 * 4 && bytes(.f32, .bf16) == 3 * 12 * 4)
        #expect(try bytes(.bf16, .bf16) == 2 * 12 * 4)
        let alike = "; activations are stored alike"
        #expect(message(.f32, .bf16, .bf16, .f32) == "" && message(.bf16, .f32, .f32, .bf16) == "")
        #expect(message(.bf16, .f32, .f32, .f32) == "[flash_attention] y is f32 and q bf16" + alike)
        #expect(message(.f32, .bf16, .f32, .f32) == "[flash_attention] v is f32 and k bf16" + alike)
        #expect(message(.f32, .f16, .f16, .f32) == "[flash_attention] k is f16; this op takes f32 or bf16")
        let name = "[flash_attention_backward] "
        #expect(message(.bf16, .bf16, .bf16, .bf16, backward: .f32) == "")
        #expect(message(.f32, .bf16, .bf16, .f32, backward: .f32) == name + "k is bf16 and q f32" + alike)
        #expect(message(.bf16, .bf16, .bf16, .bf16, backward: .bf16).hasPrefix(name + "dq is bf16"))
    }
}
