extension OpenCLDevice {
    /// How many ranges a CPU device's work is cut into: enough to balance, few enough that starting one is nothing.
    private var ranges: Int { info.computeUnits * 4 }

    /// How rows are cut for `vector`: items of at least `grain` elements and, as long as every unit has one, of at least `fewest` rows.
    func rowRanges(_ rows: Int, columns: Int, grain: Int = 2048, fewest: Int = 1) -> (items: Int, perItem: Int) {
        let least = max(1, grain / max(1, columns), min(fewest, (rows + info.computeUnits - 1) / info.computeUnits))
        let perItem = max(least, (rows + ranges - 1) / ranges)
        return ((rows + perItem - 1) / perItem, perItem)
    }

    /// How columns are cut for `vector`: into ranges of whole vectors.
    /// - Parameter rows: numbers of a column.
    func columnRanges(_ columns: Int, rows: Int, grain: Int = 16384) -> (items: Int, perItem: Int) {
        let perItem = max(grain / max(1, rows), (columns + ranges - 1) / ranges).roundedUp(to: 16)
        return ((columns + perItem - 1) / perItem, perItem)
    }

    /// Memory that is free again once the op is enqueued: the queue is in order.
    func workspace(_ count: Int, _ dtype: DType = .f32) throws -> View {
        View(storage: .openCL(try arena.allocate(count * dtype.size, for: .workspace)), shape: [count], dtype: dtype)
    }

    /// Launches an elementwise kernel: `vector` gets ranges of at least `grain` elements, `simt` a grid-stride loop of groups of 256.
    /// The kernel's first two arguments, count and count per item, are put in front of `arguments`.
    func launchElements(
        _ file: String, _ kernel: String, options: String = "", count: Int, grain: Int = 4096,
        _ arguments: [KernelArgument]
    ) throws {
        guard count > 0 else { return }
        switch family {
        case .vector:
            let perItem = max(grain, (count + ranges - 1) / ranges).roundedUp(to: 16)
            try enqueue(
                Launch(
                    file, kernel, options: options, range: (count, perItem), arguments,
                    global: ((count + perItem - 1) / perItem, 1, 1), local: (1, 1, 1)))
        case .simt, .nvptx:
            let groups = min((count + 255) / 256, 4096)
            try enqueue(
                Launch(
                    file, kernel, options: options, range: (count, 0), arguments, global: (groups * 256, 1, 1),
                    local: (256, 1, 1)))
        }
    }

    /// Launches a kernel over rows, blocks or tiles: `vector` gets ranges of them, each with at least `grain` elements of work;
    /// `simt` one group of 256 for each.
    func launchRows(
        _ file: String, _ kernel: String, options: String = "", rows: Int, columns: Int, grain: Int = 2048,
        fewest: Int = 1, _ arguments: [KernelArgument]
    ) throws {
        guard rows > 0 else { return }
        switch family {
        case .vector:
            let (items, perItem) = rowRanges(rows, columns: columns, grain: grain, fewest: fewest)
            try enqueue(
                Launch(
                    file, kernel, options: options, range: (rows, perItem), arguments, global: (items, 1, 1),
                    local: (1, 1, 1)))
        case .simt, .nvptx:
            try enqueue(
                Launch(
                    file, kernel, options: options, range: (rows, 1), arguments, global: (rows * 256, 1, 1),
                    local: (256, 1, 1)))
        }
    }

    /// Launches a kernel over columns in ranges of whole vectors, for `vector`.
    /// - Parameter rows: numbers of a column.
    func launchColumns(
        _ file: String, _ kernel: String, options: String = "", columns: Int, rows: Int, _ arguments: [KernelArgument]
    ) throws {
        guard columns > 0 else { return }
        let (items, perItem) = columnRanges(columns, rows: rows)
        try enqueue(
            Launch(
                file, kernel, options: options, range: (columns, perItem), arguments, global: (items, 1, 1),
                local: (1, 1, 1)))
    }

    /// Launches a kernel whose items are a family's own: `vector` gets ranges of `items` (planes, strips of columns) that share `work`
    /// elements, `simt` one work-item for each of the `results` in a grid-stride loop.
    func launchItems(
        _ file: String, _ kernel: String, items: Int, results: Int, work: Int, _ arguments: [KernelArgument]
    ) throws {
        switch family {
        case .vector: try launchRows(file, kernel, rows: items, columns: max(1, work / max(1, items)), arguments)
        case .simt, .nvptx: try launchElements(file, kernel, count: results, arguments)
        }
    }

    /// Launches a kernel over rows that are shared by teams of work-items (`simt`; kernels/math.clh): a team has one work-item for
    /// each four columns or fewer, up to a group of 256, and the kernel gets its size where `vector` gets rows per item.
    func launchTeams(
        _ file: String, _ kernel: String, rows: Int, columns: Int, fewest: Int = 1, _ arguments: [KernelArgument]
    ) throws {
        guard family != .vector, rows > 0 else {
            return try launchRows(file, kernel, rows: rows, columns: columns, fewest: fewest, arguments)
        }
        var team = 4
        while team < 256, team * 4 < columns { team *= 2 }
        let turns = (rows * team + 255) / 256
        // Wide rows: few at a time, so that a row is still in the second-level cache when it is read again.
        let groups = columns >= Self.wideRow ? min(turns, info.computeUnits * Self.groupsPerUnit) : turns
        try enqueue(
            Launch(file, kernel, range: (rows, team), arguments, global: (groups * 256, 1, 1), local: (256, 1, 1)))
    }

    /// Columns from which a row fills a group's loads many times over.
    private static let wideRow = 8192
    private static let groupsPerUnit = 2

    /// Launches a kernel that is one item (`vector`) or one group of 256 (`simt`).
    func launchOne(_ file: String, _ kernel: String, _ arguments: [KernelArgument]) throws {
        let items = family == .vector ? 1 : 256
        try enqueue(Launch(file, kernel, arguments, global: (items, 1, 1), local: (items, 1, 1)))
    }
}

extension Int {
    func roundedUp(to multiple: Int) -> Int { (self + multiple - 1) / multiple * multiple }
}
