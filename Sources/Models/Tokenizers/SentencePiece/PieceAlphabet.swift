extension BytePairModel {
    /// What SentencePiece spells a text with before merging: user-defined pieces, which no merge touches, and characters.
    struct PieceAlphabet: Sendable {
        let unknown: Int32
        /// Characters that are no piece but can become part of one have ids from here on; none is left in a result.
        let firstVirtual: Int32
        let userDefined: ByteTrie
        /// The ids of `<0x00>` to `<0xFF>`; empty without byte fallback.
        let byteFallback: [Int32]
        /// Pieces that are taken apart again after merging.
        let isUnused: [Bool]
        private var ascii = [Int32](repeating: -1, count: 128)
        private var others: [Unicode.Scalar: Int32] = [:]
        private(set) var virtual: [Unicode.Scalar] = []
        /// Whether a result may have ids that are to be replaced.
        var needsResolving: Bool { !virtual.isEmpty || hasUnused }
        private let hasUnused: Bool

        init(unknown: Int32, firstVirtual: Int32, userDefined: ByteTrie, byteFallback: [Int32], isUnused: [Bool]) {
            self.unknown = unknown
            self.firstVirtual = firstVirtual
            self.userDefined = userDefined
            self.byteFallback = byteFallback
            self.isUnused = isUnused
            hasUnused = isUnused.contains(true)
        }

        mutating func add(_ scalar: Unicode.Scalar, id: Int32) {
            if scalar.value < 0x80 { ascii[Int(scalar.value)] = id } else { others[scalar] = id }
        }

        @inline(__always)
        func known(_ scalar: Unicode.Scalar) -> Int32? {
            guard scalar.value < 0x80 else { return others[scalar] }
            let id = ascii[Int(scalar.value)]
            return id < 0 ? nil : id
        }

        /// The id of a character, a new one if it has none.
        mutating func id(of scalar: Unicode.Scalar) -> Int32 {
            if let id = known(scalar) { return id }
            let id = firstVirtual + Int32(virtual.count)
            virtual.append(scalar)
            add(scalar, id: id)
            return id
        }

        /// The ids of a text's user-defined pieces and characters.
        func spell(_ word: Bytes, into symbols: inout [Int32]) {
            var position = 0
            while position < word.count {
                if userDefined.begins(word[position]), let match = userDefined.longestMatch(in: word, from: position) {
                    symbols.append(match.value)
                    position = match.end
                    continue
                }
                let (scalar, length) = word.scalar(at: position)
                if let id = known(scalar) {
                    symbols.append(id)
                } else {
                    appendUnknown(word[position..<position + length], to: &symbols)
                }
                position += length
            }
        }

        /// A character that is no piece: its bytes, or one unknown token for a run of them.
        func appendUnknown(_ bytes: some Sequence<UInt8>, to symbols: inout [Int32]) {
            if !byteFallback.isEmpty {
                for byte in bytes { symbols.append(byteFallback[Int(byte)]) }
            } else if symbols.last != unknown {
                symbols.append(unknown)
            }
        }

        /// Whether a symbol is none that a text may end up with.
        func isUnfinished(_ symbol: Int32) -> Bool { symbol >= firstVirtual || symbol >= 0 && isUnused[Int(symbol)] }

        /// Merged symbols as a text may end up with them.
        /// - Parameter parts: of each unused piece the two that last could have become it, as the reference implementation has it.
        func resolve(
            _ symbols: [Int32], _ parts: [Int32: (left: Int32, right: Int32)], _ vocabulary: Vocabulary
        ) -> [Int32] {
            var result: [Int32] = []
            result.reserveCapacity(symbols.count)
            var open = symbols.reversed() as [Int32]
            while let symbol = open.popLast() {
                if symbol >= firstVirtual {
                    appendUnknown(String(virtual[Int(symbol - firstVirtual)]).utf8, to: &result)
                } else if symbol >= 0, isUnused[Int(symbol)] {
                    if let (left, right) = parts[symbol] {
                        open.append(right)
                        open.append(left)
                    } else if let text = vocabulary.bytes(symbol) {
                        appendUnknown(text, to: &result)
                    }
                } else if symbol != unknown || result.last != unknown {
                    result.append(symbol)
                }
            }
            return result
        }
    }
}
