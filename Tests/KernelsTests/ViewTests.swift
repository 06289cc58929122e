import Testing

@testable import RetortKernels

@Suite("Views")
struct ViewTests {
    private func view(_ shape: Dimensions, strides: Dimensions? = nil, offset: Int = 0) throws -> View {
        let plan = ComputeDevice.planned(PlannedDevice())
        return View(storage: try plan.allocate(10_000, for: .data), offset: offset, shape: shape, strides: strides)
    }

    @Test("row-major strides; a scalar has one element, an empty view none")
    func strides() throws {
        #expect(try view([2, 3, 4]).strides == [12, 4, 1])
        #expect(try view([]).count == 1)
        #expect(try view([3, 0, 2]).count == 0)
        #expect(try view([5, 1, 7]).isContiguous)
        #expect(
            try view([5, 1, 7], strides: [7, 99, 1]).isContiguous, "the stride of a single element does not matter")
        #expect(try !view([5, 7], strides: [8, 1]).isContiguous)
        #expect(try !view([5, 7]).transposed.isContiguous)
    }

    @Test("rows: what has one pitch is a matrix")
    func rows() throws {
        func rows(_ shape: Dimensions, _ strides: Dimensions? = nil) throws -> [Int]? {
            try view(shape, strides: strides).rows.map { [$0.rows, $0.columns, $0.pitch] }
        }
        #expect(try rows([5, 7]) == [5, 7, 7])
        #expect(try rows([5, 7], [9, 1]) == [5, 7, 9])
        #expect(try rows([2, 5, 7], [45, 9, 1]) == [10, 7, 9])
        #expect(try rows([2, 5, 7], [50, 9, 1]) == nil, "a gap between the outer rows")
        #expect(try rows([2, 1, 7], [20, 3, 1]) == [2, 7, 20], "a dimension of one row has no say")
        #expect(try rows([7]) == [1, 7, 7])
        #expect(try rows([]) == [1, 1, 1])
        #expect(try rows([5, 7], [1, 5]) == nil, "columns are not contiguous")
        #expect(try rows([5, 1], [3, 17]) == [5, 1, 3], "a single column may have any stride")
        #expect(try rows([0, 7]) == [0, 7, 7])
        #expect(try view([5, 7]).rows!.isDense)
        #expect(try !view([5, 7], strides: [9, 1]).rows!.isDense)
        #expect(try view([1, 7], strides: [9, 1]).rows!.isDense)
    }

    @Test("broadcasting repeats with stride 0")
    func broadcast() throws {
        let row = try view([7])
        #expect(row.broadcast(to: [5, 7])?.strides == [0, 1])
        #expect(try view([5, 1]).broadcast(to: [5, 7])?.strides == [1, 0])
        #expect(try view([5, 1]).broadcast(to: [2, 5, 7])?.strides == [0, 1, 0])
        #expect(try view([]).broadcast(to: [2, 3])?.strides == [0, 0])
        #expect(row.broadcast(to: [5, 8]) == nil)
        #expect(try view([5, 7]).broadcast(to: [7]) == nil)
        #expect(try view([3, 1]).broadcast(to: [0, 7]) == nil)
    }

    @Test("narrowing moves the offset, permuting reorders shape and strides")
    func narrowedAndPermuted() throws {
        let x = try view([2, 5, 7], offset: 3)
        let part = x.narrowed(1, 2..<4)
        #expect(part.shape == [2, 2, 7] && part.strides == [35, 7, 1] && part.offset == 17)
        #expect(x.narrowed(2, 7..<7).count == 0)
        let order = x.permuted([2, 0, 1])
        #expect(order.shape == [7, 2, 5] && order.strides == [1, 35, 7] && order.offset == 3)
    }

    @Test("transposition exchanges strides, slicing moves the offset")
    func transposedAndSliced() throws {
        let x = try view([2, 5, 7], offset: 3)
        #expect(x.transposed.shape == [2, 7, 5] && x.transposed.strides == [35, 1, 7] && x.transposed.offset == 3)
        #expect(x.transposed(0, 2).strides == [1, 7, 35])
        let slice = x.slice(1..<2)
        #expect(slice.shape == [1, 5, 7] && slice.offset == 38 && slice.strides == x.strides)
        #expect(x.slice(1..<1).count == 0)
        #expect(x.reshaped([10, 7]).strides == [7, 1])
    }

    @Test("a matrix layout has a leading dimension, by rows or by columns")
    func matrixLayout() throws {
        func layout(_ shape: Dimensions, _ strides: Dimensions) throws -> (Bool, Int)? {
            MatrixLayout(try view(shape, strides: strides)).map { ($0.transposed, $0.leading) }
        }
        #expect(try layout([5, 7], [7, 1])! == (false, 7))
        #expect(try layout([5, 7], [9, 1])! == (false, 9))
        #expect(try layout([5, 7], [1, 5])! == (true, 5))
        #expect(try layout([5, 7], [1, 8])! == (true, 8))
        #expect(try layout([5, 7], [2, 10]) == nil)
        #expect(try layout([5, 7], [3, 1]) == nil, "rows would overlap")
        #expect(try layout([1, 7], [99, 1])! == (false, 7), "a single row has no pitch")
        #expect(try layout([5, 1], [3, 1])! == (false, 3))
        #expect(try layout([5, 1], [1, 1])! == (false, 1))
    }

    @Test("dimensions merge where every operand steps evenly")
    func merging() {
        func merged(_ shape: Dimensions, _ strides: [Dimensions]) -> [Dimensions] {
            let result = mergeDimensions(shape, strides)
            return [result.sizes] + result.strides
        }
        #expect(merged([2, 3, 4], [[12, 4, 1], [12, 4, 1]]) == [[24], [1], [1]])
        #expect(merged([2, 3, 4], [[12, 4, 1], [0, 4, 1]]) == [[2, 12], [12, 1], [0, 1]])
        #expect(merged([2, 1, 4], [[4, 4, 1], [1, 0, 2]]) == [[2, 4], [4, 1], [1, 2]])
        #expect(merged([2, 3], [[1, 2]]) == [[2, 3], [1, 2]])
        #expect(merged([1, 1], [[1, 1]]) == [[], []])
        #expect(merged([4, 5], [[0, 0], [5, 1]]) == [[20], [0], [1]])
    }

    @Test("broadcast operands come down to four dimensions, or say that they do not")
    func broadcastPlan() throws {
        let op = Binary(.add)
        let plan = try Broadcast([try view([7, 1, 3]), try view([4, 1])], to: [7, 4, 3], op)
        #expect(plan.count == 84 && plan.sizes == [7, 4, 3])
        #expect(plan.paddedSizes == [1, 7, 4, 3])
        #expect(plan.padded(0) == [0, 3, 0, 1] && plan.padded(1) == [0, 0, 1, 0])
        let a = try view([2, 1, 2, 1, 2])
        let b = try view([1, 2, 1, 2, 1])
        #expect(throws: KernelError.self) { _ = try Broadcast([a, b], to: [2, 2, 2, 2, 2], op) }
        #expect(throws: KernelError.self) { _ = try Broadcast([a], to: [3, 1, 2, 1, 2], op) }
    }
}

@Suite("Plans of products")
struct MatmulPlanTests {
    private func problem(_ m: Int, _ n: Int, _ k: Int, batch: Int = 1) -> MatmulPlan.Problem {
        MatmulPlan.Problem(m: m, n: n, k: k, batch: batch, transposeB: false, accumulate: false, needsSumAlone: false)
    }

    @Test("every shape has a plan that covers it", arguments: [1, 7, 33, 128, 1000], [1, 2, 16, 64])
    func covers(size: Int, units: Int) {
        for (m, n, k) in [(size, size, size), (1, size, 5000), (size, 1, 1), (16, 16, 4096 + size), (size, 3, 0)] {
            let vector = MatmulPlan.vector(problem(m, n, k), units: units)
            #expect(vector.tileM > 0 && vector.tileN > 0 && vector.blockK > 0 && vector.workers > 0, "\(m)x\(n)x\(k)")
            #expect(vector.tileM % 4 == 0 && vector.tileN % 16 == 0)
            #expect(vector.workspace >= vector.workers * vector.slot + (vector.partials ? m * n * vector.splits : 0))
            let simt = MatmulPlan.simt(problem(m, n, k), units: units)
            #expect(simt.workers > 0 && simt.splits >= 1 && simt.splits <= 64)
            #expect(simt.skinny == (m <= 8))
            #expect(!simt.partials || simt.workspace >= m * n * simt.splits)
        }
    }

    @Test("few results over a long sum are split, many are not")
    func splits() {
        #expect(MatmulPlan.vector(problem(4, 16, 65_536), units: 8).splits > 1)
        #expect(MatmulPlan.vector(problem(2048, 2048, 256), units: 8).splits == 1)
        #expect(MatmulPlan.simt(problem(16, 16, 4096), units: 64).splits > 1)
        #expect(MatmulPlan.simt(problem(4096, 4096, 4096), units: 64).splits == 1)
        #expect(MatmulPlan.simt(problem(4096, 4096, 64), units: 64).small == false)
        #expect(MatmulPlan.simt(problem(100, 100, 64), units: 64).small)
        // 256 large tiles are done sooner than 1024 small ones, 64 of them no sooner than 256.
        #expect(MatmulPlan.simt(problem(2048, 2048, 2048), units: 132).small == false)
        #expect(MatmulPlan.simt(problem(1024, 1024, 1024), units: 132).small)
        // Where products take a fraction of the time, adding up their parts is not worth it.
        #expect(MatmulPlan.simt(problem(128, 1024, 1024), units: 132).splits > 1)
        #expect(MatmulPlan.simt(problem(128, 1024, 1024), units: 132, by: .matrixUnits).splits == 1)
    }

    @Test("a plan is a function of shape and device alone")
    func pure() {
        #expect(
            MatmulPlan.vector(problem(301, 257, 513), units: 2) == MatmulPlan.vector(problem(301, 257, 513), units: 2))
    }
}

@Suite("Batches of products")
struct MatmulBatchTests {
    private func operands(_ a: Dimensions, _ b: Dimensions, _ c: Dimensions, padding: Int = 0) throws -> Matmul.Operands
    {
        let plan = ComputeDevice.planned(PlannedDevice())
        var strides = View.contiguousStrides(c)
        if padding > 0 { strides[0] += padding }
        let view = View(storage: try plan.allocate(100_000, for: .data), shape: c, strides: strides)
        return Matmul.Operands(a: try plan.empty(a), b: try plan.empty(b), c: .write(view))
    }

    @Test("even batches are one run, broadcast ones too where their strides allow")
    func runs() throws {
        #expect(MatmulBatch.runs(try operands([2, 3], [3, 4], [2, 4])).map(\.count) == [1])
        #expect(MatmulBatch.runs(try operands([6, 5, 2, 3], [6, 5, 3, 4], [6, 5, 2, 4])).map(\.count) == [30])
        let shared = MatmulBatch.runs(try operands([6, 2, 3], [3, 4], [6, 2, 4]))
        #expect(shared.count == 1 && shared[0].count == 6 && shared[0].strides == (6, 0, 8))
        let mixed = MatmulBatch.runs(try operands([1, 5, 2, 3], [6, 1, 3, 4], [6, 5, 2, 4]))
        #expect(mixed.map(\.count) == [5, 5, 5, 5, 5, 5])
        #expect(mixed[2].offsets == (0, 24, 80))
        #expect(MatmulBatch.runs(try operands([0, 2, 3], [0, 3, 4], [0, 2, 4])).allSatisfy { $0.count == 0 })
        #expect(
            MatmulBatch.runs(try operands([6, 5, 2, 3], [6, 5, 3, 4], [6, 5, 2, 4], padding: 8)).map(\.count) == [
                5, 5, 5, 5, 5, 5,
            ])
    }
}
