/// A prefix tree over bytes: finds the longest of many strings at a place in a text, in time proportional to its length.
struct ByteTrie: Sendable {
    private struct Edge {
        /// Parent node and byte; `none` in an empty slot.
        var key: UInt64
        var child: Int32
    }

    private static let none = UInt64.max
    static let root: Int32 = 0

    private var edges = [Edge](repeating: Edge(key: none, child: 0), count: 256)
    private var edgeCount = 0
    /// Of each node: the value of the string that ends there, -1 when none does.
    private var values: [Int32] = [-1]
    /// Which bytes a string begins with.
    private var beginnings = [Bool](repeating: false, count: 256)

    var isEmpty: Bool { values.count == 1 }

    /// Adds a string, not empty; a string added before keeps its node and gets the new value.
    mutating func insert(_ string: some Collection<UInt8>, value: Int32) {
        var node = Self.root
        if let first = string.first { beginnings[Int(first)] = true }
        for byte in string {
            if let next = child(node, byte) {
                node = next
            } else {
                let next = Int32(values.count)
                values.append(-1)
                addEdge(UInt64(node) << 8 | UInt64(byte), next)
                node = next
            }
        }
        values[Int(node)] = value
    }

    /// The node that a string leads to.
    func node(after string: [UInt8]) -> Int32? {
        var node = Self.root
        for byte in string {
            guard let next = child(node, byte) else { return nil }
            node = next
        }
        return node
    }

    /// True when some string begins with this byte.
    @inline(__always)
    func begins(_ byte: UInt8) -> Bool { beginnings[Int(byte)] }

    /// The longest string, at least one byte beyond `node`, that `text` goes on with at `start`: its value and where it ends.
    func longestMatch(in text: Bytes, from start: Int, node: Int32 = root) -> (value: Int32, end: Int)? {
        var best: (value: Int32, end: Int)?
        var node = node
        var position = start
        while position < text.count, let next = child(node, text[position]) {
            node = next
            position += 1
            if values[Int(node)] >= 0 { best = (values[Int(node)], position) }
        }
        return best
    }

    private func slot(of key: UInt64) -> Int {
        let mask = edges.count - 1
        var slot = Int(truncatingIfNeeded: (key &* ByteHash.multiplier) >> 24) & mask
        while edges[slot].key != Self.none, edges[slot].key != key { slot = (slot + 1) & mask }
        return slot
    }

    private func child(_ node: Int32, _ byte: UInt8) -> Int32? {
        let slot = slot(of: UInt64(node) << 8 | UInt64(byte))
        return edges[slot].key == Self.none ? nil : edges[slot].child
    }

    private mutating func addEdge(_ key: UInt64, _ child: Int32) {
        edgeCount += 1
        if 2 * edgeCount > edges.count {
            let old = edges
            edges = [Edge](repeating: Edge(key: Self.none, child: 0), count: 2 * old.count)
            for edge in old where edge.key != Self.none { edges[slot(of: edge.key)] = edge }
        }
        edges[slot(of: key)] = Edge(key: key, child: child)
    }
}
