import Foundation

/// The models of rows.
struct RowModels: Sendable {
    let scale: DepthScale
    let classes: Int
    var sameCount = AdaptiveBit()
    var counts = NumberModel()
    /// Of the distance to the next kept class, by the size of the class before.
    var gaps = [NumberModel](repeating: NumberModel(), count: 32)
    var deepest: SymbolModel
    /// Of the distance to the deepest.
    var heights: SymbolModel
    var rest: [SignedNumberModel]
    /// Of the row before.
    var count = 0

    init(_ scale: DepthScale, classes: Int, _ format: CacheFormat) {
        self.scale = scale
        self.classes = classes
        deepest = SymbolModel(bits: scale.bits)
        heights = SymbolModel(bits: scale.bits)
        let (most, least) = format.restBits
        rest = [SignedNumberModel](repeating: SignedNumberModel(most: most, from: least), count: 4)
    }

    private static func context(_ before: Int) -> Int { Int.bitWidth - (before + 1).leadingZeroBitCount }

    mutating func encode(_ row: KeptRow, _ coder: inout RangeEncoder) {
        coder.encode(row.ids.count == count ? 0 : 1, &sameCount)
        if row.ids.count != count { counts.encode(row.ids.count, &coder) }
        count = row.ids.count
        var before = -1
        for id in row.ids {
            gaps[Self.context(before)].encode(Int(id) - before - 1, &coder)
            before = Int(id)
        }
        let symbols = scale.symbols(row.depths)
        let most = symbols.max() ?? 0
        deepest.encode(most, &coder)
        for symbol in symbols { heights.encode(most - symbol, &coder) }
        guard let mass = row.rest else { return }
        var known = RestNumbers(step: scale.step, classes: classes, others: classes - count)
        for index in 0..<4 { rest[index].encode(known.number(mass), &coder) }
    }

    /// nil for what no encoder wrote: more classes than there are, a class beyond them.
    /// - Parameter limit: classes that a row may keep.
    mutating func decode(_ coder: inout RangeDecoder, limit: Int) -> KeptRow? {
        if coder.decode(&sameCount) == 1 { count = counts.decode(&coder) }
        guard (1...min(limit, classes)).contains(count) else { return nil }
        var ids: [Int32] = []
        ids.reserveCapacity(count)
        var before = -1
        for _ in 0..<count {
            before += gaps[Self.context(before)].decode(&coder) + 1
            guard before < classes else { return nil }
            ids.append(Int32(before))
        }
        let most = deepest.decode(&coder)
        var depths: [Double] = []
        depths.reserveCapacity(count)
        for _ in 0..<count {
            let symbol = most - heights.decode(&coder)
            guard symbol >= 0 else { return nil }
            depths.append(scale.depth(symbol))
        }
        guard count < classes else { return KeptRow(ids: ids, depths: depths, rest: nil) }
        var known = RestNumbers(step: scale.step, classes: classes, others: classes - count)
        for index in 0..<4 { known.add(rest[index].decode(&coder)) }
        return KeptRow(ids: ids, depths: depths, rest: known.mass)
    }
}

/// The rest's four logarithms as small numbers: each as steps from where the ones before let expect it. T = 1 comes first, then 2 and 4, which
/// lie below the chord from T = ∞ (the function is convex), then ½, above the line through 2 and 1.
private struct RestNumbers {
    let step: Double
    let classes: Int
    let others: Int
    /// At T = 1, 2, 4, ½, as they will be read.
    private var found: [Double] = []

    init(step: Double, classes: Int, others: Int) {
        self.step = step
        self.classes = classes
        self.others = others
    }

    private var expected: Double {
        let many = log(Double(others))
        switch found.count {
        case 0: return log(Double(classes)) - 8
        case 1: return (many + found[0]) / 2
        case 2: return (many + found[1]) / 2
        default: return 3 * found[0] - 2 * found[1]
        }
    }

    /// The number that says the next one.
    mutating func number(_ mass: RestMass) -> Int {
        let place = [1, 2, 3, 0][found.count]
        // Below e⁻⁸⁰ of the likeliest class nothing can be told from nothing.
        let wanted = max(mass.logSums[place], -80)
        let number = Int(((wanted - expected) / step).rounded())
        add(number)
        return number
    }

    mutating func add(_ number: Int) { found.append(expected + Double(number) * step) }

    var mass: RestMass { RestMass(logSums: [found[3], found[0], found[1], found[2]], classes: others) }
}
