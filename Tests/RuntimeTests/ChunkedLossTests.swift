import RetortKernels
import TestSupport
import Testing

@testable import RetortRuntime

/// Losses by chunks against the dense composition: the same values, the same gradients.
@Suite("Chunked losses")
struct ChunkedLossTests {
    /// 20 tokens; student 5 wide, teacher 7 wide; 33 classes. Heads lie in arenas, their rows padded.
    private final class Rig {
        static let (tokens, width, teacherWidth, classes) = (20, 5, 7, 33)
        let device: Device
        let head: Linear
        let teacherHead: Linear
        let hidden: [Float]
        let teacherHidden: Tensor
        let labels: View
        let weights: View
        private let arenas: [ParameterArena]

        init(_ backend: TestBackend, device: Device? = nil, rows: Int = Rig.classes) throws {
            self.device = try device ?? backend.device()
            head = Linear("head", inputs: Self.width, outputs: rows)
            teacherHead = Linear("teacher", inputs: Self.teacherWidth, outputs: Self.classes)
            arenas = [
                try head.materialize(on: self.device, seed: 1), try teacherHead.materialize(on: self.device, seed: 2),
            ]
            hidden = Philox(seed: 3, stream: 1).normals(Self.tokens * Self.width, deviation: 2)
            teacherHidden = try Tensor(
                Philox(seed: 3, stream: 2).normals(Self.tokens * Self.teacherWidth, deviation: 2),
                [Self.tokens, Self.teacherWidth], on: self.device)
            let ids = (0..<Self.tokens).map { $0 % 6 == 4 ? Int32(-100) : Int32($0 * 7 % Self.classes) }
            labels = try self.device.compute.view(ids, [Self.tokens], .i32)
            weights = try Tensor.tokenWeights(labels, divisor: 31, on: self.device)
        }

        func output(softCap: Float? = nil, classes: Int? = nil) throws -> OutputHead {
            try OutputHead(
                weight: head.weight.tensor, bias: head.bias?.tensor, softCap: softCap, classes: classes)
        }

        func teacherOutput(softCap: Float? = nil) throws -> OutputHead {
            try OutputHead(
                weight: teacherHead.weight.tensor.detached, bias: teacherHead.bias?.tensor.detached, softCap: softCap)
        }

        struct Result {
            var loss: Float = 0
            var divergence: [Float] = []
            var crossEntropy: [Float] = []
            var hidden: [Float] = []
            var weight: [Float] = []
            var bias: [Float] = []
        }

        /// Gradients of `factor` · loss.
        func run(_ factor: Float = 1, _ loss: (Tensor) throws -> (total: Tensor, parts: FusedLoss)) throws -> Result {
            // A cleared gradient is no number: what nobody writes shows.
            for parameter in head.parameters {
                parameter.clearGradient()
                try RetortKernels.run(Fill(.nan), .init(y: parameter.gradient), on: device.compute)
            }
            let (x, leaf) = try Tensor.variable(hidden, [4, 5, Self.width], on: device)
            let (total, parts) = try loss(x)
            try (factor == 1 ? total : total * factor).backward()
            return Result(
                loss: try total.item(), divergence: try parts.divergence?.values() ?? [],
                crossEntropy: try parts.crossEntropy?.values() ?? [], hidden: try leaf.gradientValues(),
                weight: try head.weight.gradientValues(), bias: try head.bias?.gradientValues() ?? [])
        }

        func dense(
            _ op: Divergence, softCap: Float? = nil, classes: Int? = nil, labelled: Bool = true, weighed: Bool = true,
            factor: Float = 1
        ) throws -> Result {
            try run(factor) { x in
                let teacher = try teacherOutput(softCap: softCap.map { $0 * 2 }).logits(teacherHidden)
                let loss = try output(softCap: softCap, classes: classes).logits(x).divergence(
                    op, teacher: teacher.view, labels: labelled ? labels : nil, rowWeights: weighed ? weights : nil)
                return (loss.total, loss)
            }
        }

        func chunked(
            _ op: Divergence, softCap: Float? = nil, classes: Int? = nil, labelled: Bool = true, weighed: Bool = true,
            factor: Float = 1, _ chunk: ChunkSize, _ gradient: HeadGradient = .held
        ) throws -> Result {
            try run(factor) { x in
                let loss = try x.chunkedDivergence(
                    op, head: output(softCap: softCap, classes: classes),
                    teacher: HeadLogits(teacherHidden, teacherOutput(softCap: softCap.map { $0 * 2 })),
                    labels: labelled ? labels : nil, rowWeights: weighed ? weights : nil, chunk: chunk,
                    headGradient: gradient)
                return (loss.total, loss.rows)
            }
        }
    }

    private func expectSame(_ a: Rig.Result, _ b: Rig.Result, _ what: String) {
        func close(_ x: [Float], _ y: [Float], _ name: String) {
            let largest = Double(y.map(abs).max() ?? 0)
            expectClose(x, y.map(Double.init), absolute: 4e-6 * largest + 1e-9, relative: 2e-5, "\(what): \(name)")
        }
        close([a.loss], [b.loss], "loss")
        close(a.divergence, b.divergence, "divergence")
        close(a.crossEntropy, b.crossEntropy, "cross entropy")
        close(a.hidden, b.hidden, "gradient of the hidden states")
        close(a.weight, b.weight, "gradient of the weight")
        close(a.bias, b.bias, "gradient of the bias")
        #expect(b.weight.contains { $0 != 0 } && b.hidden.contains { $0 != 0 }, "\(what)")
    }

    private static let chunks: [ChunkSize] = [
        .rows(1), .rows(7), .rows(10), .rows(20), .rows(1000), .automatic, .bytes(4 * 33 * 2 * 3), .bytes(1),
    ]

    private typealias Setting = (temperature: Float, hard: Float, labelled: Bool, weighed: Bool, cap: Float?)
    private static let settings: [Setting] = [
        (1, 0, false, false, nil), (2, 0.3, true, true, nil), (1, 0.3, true, false, nil), (0.7, 0, true, true, 1.5),
        (4, 0.6, true, true, 3),
    ]

    @Test("every divergence, mask and chunk as the dense composition", arguments: TestBackend.available)
    func forms(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        for kind in DivergenceKind.allCases {
            for (temperature, hard, labelled, weighed, cap) in Self.settings {
                let op = Divergence(
                    kind, mix: 0.3, temperature: temperature, softWeight: (1 - hard) * temperature * temperature,
                    hardWeight: hard, reportedFactor: temperature * temperature, scale: weighed ? 1 : 0.05)
                let dense = try rig.dense(op, softCap: cap, labelled: labelled, weighed: weighed)
                // All sizes for one form, two for the others.
                for chunk in kind == .forwardKL ? Self.chunks : [.rows(7), .rows(20)] {
                    let chunked = try rig.chunked(
                        op, softCap: cap, labelled: labelled, weighed: weighed, chunk,
                        chunk == .rows(7) ? .added : .held)
                    expectSame(chunked, dense, "\(kind) T=\(temperature) hard \(hard) cap \(cap ?? 0) \(chunk)")
                }
            }
        }
    }

    @Test("mixtures at their ends", arguments: TestBackend.fast)
    func ends(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        for (kind, mix) in [(DivergenceKind.jsd, Float(0)), (.jsd, 1), (.continuousJSD, 0), (.skewReverseKL, 0)] {
            let op = Divergence(kind, mix: mix, temperature: 2)
            expectSame(try rig.chunked(op, .rows(6)), try rig.dense(op), "\(kind) \(mix)")
        }
    }

    @Test("dense logits as the teacher, bounded or longer than the vocabulary", arguments: TestBackend.available)
    func denseTeacher(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let op = Divergence(.forwardKL, temperature: 2)
        let logits = try rig.teacherOutput().logits(rig.teacherHidden)
        let wide = try Tensor.concatenated([logits, logits], axis: -1)
        let sources: [(Float?, Tensor)] = [(nil, logits), (nil, wide), (6, wide)]
        for (cap, source) in sources {
            let teacher = try cap.map { cap in try (logits * (1 / cap)).map(.tanh) * cap } ?? logits
            let dense = try rig.run { x in
                let loss = try rig.output().logits(x).divergence(op, teacher: teacher.view)
                return (loss.total, loss)
            }
            let chunked = try rig.run { x in
                let loss = try x.chunkedDivergence(
                    op, head: rig.output(), teacher: DenseLogits(source, softCap: cap, classes: Rig.classes),
                    chunk: .rows(7))
                return (loss.total, loss.rows)
            }
            expectSame(chunked, dense, "cap \(cap ?? 0)")
        }
    }

    @Test("cross entropy", arguments: TestBackend.available)
    func crossEntropy(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        for cap in [nil, Float(2)] {
            let dense = try rig.run { x in
                let loss = try rig.output(softCap: cap).logits(x).crossEntropy(
                    rig.labels, rowWeights: rig.weights, labelSmoothing: 0.1, scale: 1)
                return (loss.total, loss)
            }
            for chunk in Self.chunks {
                let chunked = try rig.run { x in
                    let loss = try x.chunkedCrossEntropy(
                        rig.labels, head: rig.output(softCap: cap), rowWeights: rig.weights, labelSmoothing: 0.1,
                        scale: 1, chunk: chunk)
                    #expect(try loss.crossEntropy?.item() == loss.total.item())
                    return (loss.total, loss.rows)
                }
                expectSame(chunked, dense, "cap \(cap ?? 0) \(chunk)")
            }
        }
    }

    @Test("a composed loss by chunks is the loss of all rows", arguments: TestBackend.available)
    func composition(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        // A squared distance of the teacher's softmax, of the rows that are not each third; a chunk may have none that counts.
        func loss(_ student: Tensor, _ teacher: Tensor, _ range: Range<Int>) throws -> Tensor? {
            let places = range.filter { $0 % 3 != 2 && $0 != 4 }.map { Int32($0 - range.lowerBound) }
            guard !places.isEmpty else { return nil }
            func chosen(_ x: Tensor) throws -> Tensor {
                try x.softmax().gatherRows(places, shape: [places.count])
            }
            return try (chosen(student) - chosen(teacher)).squared().sum()
        }
        for cap in [nil, Float(2)] {
            let teacher = try rig.teacherOutput().logits(rig.teacherHidden)
            let dense = try rig.run { x in
                let logits = try rig.output(softCap: cap).logits(x).reshaped([Rig.tokens, Rig.classes])
                let total = try #require(try loss(logits, teacher, 0..<Rig.tokens))
                return (total, FusedLoss(total: total, perRow: total, divergence: nil, crossEntropy: nil))
            }
            for chunk in [ChunkSize.rows(1), .rows(7), .automatic] {
                let chunked = try rig.run { x in
                    let total = try x.chunkedComposition(
                        head: rig.output(softCap: cap), teachers: [HeadLogits(rig.teacherHidden, rig.teacherOutput())],
                        chunk: chunk, headGradient: chunk == .rows(7) ? .added : .held
                    ) { try loss($0, Tensor(view: #require($1.first), on: rig.device), $2) }
                    return (total, FusedLoss(total: total, perRow: total, divergence: nil, crossEntropy: nil))
                }
                expectSame(chunked, dense, "cap \(cap ?? 0) \(chunk)")
            }
        }
    }

    @Test("divergences each of other rows are those of the rows alone", arguments: TestBackend.fast)
    func divergencesByRows(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let ops: [(rows: Range<Int>, op: Divergence)] = [
            (0..<5, Divergence(.skewKL, mix: 0.2, softWeight: 0.7)), (5..<6, Divergence(.reverseKL)),
            (6..<20, Divergence(.skewReverseKL, mix: 0.4, softWeight: 2)),
        ]
        let dense = try rig.run { x in
            let logits = try rig.output(softCap: 2).logits(x).reshaped([Rig.tokens, Rig.classes])
            let teacher = try rig.teacherOutput().logits(rig.teacherHidden)
            let losses = try ops.map { rows, op in
                try logits.slice(rows).divergence(
                    op, teacher: teacher.view.slice(rows), rowWeights: rig.weights.slice(rows)
                ).total
            }
            let total = try losses.dropFirst().reduce(losses[0]) { try $0 + $1 }
            return (total, FusedLoss(total: total, perRow: total, divergence: nil, crossEntropy: nil))
        }
        for chunk in [ChunkSize.rows(1), .rows(7), .automatic] {
            let chunked = try rig.run { x in
                let total = try x.chunkedDivergence(
                    ops, head: rig.output(softCap: 2), teacher: HeadLogits(rig.teacherHidden, rig.teacherOutput()),
                    rowWeights: rig.weights, chunk: chunk, headGradient: chunk == .rows(7) ? .added : .held)
                return (total, FusedLoss(total: total, perRow: total, divergence: nil, crossEntropy: nil))
            }
            expectSame(chunked, dense, "\(chunk)")
        }
        let (x, _) = try Tensor.variable(rig.hidden, [20, 5], on: rig.device)
        #expect(throws: TensorError.self) {
            _ = try x.chunkedDivergence(
                [ops[0], ops[2]], head: rig.output(), teacher: HeadLogits(rig.teacherHidden, rig.teacherOutput()),
                rowWeights: rig.weights)
        }
    }

    @Test("the parts that logs show are the weighted means", arguments: TestBackend.fast)
    func parts(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let op = Divergence(
            .reverseKL, temperature: 3, softWeight: 0.4 * 9, hardWeight: 0.6, reportedFactor: 9)
        let (x, _) = try Tensor.variable(rig.hidden, [20, 5], on: rig.device)
        let teacher = try HeadLogits(rig.teacherHidden, rig.teacherOutput())
        let loss = try x.chunkedDivergence(
            op, head: rig.output(), teacher: teacher, labels: rig.labels, rowWeights: rig.weights, chunk: .rows(3))
        let (soft, hard) = (try #require(loss.divergence).item(), try #require(loss.crossEntropy).item())
        expectClose([try loss.total.item()], [Double(0.4 * soft + 0.6 * hard)], absolute: 0, relative: 1e-5)
        let mean = try zip(#require(loss.rows.crossEntropy).values(), rig.labels.values(rig.device)).reduce(0.0) {
            $0 + ($1.1 == -100 ? 0 : Double($1.0) / 31)
        }
        expectClose([hard], [mean], absolute: 0, relative: 1e-5)

        // Without weights the op's scale makes the mean.
        let plain = try x.chunkedDivergence(
            Divergence(.reverseKL, scale: 0.05), head: rig.output(), teacher: teacher, chunk: .rows(3))
        #expect(plain.crossEntropy == nil)
        expectClose(
            [try #require(plain.divergence).item()], [Double(try plain.total.item())], absolute: 0, relative: 1e-6)
    }

    @Test("a factor behind the loss scales the gradients", arguments: TestBackend.available)
    func upstream(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let op = Divergence(.forwardKL, temperature: 2, softWeight: 4, hardWeight: 0.5)
        let dense = try rig.dense(op, factor: 0.37)
        expectSame(try rig.chunked(op, factor: 0.37, .rows(7)), dense, "a number")
        // A factor that is known on the device only.
        let chunked = try rig.run { x in
            let loss = try x.chunkedDivergence(
                op, head: rig.output(), teacher: HeadLogits(rig.teacherHidden, rig.teacherOutput()),
                labels: rig.labels, rowWeights: rig.weights, chunk: .rows(7))
            return (try loss.total * Tensor([0.37], [], on: rig.device), loss.rows)
        }
        var scaled = dense
        scaled.loss *= 0.37
        expectSame(chunked, scaled, "a tensor")
        // A sum leaves the factor 1, and the parameter's own gradient can be used.
        let sum = try rig.run { x in
            let loss = try x.chunkedDivergence(
                op, head: rig.output(), teacher: HeadLogits(rig.teacherHidden, rig.teacherOutput()),
                labels: rig.labels, rowWeights: rig.weights, chunk: .rows(7), headGradient: .added)
            return (try loss.total + x.squared().sum(), loss.rows)
        }
        #expect(sum.weight == (try rig.chunked(op, .rows(7), .added)).weight)
        // Any other factor is refused where the gradient is already there.
        #expect(throws: TensorError.self) { try rig.chunked(op, factor: 0.37, .rows(7), .added) }
    }

    @Test("two parts of a batch are the batch", arguments: TestBackend.available)
    func accumulation(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let op = Divergence(.jsd, mix: 0.4, temperature: 2, softWeight: 4, hardWeight: 0.5)
        let whole = try rig.chunked(op, .rows(8))
        for mode in [HeadGradient.held, .added] {
            rig.head.parameters.forEach { $0.clearGradient() }
            let teacher = try HeadLogits(rig.teacherHidden, rig.teacherOutput())
            var (loss, gradients) = (Float(0), [Float]())
            for range in [0..<12, 12..<20] {
                let part = Array(rig.hidden[(range.lowerBound * 5)..<(range.upperBound * 5)])
                let (x, leaf) = try Tensor.variable(part, [range.count, 5], on: rig.device)
                let total = try x.chunkedDivergence(
                    op, head: rig.output(),
                    teacher: DenseLogits(Tensor(view: teacher.all().slice(range), on: rig.device)),
                    labels: rig.labels.slice(range), rowWeights: rig.weights.slice(range), chunk: .rows(5),
                    headGradient: mode
                ).total
                loss += try total.item()
                try total.backward()
                gradients += try leaf.gradientValues()
            }
            expectSame(
                .init(
                    loss: loss, hidden: gradients, weight: try rig.head.weight.gradientValues(),
                    bias: try rig.head.bias?.gradientValues() ?? []),
                .init(loss: whole.loss, hidden: whole.hidden, weight: whole.weight, bias: whole.bias), "\(mode)")
        }
    }

    @Test("an embedding that is the head gets both gradients", arguments: TestBackend.available)
    func tied(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let op = Divergence(.skewKL, mix: 0.2, temperature: 2, softWeight: 4, hardWeight: 0.5)
        let table = rig.head.weight
        let ids = (0..<20).map { Int32($0 * 5 % 33) }
        func gradient(_ loss: (Tensor, OutputHead) throws -> Tensor) throws -> [Float] {
            table.clearGradient()
            let x = try table.tensor.gatherRows(ids, shape: [20]).map(.tanh)
            try loss(x, OutputHead(weight: table.tensor)).backward()
            return try table.gradientValues()
        }
        let teacher = try rig.teacherOutput().logits(rig.teacherHidden)
        let dense = try gradient { x, head in
            try head.logits(x).divergence(op, teacher: teacher.view, labels: rig.labels, rowWeights: rig.weights).total
        }
        for mode in [HeadGradient.held, .added] {
            let chunked = try gradient { x, head in
                try x.chunkedDivergence(
                    op, head: head, teacher: DenseLogits(teacher), labels: rig.labels, rowWeights: rig.weights,
                    chunk: .rows(6), headGradient: mode
                ).total
            }
            let largest = Double(dense.map(abs).max() ?? 0)
            expectClose(chunked, dense.map(Double.init), absolute: 4e-6 * largest, relative: 2e-5, "\(mode)")
        }
    }

    @Test("a head with more rows than the vocabulary", arguments: TestBackend.available)
    func narrowed(_ backend: TestBackend) throws {
        let rig = try Rig(backend, rows: 40)
        let op = Divergence(.forwardKL, temperature: 2, hardWeight: 0.5)
        let dense = try rig.dense(op, classes: 33)
        for mode in [HeadGradient.held, .added] {
            let chunked = try rig.chunked(op, classes: 33, .rows(7), mode)
            expectSame(chunked, dense, "\(mode)")
            #expect(chunked.weight.suffix(7 * 5).allSatisfy { $0 == 0 })
            #expect(chunked.bias.suffix(7).allSatisfy { $0 == 0 })
        }
        // What is there already stays.
        _ = try rig.chunked(op, classes: 33, .rows(7))
        let before = try rig.head.weight.gradientValues()
        let (x, _) = try Tensor.variable(rig.hidden, [20, 5], on: rig.device)
        try x.chunkedDivergence(
            op, head: rig.output(classes: 33), teacher: HeadLogits(rig.teacherHidden, rig.teacherOutput()),
            labels: rig.labels, rowWeights: rig.weights, headGradient: .added
        ).total.backward()
        expectClose(
            try rig.head.weight.gradientValues(), before.map { 2 * Double($0) }, absolute: 1e-6, relative: 1e-5)
    }

    @Test("rows gathered from a head", arguments: TestBackend.available)
    func gathered(_ backend: TestBackend) throws {
        let rig = try Rig(backend, rows: 40)
        let op = Divergence(.forwardKL, temperature: 2)
        let order = (0..<33).map { Int32($0 * 11 % 40) }
        let teacher = try rig.teacherOutput().logits(rig.teacherHidden)
        let dense = try rig.run { x in
            let head = try rig.output().gathered(order)
            let loss = try head.logits(x).divergence(op, teacher: teacher.view)
            return (loss.total, loss)
        }
        let chunked = try rig.run { x in
            let loss = try x.chunkedDivergence(
                op, head: rig.output().gathered(order), teacher: DenseLogits(teacher), chunk: .rows(7),
                headGradient: .added)
            return (loss.total, loss.rows)
        }
        expectSame(chunked, dense, "gathered")
    }

    @Test("what is frozen gets no gradient, and evaluation computes none", arguments: TestBackend.fast)
    func frozen(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let op = Divergence(.forwardKL, temperature: 2)
        let whole = try rig.chunked(op, labelled: false, weighed: false, .rows(7))
        let teacher = try HeadLogits(rig.teacherHidden, rig.teacherOutput())
        let still = try Tensor(rig.hidden, [20, 5], on: rig.device)

        rig.head.parameters.forEach { $0.clearGradient() }
        let headOnly = try still.chunkedDivergence(op, head: rig.output(), teacher: teacher, chunk: .rows(7))
        try headOnly.total.backward()
        #expect(try rig.head.weight.gradientValues() == whole.weight)

        rig.head.parameters.forEach { $0.clearGradient() }
        let evaluated = try Autograd.withoutGradients {
            try still.chunkedDivergence(op, head: rig.output(), teacher: teacher, chunk: .rows(7), headGradient: .added)
        }
        #expect(try evaluated.total.item() == whole.loss)
        #expect(!evaluated.total.needsGradient && !rig.head.weight.hasGradient)

        rig.head.parameters.forEach { $0.isTrainable = false }
        let bodyOnly = try rig.chunked(op, labelled: false, weighed: false, .rows(7))
        #expect(bodyOnly.hidden == whole.hidden)
        #expect(!rig.head.weight.hasGradient)
    }

    @Test("the loss and the hidden gradient of masked rows are 0 whatever they hold", arguments: TestBackend.available)
    func masked(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let op = Divergence(.forwardKL, temperature: 2, hardWeight: 0.5)
        var hidden = rig.hidden
        for token in 0..<20 where token % 6 == 4 { hidden[token * 5] = .nan }
        let (x, leaf) = try Tensor.variable(hidden, [20, 5], on: rig.device)
        let loss = try x.chunkedDivergence(
            op, head: rig.output(), teacher: HeadLogits(rig.teacherHidden, rig.teacherOutput()), labels: rig.labels,
            rowWeights: rig.weights, chunk: .rows(7))
        try loss.total.backward()
        #expect(try loss.total.item() == rig.chunked(op, .rows(7)).loss)
        #expect(try leaf.gradientValues().allSatisfy(\.isFinite))
    }

    @Test("memory beyond one chunk is not taken", arguments: TestBackend.fast)
    func memory(_ backend: TestBackend) throws {
        let device = try backend.ownDevice()
        let (tokens, width, classes) = (256, 8, 4096)
        let head = Linear("head", inputs: width, outputs: classes)
        _ = try head.materialize(on: device, seed: 1)
        let states = try Tensor(
            Philox(seed: 3, stream: 1).normals(tokens * width, deviation: 1), [tokens, width], on: device)
        func extra(_ loss: (Tensor, OutputHead) throws -> Tensor) throws -> Int {
            head.parameters.forEach { $0.clearGradient() }
            let (x, _) = try states.leaf()
            let before = device.compute.memory.live
            device.compute.resetPeakMemory()
            let output = try OutputHead(weight: head.weight.tensor, bias: head.bias?.tensor)
            try loss(x, output).backward()
            try device.compute.synchronize()
            return device.compute.memory.peak - before
        }
        let op = Divergence(.forwardKL, temperature: 2)
        let theirs = try OutputHead(weight: head.weight.tensor.detached)
        let dense = try extra { x, output in
            try output.logits(x).divergence(op, teacher: theirs.logits(states).view).total
        }
        let chunked = try extra { x, output in
            try x.chunkedDivergence(
                op, head: output, teacher: HeadLogits(states, theirs), chunk: .rows(16), headGradient: .added
            ).total
        }
        #expect(dense >= 3 * tokens * classes * 4)
        // Two buffers of a chunk, the gradient of the hidden states, and what products need to work in.
        #expect(chunked < dense / 8, "\(chunked) of \(dense)")
        #expect(chunked >= 2 * 16 * classes * 4)
    }

    @Test("a batch without tokens has loss 0 and no gradient", arguments: TestBackend.fast)
    func empty(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        rig.head.parameters.forEach { $0.clearGradient() }
        let (x, _) = try Tensor.variable([], [0, 5], on: rig.device)
        let teacher = try DenseLogits(Tensor([], [0, 33], on: rig.device))
        for mode in [HeadGradient.held, .added] {
            let loss = try x.chunkedDivergence(
                Divergence(.forwardKL), head: rig.output(), teacher: teacher, headGradient: mode)
            try loss.total.backward()
            #expect(try loss.total.item() == 0)
            #expect(try rig.head.weight.gradientValues().allSatisfy { $0 == 0 })
        }
    }

    @Test("what does not fit is refused with both shapes")
    func refused() throws {
        let rig = try Rig(.cpu)
        let op = Divergence(.forwardKL, hardWeight: 0.5)
        let teacher = try HeadLogits(rig.teacherHidden, rig.teacherOutput())
        let (x, _) = try Tensor.variable(rig.hidden, [20, 5], on: rig.device)
        let head = try rig.output()
        func refuses(_ words: String, _ body: () throws -> Void) {
            do {
                try body()
                Issue.record("\(words): nothing was thrown")
            } catch {
                #expect("\(error)".contains(words), "\(error)")
            }
        }
        refuses("[20, 7] before a head [33, 5]") {
            _ = try rig.teacherHidden.chunkedDivergence(op, head: head, teacher: teacher)
        }
        refuses("20 rows and 33 classes for a student of 20 and 31") {
            _ = try x.chunkedDivergence(op, head: head.narrowed(to: 31), teacher: teacher, labels: rig.labels)
        }
        refuses("absent") { _ = try x.chunkedDivergence(op, head: head, teacher: teacher) }
        refuses("labels of shape [19]") {
            _ = try x.chunkedDivergence(op, head: head, teacher: teacher, labels: rig.labels.slice(0..<19))
        }
        refuses("row weights of shape [5]") {
            _ = try x.chunkedCrossEntropy(rig.labels, head: head, rowWeights: rig.weights.slice(0..<5), scale: 1)
        }
        refuses("0 rows") {
            _ = try x.chunkedDivergence(op, head: head, teacher: teacher, labels: rig.labels, chunk: .rows(0))
        }
        refuses("-1 bytes") {
            _ = try x.chunkedDivergence(op, head: head, teacher: teacher, labels: rig.labels, chunk: .bytes(-1))
        }
        refuses("34 classes of a head of 33 rows") { _ = try head.narrowed(to: 34) }
        refuses("soft cap") { _ = try OutputHead(weight: head.weight, softCap: 0) }
        refuses("divisor") { _ = try Tensor.tokenWeights(rig.labels, divisor: 0, on: rig.device) }
    }

    @Test("a composed loss over a large vocabulary takes chunks that fit, held many times over")
    func composedMemory() throws {
        let device = Device(.planned(PlannedDevice()))
        let classes = 150_000
        let head = Linear("head", inputs: 4, outputs: classes, bias: false)
        _ = try head.materialize(on: device, seed: nil)
        let (hidden, _) = try Tensor([Float](repeating: 0, count: 4 * 1024), [1024, 4], on: device).leaf()
        let before = device.compute.memory.live
        device.compute.resetPeakMemory()
        let loss = try hidden.chunkedComposition(head: OutputHead(weight: head.weight.tensor), teachers: []) {
            z, _, _ in
            let p = try (z * 0.5).exp()
            return try (p * p.squareRoot() + p.squared()).sum()
        }
        try loss.backward()
        let taken = device.compute.memory.peak - before
        #expect(taken < 2 * ChunkSize.automaticBytes, "\(taken) bytes")
        #expect(try ChunkSize.automatic.rows(of: 1024, bytesOfRow: 4 * classes) > 100)
    }

    @Test("sizes of chunks")
    func sizes() throws {
        func rows(_ size: ChunkSize, _ total: Int, _ bytes: Int) throws -> Int {
            try size.rows(of: total, bytesOfRow: bytes)
        }
        #expect(try rows(.automatic, 2048, 8 * 49152) == 256)
        #expect(try rows(.automatic, 1024, 8 * 151_936) == 128)
        // 256 MiB hold 220 rows of two buffers of the largest vocabularies.
        #expect(try rows(.automatic, 16384, 8 * 151_936) == 220)
        #expect(try rows(.automatic, 40, 8 * 151_936) == 40)
        #expect(try rows(.automatic, 100_000, 8 * (1 << 22)) == 128)
        #expect(try rows(.bytes(100), 50, 30) == 3)
        #expect(try rows(.bytes(1), 50, 30) == 1)
        #expect(try ChunkSize.bytes(1000).rows(of: 50, bytesOfRow: 10, copies: 4) == 25)
        #expect(try rows(.rows(7), 5, 30) == 5)
    }
}

extension View {
    fileprivate func values(_ device: Device) throws -> [Int32] { try device.compute.read(self, as: Int32.self) }
}

extension HeadLogits {
    /// All rows at once, for comparison.
    fileprivate func all() throws -> View {
        let space = try device.empty([rows, classes])
        return try logits(0..<rows, in: space)
    }
}
