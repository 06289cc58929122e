import RetortKernels
import TestSupport
import Testing

@testable import RetortRuntime

/// The tape by itself: where gradients go, in which order they add up, what is freed. The gradients of single ops are checked by
/// finite differences in the conformance suites.
@Suite("Autograd")
struct AutogradTests {
    /// y = (2x)² summed: dy/dx = 8x.
    @Test("a chain", arguments: TestBackend.available)
    func chain(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (x, leaf) = try Tensor.variable([1, -2, 3], [3], on: device)
        let y = try x.scaled(2).squared().sum()
        #expect(try y.item() == 56)
        try y.backward()
        #expect(try leaf.gradientValues() == [8, -16, 24])
    }

    @Test("a value used three times collects three gradients", arguments: TestBackend.available)
    func fanOut(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (x, leaf) = try Tensor.variable([1, 2], [2], on: device)
        let shared = try x.scaled(3)
        // Σ s² + s·x + 5s with s = 3x: d/dx = 3·(2s) + (3x + s) + 15 = 18x + 6x + 15.
        let y = try (shared.squared() + shared * x + shared.scaled(5)).sum()
        try y.backward()
        #expect(try leaf.gradientValues() == [39, 63])
    }

    @Test("a tensor combined with itself", arguments: TestBackend.available)
    func withItself(_ backend: TestBackend) throws {
        let device = try backend.device()
        func gradient(_ body: (Tensor) throws -> Tensor) throws -> [Float] {
            let (x, leaf) = try Tensor.variable([2, 4], [2], on: device)
            // Squared afterwards, so that the gradient that arrives is not a constant.
            try body(try x.scaled(1)).squared().sum().backward()
            return try leaf.gradientValues()
        }
        #expect(try gradient { try $0 + $0 } == [16, 32])
        #expect(try gradient { try $0 - $0 } == [0, 0])
        #expect(try gradient { try $0 * $0 } == [32, 256])
        #expect(try gradient { try $0 / $0 } == [0, 0])
    }

    /// z = a + b hands one gradient to both. A third contribution to a must not reach b through a buffer they share.
    @Test("operands of a sum do not share their gradient", arguments: TestBackend.available)
    func sumDoesNotShare(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (p, pLeaf) = try Tensor.variable([1, 2, 3], [1, 3], on: device)
        for (shapeOfB, subtracts): (Dimensions, Bool) in [([1, 3], false), ([3], false), ([1, 3], true)] {
            pLeaf.clearGradient()
            let (q, qLeaf) = try Tensor.variable([4, 5, 6], shapeOfB, on: device)
            let b = try q.scaled(1)
            let a = try p.scaled(1)
            let early = try a.squared()
            let z = try subtracts ? a - b : a + b
            try (z.squared().sum() + early.sum()).backward()
            // dz = 2z; a collects 2z + 2a, b collects ±2z.
            let (pGradient, qGradient) = (try pLeaf.gradientValues(), try qLeaf.gradientValues())
            #expect(pGradient == (subtracts ? [-4, -2, 0] : [12, 18, 24]), "\(shapeOfB)")
            #expect(qGradient == (subtracts ? [6, 6, 6] : [10, 14, 18]), "\(shapeOfB)")
        }
    }

    @Test("the same, with the roles exchanged", arguments: TestBackend.available)
    func sumDoesNotShareSecond(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (p, pLeaf) = try Tensor.variable([1, 2], [2], on: device)
        let (q, qLeaf) = try Tensor.variable([3, 4], [2], on: device)
        let a = try p.scaled(1)
        let b = try q.scaled(1)
        let early = try b.squared()
        try ((a + b).squared().sum() + early.sum()).backward()
        #expect(try pLeaf.gradientValues() == [8, 12])
        #expect(try qLeaf.gradientValues() == [14, 20])
    }

    @Test("a broadcast operand's gradient is summed over what was repeated", arguments: TestBackend.available)
    func broadcasting(_ backend: TestBackend) throws {
        let device = try backend.device()
        let matrix: [Float] = [1, 2, 3, 4, 5, 6]
        for (shape, expected) in [
            ([3], [5, 7, 9]), ([1, 3], [5, 7, 9]), ([2, 1], [6, 15]), ([1, 1], [21]), ([], [21]),
            ([2, 3], [1, 2, 3, 4, 5, 6]),
        ] as [(Dimensions, [Float])] {
            let count = shape.product
            let (small, leaf) = try Tensor.variable([Float](repeating: 2, count: count), shape, on: device)
            let constant = try Tensor(matrix, [2, 3], on: device)
            try (constant * small).sum().backward()
            #expect(try leaf.gradientValues() == expected, "multiply \(shape)")

            leaf.clearGradient()
            try (constant - small).squared().sum().backward()
            let columns = [Float](matrix.map { -2 * ($0 - 2) })
            let sums: [Float] =
                switch shape {
                case [3], [1, 3]: (0..<3).map { columns[$0] + columns[$0 + 3] }
                case [2, 1]: [columns[0..<3].reduce(0, +), columns[3..<6].reduce(0, +)]
                case [2, 3]: columns
                default: [columns.reduce(0, +)]
                }
            #expect(try leaf.gradientValues() == sums, "subtract \(shape)")
        }
    }

    /// The number that stands for a whole gradient takes another way than a view; both must arrive at the same place.
    @Test("a constant gradient equals the view full of it", arguments: TestBackend.available)
    func constantUpstream(_ backend: TestBackend) throws {
        let device = try backend.device()
        func gradient(_ seed: (Tensor) throws -> Tensor, _ body: (Tensor) throws -> Tensor) throws -> [Float] {
            let (x, leaf) = try Tensor.variable([1, 2, 3, 4], [2, 2], on: device)
            try seed(body(x)).backward()
            return try leaf.gradientValues()
        }
        let ones = try Tensor([1, 1, 1, 1], [2, 2], on: device)
        let asConstant: (Tensor) throws -> Tensor = { try $0.sum() }
        let asView: (Tensor) throws -> Tensor = { try ($0.reshaped([2, 2]) * ones).sum() }
        for body: (Tensor) throws -> Tensor in [
            { $0 }, { try $0.scaled(3) }, { try $0.reshaped([4]) }, { $0.transposed(0, 1) }, { try -$0 },
            { try $0 + $0.scaled(2) },
            { try $0.scaled(2) - $0 }, { try $0.softmax() }, { try $0 * $0 },
        ] {
            #expect(try gradient(asConstant, body) == gradient(asView, body))
        }
        // The mean of everything, whose constant is 1/4.
        let (x, leaf) = try Tensor.variable([1, 2, 3, 4], [2, 2], on: device)
        try x.scaled(2).mean().backward()
        #expect(try leaf.gradientValues() == [0.5, 0.5, 0.5, 0.5])
    }

    @Test("a parameter used in two layers collects both", arguments: TestBackend.available)
    func tiedParameter(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (w, leaf) = try Tensor.variable([1, 2, 3, 4], [2, 2], on: device)
        let x = try Tensor([1, 1], [1, 2], on: device)
        // y = x·Wᵀ·Wᵀ = [3, 7]·Wᵀ; d/dW Σy = gᵀx + …: computed by hand below.
        let hidden = try x.linear(w)
        #expect(try hidden.values() == [3, 7])
        let y = try hidden.linear(w)
        #expect(try y.values() == [17, 37])
        try y.sum().backward()
        // Outer: onesᵀ·[3, 7]; inner: (ones·W)ᵀ·[1, 1] = [4, 6]ᵀ·[1, 1].
        let expected: [Float] = [7, 11, 9, 13]
        #expect(try leaf.gradientValues() == expected)
    }

    @Test("a second backward adds, after clearing it replaces", arguments: TestBackend.available)
    func accumulates(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (x, leaf) = try Tensor.variable([1, 2], [2], on: device)
        #expect(try leaf.gradientValues() == [0, 0])
        try x.squared().sum().backward()
        try x.scaled(10).sum().backward()
        #expect(try leaf.gradientValues() == [12, 14])
        leaf.clearGradient()
        #expect(try leaf.gradientValues() == [0, 0])
        try x.sum().backward()
        #expect(try leaf.gradientValues() == [1, 1])
    }

    @Test("a tape that was used up is refused, not silently empty", arguments: TestBackend.available)
    func usedUp(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (x, leaf) = try Tensor.variable([1, 2], [2], on: device)
        let hidden = try x.squared()
        let loss = try hidden.sum()
        let other = try hidden.scaled(2).sum()
        try loss.backward()
        let twice = thrown(TensorError.self) { try loss.backward() }
        #expect(twice?.description.contains("used up") == true, "\(twice?.description ?? "")")
        let shared = thrown(TensorError.self) { try other.backward() }
        #expect(shared?.description.contains("used up") == true, "\(shared?.description ?? "")")
        #expect(try leaf.gradientValues() == [2, 4])
    }

    @Test("backward of a parameter itself, of a vector, of a constant", arguments: TestBackend.available)
    func oddStarts(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (x, leaf) = try Tensor.variable([7], [1], on: device)
        try x.backward()
        #expect(try leaf.gradientValues() == [1])
        let (v, _) = try Tensor.variable([1, 2], [2], on: device)
        #expect(thrown(TensorError.self) { try v.backward() }?.description.contains("[2]") == true)
        let constant = try Tensor([1], [1], on: device)
        #expect(thrown(TensorError.self) { try constant.backward() } != nil)
    }

    @Test("without gradients nothing is recorded, nested too", arguments: TestBackend.available)
    func withoutGradients(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (x, leaf) = try Tensor.variable([3], [1], on: device)
        try Autograd.withoutGradients {
            let y = try x.squared()
            #expect(!y.needsGradient)
            Autograd.withoutGradients { #expect(!Autograd.isRecording) }
            #expect(!Autograd.isRecording)
        }
        #expect(Autograd.isRecording)
        #expect(throws: CancellationError.self) { try Autograd.withoutGradients { throw CancellationError() } }
        #expect(Autograd.isRecording)

        // A part computed without the tape is a constant of the part with it: Σ c·x with c = x² = 9.
        let constant = try Autograd.withoutGradients { try x.squared() }
        try (constant * x).sum().backward()
        #expect(try leaf.gradientValues() == [9])
        #expect(x.detached.needsGradient == false)
    }

    @Test("a frozen parameter leaves no tape", arguments: TestBackend.available)
    func frozen(_ backend: TestBackend) throws {
        let device = try backend.device()
        let layer = Linear("layer", inputs: 2, outputs: 2)
        _ = try layer.materialize(on: device, seed: 1)
        let x = try Tensor([1, 2], [1, 2], on: device)
        #expect(try layer(x).needsGradient)
        layer.freeze()
        #expect(try layer(x).needsGradient == false)
        // A frozen layer still hands gradients through to what comes before it.
        let (input, leaf) = try Tensor.variable([1, 2], [1, 2], on: device)
        try layer(input).sum().backward()
        let w = try layer.weight.values()
        expectClose(try leaf.gradientValues(), [Double(w[0] + w[2]), Double(w[1] + w[3])], absolute: 1e-6)
        #expect(try layer.weight.gradientValues() == [0, 0, 0, 0])
    }

    @Test("memory returns to what it was once a step is over", arguments: TestBackend.available)
    func memory(_ backend: TestBackend) throws {
        let device = try backend.ownDevice()
        let compute = device.compute
        let before = compute.memory.live
        try autoreleased {
            let layers = [
                Linear("a", inputs: 5, outputs: 7, activation: .geluTanh), Linear("b", inputs: 7, outputs: 3),
            ]
            let arena = try ParameterArena(layers.flatMap(\.parameters), on: compute, seed: 1)
            let optimizer = try Adam(arena)
            let labels = try compute.view([Int32(0), 2, 1, 1], [4], .i32)
            let x = try Tensor((0..<20).map { Float($0) / 20 }, [4, 5], on: device)
            let start = compute.memory
            for step in 0..<3 {
                try {
                    let logits = try layers[1](layers[0](x))
                    let loss = try logits.crossEntropy(labels, scale: 0.25)
                    #expect(compute.memory.live > start.live)
                    try loss.total.backward()
                    try optimizer.step(learningRate: 0.01)
                }()
                #expect(compute.memory.live == start.live, "after step \(step)")
                #expect(compute.memory.byPurpose[.activations, default: 0] == 0, "after step \(step)")
            }
            // A tape that is never run backward goes with its tensors.
            try { _ = try layers[1](layers[0](x)).crossEntropy(labels, scale: 1) }()
            #expect(compute.memory.live == start.live)
            #expect(compute.memory.peak > start.live)
        }
        #expect(compute.memory.live == before, "\(compute.memory.byPurpose)")
    }

    /// Backward frees a node's operands as it passes, while the loss is still held.
    @Test("backward frees what it has used", arguments: TestBackend.fast)
    func freesOnTheWay(_ backend: TestBackend) throws {
        let device = try backend.ownDevice()
        let (x, _) = try Tensor.variable([Float](repeating: 1, count: 1000), [1000], on: device)
        let before = device.compute.memory.live
        var loss = try x.exp()
        for _ in 0..<9 { loss = try loss.exp().scaled(0.1) }
        loss = try loss.sum()
        #expect(device.compute.memory.live >= before + 10 * 4000)
        try loss.backward()
        #expect(device.compute.memory.live <= before + 2 * Arena.alignment, "only the loss itself stays")
    }

    private func autoreleased(_ body: () throws -> Void) rethrows { try body() }
}
