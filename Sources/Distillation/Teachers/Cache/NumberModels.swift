/// A symbol of a few bits, each bit's model chosen by those above it.
struct SymbolModel {
    private let bits: Int
    private var nodes: [AdaptiveBit]

    init(bits: Int) {
        self.bits = bits
        nodes = [AdaptiveBit](repeating: AdaptiveBit(), count: 1 << bits)
    }

    mutating func encode(_ symbol: Int, _ coder: inout RangeEncoder) {
        var node = 1
        for place in stride(from: bits - 1, through: 0, by: -1) {
            let bit = symbol >> place & 1
            coder.encode(bit, &nodes[node])
            node = node << 1 | bit
        }
    }

    mutating func decode(_ coder: inout RangeDecoder) -> Int {
        var node = 1
        for _ in 0..<bits { node = node << 1 | coder.decode(&nodes[node]) }
        return node - 1 << bits
    }
}

/// A whole number from 0 to 2³⁰: its size by a model, the highest bits below the first by another, the others as they are.
struct NumberModel {
    private var sizes = SymbolModel(bits: 5)
    private var heads: [SymbolModel]
    /// Bits that have a model, by size.
    private let modelled: [Int]

    /// - Parameters:
    ///   - most: bits below the first that have a model.
    ///   - least: the smallest size of which any have.
    init(most: Int = 2, from least: Int = 2) {
        modelled = (0..<32).map { $0 < least ? 0 : min($0, most) }
        heads = modelled.map { SymbolModel(bits: $0) }
    }

    mutating func encode(_ number: Int, _ coder: inout RangeEncoder) {
        let value = number + 1
        let size = Int.bitWidth - 1 - value.leadingZeroBitCount
        sizes.encode(size, &coder)
        let (bits, others) = (modelled[size], size - modelled[size])
        if bits > 0 { heads[size].encode(value >> others & (1 << bits - 1), &coder) }
        coder.encode(value, bits: others)
    }

    mutating func decode(_ coder: inout RangeDecoder) -> Int {
        let size = sizes.decode(&coder)
        let (bits, others) = (modelled[size], size - modelled[size])
        let head = bits > 0 ? heads[size].decode(&coder) : 0
        let low = coder.decode(bits: others)
        return (1 << bits | head) << others + low - 1
    }
}

/// Numbers on both sides of 0.
struct SignedNumberModel {
    private var model: NumberModel

    /// - Parameters:
    ///   - most: as `NumberModel`.
    ///   - least: as `NumberModel`.
    init(most: Int, from least: Int) { model = NumberModel(most: most, from: least) }

    mutating func encode(_ number: Int, _ coder: inout RangeEncoder) {
        model.encode(number < 0 ? -2 * number - 1 : 2 * number, &coder)
    }

    mutating func decode(_ coder: inout RangeDecoder) -> Int {
        let folded = model.decode(&coder)
        return folded & 1 == 0 ? folded / 2 : -(folded + 1) / 2
    }
}
