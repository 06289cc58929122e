/// A prefix tree over bytes: finds the longest of many strings at a place in a text, in time proportional to its length.
struct ByteTrie: Sendable {
    private struct Edge {
        /// Parent node and byte; `none` in an empty slot.
        var key: UInt64
        var child: Int32
        /// Of the string that ends at the child, -1 when none does.
        var value: Int32
    }

    private static let none = UInt64.max
    static let root: Int32 = 0

    private var edges = [Edge](repeating: Edge(key: none, child: 0, value: -1), count: 256)
    private var edgeCount = 0
    private let multiplier = ByteHash.multiplier
    /// Which bytes a string begins with.
    private var beginnings = [Bool](repeating: false, count: 256)

    var isEmpty: Bool { edgeCount == 0 }

    /// Adds a string, not empty; a string added before keeps its node and gets the new value.
    mutating func insert(_ string: some Collection<UInt8>, value: Int32) {
        guard let first = string.first else { return }
        beginnings[Int(first)] = true
        var node = Self.root
        var key: UInt64 = 0
        for byte in string {
            key = UInt64(node) << 8 | UInt64(byte)
            if let next = child(node, byte)?.node {
                node = next
            } else {
                // Each node but the root has one edge that leads to it.
                node = Int32(edgeCount + 1)
                addEdge(key, node)
            }
        }
        edges[slot(of: key)].value = value
    }

    /// The node that a string leads to.
    func node(after string: [UInt8]) -> Int32? {
        var node = Self.root
        for byte in string {
            guard let next = child(node, byte)?.node else { return nil }
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
            node = next.node
            position += 1
            if next.value >= 0 { best = (next.value, position) }
        }
        return best
    }

    /// Calls `body` with each string that `text` goes on with at `start`, the shortest first: its value and where it ends.
    @inline(__always)
    func forEachMatch(in text: Bytes, from start: Int, _ body: (_ value: Int32, _ end: Int) -> Void) {
        var node = Self.root
        var position = start
        while position < text.count, let next = child(node, text[position]) {
            node = next.node
            position += 1
            if next.value >= 0 { body(next.value, position) }
        }
    }

    private func slot(of key: UInt64) -> Int {
        let mask = edges.count - 1
        var slot = Int(truncatingIfNeeded: (key &* multiplier) >> 24) & mask
        while edges[slot].key != Self.none, edges[slot].key != key { slot = (slot + 1) & mask }
        return slot
    }

    @inline(__always)
    private func child(_ node: Int32, _ byte: UInt8) -> (node: Int32, value: Int32)? {
        let edge = edges[slot(of: UInt64(node) << 8 | UInt64(byte))]
        return edge.key == Self.none ? nil : (edge.child, edge.value)
    }

    private mutating func addEdge(_ key: UInt64, _ child: Int32) {
        edgeCount += 1
        if 2 * edgeCount > edges.count {
            let old = edges
            edges = [Edge](repeating: Edge(key: Self.none, child: 0, value: -1), count: 2 * old.count)
            for edge in old where edge.key != Self.none { edges[slot(of: edge.key)] = edge }
        }
        edges[slot(of: key)] = Edge(key: key, child: child, value: -1)
    }
}
