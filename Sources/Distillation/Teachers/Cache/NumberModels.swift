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

/// A whole number from 0 to 2³⁰: its size by a model, its two highest bits below the first by another, the rest as they are.
struct NumberModel {
    private var sizes = SymbolModel(bits: 5)
    private var heads = [SymbolModel](repeating: SymbolModel(bits: 2), count: 32)

    mutating func encode(_ number: Int, _ coder: inout RangeEncoder) {
        let value = number + 1
        let size = Int.bitWidth - 1 - value.leadingZeroBitCount
        sizes.encode(size, &coder)
        guard size >= 2 else { return coder.encode(value, bits: size) }
        heads[size].encode(value >> (size - 2) & 3, &coder)
        coder.encode(value, bits: size - 2)
    }

    mutating func decode(_ coder: inout RangeDecoder) -> Int {
        let size = sizes.decode(&coder)
        guard size >= 2 else { return 1 << size - 1 + coder.decode(bits: size) }
        let head = heads[size].decode(&coder)
        return (4 | head) << (size - 2) - 1 + coder.decode(bits: size - 2)
    }
}

/// Numbers on both sides of 0.
struct SignedNumberModel {
    private var model = NumberModel()

    mutating func encode(_ number: Int, _ coder: inout RangeEncoder) {
        model.encode(number < 0 ? -2 * number - 1 : 2 * number, &coder)
    }

    mutating func decode(_ coder: inout RangeDecoder) -> Int {
        let folded = model.decode(&coder)
        return folded & 1 == 0 ? folded / 2 : -(folded + 1) / 2
    }
}
