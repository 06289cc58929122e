import RetortKernels

/// The edges between the rows of two tables, sorted both ways once, so that sums over them are taken in a fixed order in both directions.
public struct Adjacency {
    /// Rows of the table that receives, and of the one that sends.
    public let receivers: Int
    public let senders: Int
    /// Int32 `[edges]`: who sends along each edge, and the edges of each receiver; then the same the other way.
    private let sending: View
    private let received: IDBuckets
    private let receiving: View
    private let sent: IDBuckets

    /// - Parameters: `receiving`, `sending`: both ends of each edge, `[edges]`.
    /// - Throws: `TensorError` for an end that is not there.
    public init(receiving: [Int32], sending: [Int32], receivers: Int, senders: Int, on device: Device) throws {
        guard receiving.count == sending.count, receiving.allSatisfy({ $0 >= 0 && Int($0) < receivers }),
            sending.allSatisfy({ $0 >= 0 && Int($0) < senders })
        else { throw TensorError("edges between \(receivers) and \(senders) rows that end elsewhere") }
        self.receivers = receivers
        self.senders = senders
        self.sending = try device.compute.view(sending, [sending.count], .i32)
        self.receiving = try device.compute.view(receiving, [receiving.count], .i32)
        received = try IDBuckets(receiving, paddingIndex: nil, on: device.compute)
        sent = try IDBuckets(sending, paddingIndex: nil, on: device.compute)
    }

    private init(_ other: Adjacency) {
        (receivers, senders) = (other.senders, other.receivers)
        (sending, received) = (other.receiving, other.sent)
        (receiving, sent) = (other.sending, other.received)
    }

    /// The same edges with receivers and senders exchanged.
    public var transposed: Adjacency { Adjacency(self) }

    /// y[r, :] = Σ x[s, :] over the edges (r, s). x `[senders, columns]`, y `[receivers, columns]`.
    fileprivate func sum(_ x: View, into y: Output, on device: ComputeDevice) throws {
        let rows = try device.empty([sending.count, x.shape[1]])
        try run(Gather(), .init(table: x, ids: sending, y: rows), on: device)
        if y.mode == .write { try run(Fill(0), .init(y: y.view), on: device) }
        try run(ScatterAdd(), .init(dy: rows, buckets: received, table: y.view), on: device)
    }
}

extension Tensor {
    /// Sums over neighbours: `[senders, columns]` → `[receivers, columns]`.
    public func aggregated(over graph: Adjacency) throws -> Tensor {
        guard rank == 2, shape[0] == graph.senders else {
            throw TensorError("a sum over \(graph.senders) senders of a tensor of shape \(shape)")
        }
        let y = try device.empty([graph.receivers, shape[1]])
        try graph.sum(view, into: .write(y), on: device)
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            try graph.transposed.sum(try node.dense(gradient), into: try input!.sink(), on: node.device)
        }
    }
}
