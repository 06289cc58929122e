import Foundation
import RetortKernels
import TestSupport
import Testing

/// The better a student, the smaller its divergence from the teacher: it must keep its digits where it is the difference of numbers that
/// are thousands of times as large.
@Suite("Divergences of close distributions")
struct CloseDivergenceTests {
    private static let kinds: [DivergenceKind] = [.forwardKL, .reverseKL]

    @Test("digits of a small KL", arguments: TestBackend.available, kinds)
    func digits(_ backend: TestBackend, _ kind: DivergenceKind) throws {
        for (classes, temperature, apart) in [(2, 1, 0), (7, 20, 0), (100, 4, 0), (1271, 4, -300), (9001, 1, 17)]
            as [(Int, Float, Float)]
        {
            for inPlace in [false, true] {
                let (divergence, expected) = try measure(kind, classes, temperature, apart, inPlace, backend)
                for (ours, exact) in zip(divergence, expected) {
                    #expect(
                        abs(Double(ours) / exact - 1) < 3e-5,
                        "\(classes) classes, T = \(temperature), in place: \(inPlace): \(ours), not \(exact)")
                }
            }
        }
    }

    @Test("a class that one of both leaves out", arguments: TestBackend.available, kinds)
    func masked(_ backend: TestBackend, _ kind: DivergenceKind) throws {
        // All but the last of 40 classes are alike; the first distribution of KL(A ‖ B) does without that one.
        let all: [Float] = (0..<40).map { Float($0 % 7) }
        let some: [Float] = Array(all.dropLast()) + [-Float.infinity]
        let (student, teacher) = kind == .forwardKL ? (all, some) : (some, all)
        let total = all.reduce(0.0) { $0 + exp(Double($1)) }
        let expected = -log(1 - exp(Double(all[39])) / total)
        let ours = try run(kind, student, teacher, classes: 40, temperature: 1, inPlace: false, backend)
        #expect(abs(Double(ours[0]) / expected - 1) < 1e-6)
        // Equal rows: nothing, not almost nothing.
        #expect(try run(kind, all, all, classes: 40, temperature: 3, inPlace: true, backend) == [0])
    }

    @Test("a class that one of both hardly knows", arguments: TestBackend.available, kinds)
    func unlikely(_ backend: TestBackend, _ kind: DivergenceKind) throws {
        // Too unlikely for a number, not for a logarithm: KL is small, and most of it is this class.
        let first: [Float] = [0, -10] + [Float](repeating: -20, count: 30)
        var second = first
        second[1] = -1000
        let (student, teacher) = kind == .forwardKL ? (second, first) : (first, second)
        let (a, b) = (first.map(Double.init), second.map(Double.init))
        let logs = [a, b].map { x in x.map { $0 - log(x.reduce(0) { $0 + exp($1) }) } }
        let expected = zip(logs[0], logs[1]).reduce(0.0) { $0 + exp($1.0) * ($1.0 - $1.1 + expm1($1.1 - $1.0)) }
        for inPlace in [false, true] {
            let ours = try run(kind, student, teacher, classes: 32, temperature: 1, inPlace: inPlace, backend)
            #expect(abs(Double(ours[0]) / expected - 1) < 1e-5, "in place: \(inPlace): \(ours[0]), not \(expected)")
        }
    }

    /// Three rows whose logits differ by about a hundredth, and by `apart` in all classes.
    private func measure(
        _ kind: DivergenceKind, _ classes: Int, _ temperature: Float, _ apart: Float, _ inPlace: Bool,
        _ backend: TestBackend
    ) throws -> (ours: [Float], exact: [Double]) {
        let rows = 3
        var (student, teacher): ([Float], [Float]) = ([], [])
        for i in 0..<(rows * classes) {
            let (x, noise) = (Float((i * 7919) % 6007) / 1000 - 3, Float((i * 104_729) % 2003) / 1e5 - 0.01)
            teacher.append(x)
            student.append(x + noise + apart)
        }
        let exact = (0..<rows).map { r in
            func logs(_ x: [Float]) -> [Double] {
                let scaled = x[(r * classes)..<((r + 1) * classes)].map { Double($0) / Double(temperature) }
                let top = scaled.max()!
                let total = log(scaled.reduce(0.0) { $0 + exp($1 - top) }) + top
                return scaled.map { $0 - total }
            }
            let (q, p) = (logs(student), logs(teacher))
            let (a, b) = kind == .forwardKL ? (p, q) : (q, p)
            // Positive terms: float64 loses digits here too.
            return zip(a, b).reduce(0.0) { $0 + exp($1.0) * ($1.0 - $1.1 + expm1($1.1 - $1.0)) }
        }
        let ours = try run(
            kind, student, teacher, classes: classes, temperature: temperature, inPlace: inPlace, backend)
        return (ours, exact)
    }

    private func run(
        _ kind: DivergenceKind, _ student: [Float], _ teacher: [Float], classes: Int, temperature: Float, inPlace: Bool,
        _ backend: TestBackend
    ) throws -> [Float] {
        let device = try backend.device().compute
        let rows = student.count / classes
        let s = try device.view(student, [rows, classes])
        let divergence = try device.empty([rows])
        try RetortKernels.run(
            Divergence(kind, temperature: temperature),
            .init(
                student: s, teacher: try device.view(teacher, [rows, classes]), labels: nil, rowWeights: nil,
                loss: try device.empty([rows]), divergence: divergence, crossEntropy: try device.empty([rows]),
                gradient: inPlace ? s : try device.empty([rows, classes])), on: device)
        return try device.read(divergence)
    }
}
