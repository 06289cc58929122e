import RetortKernels
import RetortRuntime
import TestSupport
import Testing

@Suite("Norm, product and gate in one launch")
struct NormedProductTests {
    private struct Case {
        let rows: Int
        var gate: GatedActivation?
        var hasSides = true
        var dtype = DType.f32
    }

    /// Numbers that bf16 holds exactly.
    private func numbers(_ count: Int, _ step: Int) -> [Float] {
        (0..<count).map { Float(($0 * step + 5) % 23 - 11) / 8 }
    }

    @Test("give what they give one after the other, on CPUs bit for bit", arguments: TestBackend.available)
    func agrees(backend: TestBackend) throws {
        let device = try backend.device().compute
        let (k, n) = (71, 37)
        let cases = [
            Case(rows: 1), Case(rows: 4, hasSides: false), Case(rows: 3, dtype: .bf16), Case(rows: 1, gate: .swiglu),
            Case(rows: 4, gate: .gegluTanh, dtype: .bf16), Case(rows: 2, gate: .swiglu, hasSides: false),
        ]
        for c in cases {
            let wide = c.gate == nil ? n : 2 * n
            let x = try device.view(numbers(c.rows * k, 7), [c.rows, k])
            let numbersOfWeight = numbers(wide * k, 5)
            let weight =
                c.dtype == .bf16
                ? try device.view(
                    numbersOfWeight.map { UInt16(truncatingIfNeeded: $0.bitPattern >> 16) }, [wide, k], .bf16)
                : try device.view(numbersOfWeight, [wide, k])
            let norm = c.hasSides ? try device.view(numbers(k, 3), [k]) : nil
            let bias = c.hasSides ? try device.view(numbers(wide, 9), [wide]) : nil
            let y = try device.empty([c.rows, n])
            try run(
                NormedProduct(epsilon: 1e-5, gate: c.gate), .init(x: x, norm: norm, weight: weight, bias: bias, y: y),
                on: device)

            let (normed, rstd) = (try device.empty([c.rows, k]), try device.empty([c.rows]))
            let product = try device.empty([c.rows, wide])
            try run(RMSNorm(epsilon: 1e-5), .init(x: x, weight: norm, y: normed, rstd: rstd), on: device)
            try run(Matmul(), .init(a: normed, b: weight.transposed, c: .write(product), bias: bias), on: device)
            var expected = product
            if let gate = c.gate {
                expected = try device.empty([c.rows, n])
                try run(
                    Gated(gate),
                    .init(gate: product.narrowed(1, 0..<n), up: product.narrowed(1, n..<wide), y: .write(expected)),
                    on: device)
            }
            let (one, three): ([Float], [Float]) = (try device.read(y), try device.read(expected))
            if backend == .simt {
                // Products of few columns are summed in pieces there.
                expectClose(one, three.map(Double.init), absolute: 1e-4, "\(c)")
            } else {
                #expect(one == three, "\(c)")
            }
        }
    }

    @Test("operands that do not fit are refused", arguments: TestBackend.available)
    func refused(backend: TestBackend) throws {
        let device = try backend.device().compute
        func message(
            _ gate: GatedActivation? = nil, x: Dimensions = [2, 6], weight: Dimensions = [4, 6],
            y: Dimensions = [2, 4], norm: Dimensions = [6], bias: Dimensions = [4], type: DType = .f32
        ) throws -> String {
            let operands = NormedProduct.Operands(
                x: try device.empty(x), norm: try device.empty(norm), weight: try device.empty(weight, type),
                bias: try device.empty(bias), y: try device.empty(y))
            do {
                try run(NormedProduct(gate: gate), operands, on: device)
                return ""
            } catch { return "\(error)" }
        }
        #expect(try message() == "" && message(.swiglu, y: [2, 2]) == "")
        let rows = NormedProduct.mostRows + 1
        #expect(try message(x: [rows, 6], y: [rows, 4]).contains("more than \(NormedProduct.mostRows) rows"))
        #expect(try message(weight: [4, 5]).contains("weight [4, 5] does not fit x [2, 6]"))
        #expect(try message(.swiglu).contains("gates and ups"))
        #expect(try message(y: [2, 3]).contains("y [2, 3] is not x"))
        #expect(try message(norm: [5]).contains("norm is [6]") && message(bias: [3]).contains("bias is [4]"))
        #expect(try message(type: .f16).contains("weight is f16"))
    }
}
