import RetortKernels
import RetortRuntime
import TestSupport
import Testing

@testable import RetortConformance

/// Tiles, edges and planes around matrix units, with plain arithmetic in their place.
@Suite("Matrix units, without any", .enabled(if: TestBackend.hasOpenCL))
struct MatrixUnitTests {
    private func device() throws -> Device {
        Device(.openCL(try OpenCLDevice(try OpenCLDeviceInfo.all()[0], family: .nvptx)))
    }

    @Test("products of bf16 conform")
    func conforms() throws {
        let target = OpTarget(try device())
        for sample in try #require(OpDescription.all.first { $0.name == "matmul" }).samples
        where sample.text.contains("bf16=") {
            try checkOps(OpSelection(op: "matmul", sample: sample.text), on: [target]) { result in
                if let text = OpReport.failureText(result) { Issue.record("\(text)") }
            }
        }
    }

    @Test("three planes of bf16 are the fp32 number, or what is not one")
    func planes() throws {
        let compute = try device().compute
        let numbers: [Float] = [
            1, -.pi, 16_777_215, 0x1.000002p0, -0x1.fffffep0, 0x1.0101p7, .greatestFiniteMagnitude,
            -.greatestFiniteMagnitude, 0x1.fffffep-100, 0, -0x1.80c0a2p-3, .infinity, -.infinity, .nan,
            Float(bitPattern: 0x7F80_0001), Float(bitPattern: 0xFF80_7FFF),
        ]
        // Each number by 1, everything else by 0.
        let (m, n, k) = (numbers.count, 8, 8)
        var a = [Float](repeating: 0, count: m * k)
        for (i, number) in numbers.enumerated() { a[i * k] = number }
        var b = [UInt16](repeating: 0, count: k * n)
        for j in 0..<n { b[j] = 0x3F80 }
        let factor = try compute.empty([k, n], .bf16)
        try compute.write(b, to: factor)
        for transposed in [false, true] {
            let stored = transposed ? (0..<k).flatMap { p in (0..<m).map { a[$0 * k + p] } } : a
            let view = try compute.view(stored, transposed ? [k, m] : [m, k])
            let product = try compute.empty([m, n])
            try run(
                Matmul(), .init(a: transposed ? view.transposed : view, b: factor, c: .write(product)), on: compute)
            let results: [Float] = try compute.read(product)
            for (i, number) in numbers.enumerated() {
                for j in 0..<n {
                    let result = results[i * n + j]
                    #expect(number.isNaN ? result.isNaN : result == number, "\(number), transposed: \(transposed)")
                }
            }
        }
    }
}
