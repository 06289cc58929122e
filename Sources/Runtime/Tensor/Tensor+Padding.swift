import RetortKernels

extension Tensor {
    /// `[..., height, width]` with `value` around it; a negative margin cuts away instead.
    public func padded(top: Int, bottom: Int, left: Int, right: Int, value: Float = 0) throws -> Tensor {
        guard rank >= 2, let rows = Margins(shape[rank - 2], top, bottom),
            let columns = Margins(shape[rank - 1], left, right)
        else {
            throw TensorError("margins \(top), \(bottom), \(left), \(right) around images of shape \(shape)")
        }
        let y = try device.empty(shape.dropLast(2) + [rows.length, columns.length])
        if rows.adds || columns.adds { try run(Fill(value), .init(y: y), on: device) }
        try run(
            Copy(), .init(x: view.narrowed(rows.kept, columns.kept), y: .write(y.narrowed(rows.place, columns.place))),
            on: device)
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            let dy = try node.materialize(gradient).narrowed(rows.place, columns.place)
            var dx = try input!.sink()
            if dx.mode == .write, rows.cuts || columns.cuts {
                try run(Fill(0), .init(y: dx.view), on: node.device)
                dx = .accumulate(dx.view)
            }
            try run(
                Copy(), .init(x: dy, y: Output(dx.view.narrowed(rows.kept, columns.kept), dx.mode)), on: node.device)
        }
    }
}

/// What becomes of one dimension when something is put before and behind it, or cut away.
private struct Margins {
    /// The new length.
    let length: Int
    /// Positions that stay, counted in the old dimension and in the new one.
    let kept: Range<Int>
    let place: Range<Int>
    let adds: Bool
    let cuts: Bool

    /// nil when more is cut away than there is.
    init?(_ old: Int, _ before: Int, _ behind: Int) {
        let (start, end) = (max(0, -before), old - max(0, -behind))
        guard start <= end else { return nil }
        length = old + before + behind
        kept = start..<end
        place = max(0, before)..<max(0, before) + kept.count
        adds = before > 0 || behind > 0
        cuts = before < 0 || behind < 0
    }
}

extension View {
    /// Ranges of the two last dimensions.
    fileprivate func narrowed(_ rows: Range<Int>, _ columns: Range<Int>) -> View {
        narrowed(rank - 2, rows).narrowed(rank - 1, columns)
    }
}
