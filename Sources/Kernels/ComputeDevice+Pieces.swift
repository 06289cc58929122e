import Dispatch
import Foundation
import Synchronization

extension ComputeDevice {
    /// Fills memory with the elements of an array from a place on.
    public typealias PieceReader = @Sendable (_ from: Int, UnsafeMutableBufferPointer<Float>) throws -> Void

    /// Bytes of a piece that is on its way from a file to a device: it stays in the processor's caches.
    private static let pieceBytes = 1 << 20

    /// Fills a contiguous view, f32 or bf16, piece by piece; returns when everything is there. What becomes bf16 is rounded.
    /// - `read`: called for each piece, in any order and on several threads at once. The memory is the view's own where the host
    ///   can reach it.
    /// - Throws: what `read` throws, of several errors that of the first piece.
    public func write(to view: View, pieces read: PieceReader) throws {
        precondition(
            view.isContiguous && (view.dtype == .f32 || view.dtype == .bf16), "pieces into \(view.shape) \(view.dtype)")
        guard view.count > 0, plan == nil else { return }
        switch (self, view.storage, view.dtype) {
        case (.cpu, .host, .f32):
            try Self.fill(try view.pointer(as: Float.self), view.count, read)
        case (.openCL(let device), .openCL(let block), .f32) where device.info.type == .cpu:
            try device.mapping(block, at: view.offset * 4, view.count * 4) {
                try Self.fill($0.assumingMemoryBound(to: Float.self), view.count, read)
            }
        default:
            try Self.inPieces(of: view.count) { from, count in
                let piece = UnsafeMutableBufferPointer<Float>.allocate(capacity: count)
                defer { piece.deallocate() }
                try read(from, piece)
                try writePiece(UnsafeBufferPointer(piece), to: view, at: from)
            }
        }
    }

    private func writePiece(_ piece: UnsafeBufferPointer<Float>, to view: View, at from: Int) throws {
        let target = View(
            storage: view.storage, offset: view.offset + from, shape: [piece.count], dtype: view.dtype)
        guard view.dtype == .bf16 else { return try write(UnsafeRawBufferPointer(piece), to: target) }
        try withUnsafeTemporaryAllocation(of: UInt16.self, capacity: piece.count) { rounded in
            if let start = rounded.baseAddress { roundToBF16(piece, into: start) }
            try write(UnsafeRawBufferPointer(rounded), to: target)
        }
    }

    private static func fill(_ start: UnsafeMutablePointer<Float>, _ count: Int, _ read: PieceReader) throws {
        nonisolated(unsafe) let start = start
        try inPieces(of: count) { from, count in
            try read(from, UnsafeMutableBufferPointer(start: start + from, count: count))
        }
    }

    /// Calls `body` for the pieces of `count` elements on all cores.
    private static func inPieces(of count: Int, _ body: @Sendable (_ from: Int, _ count: Int) throws -> Void) throws {
        let most = pieceBytes / 4
        let failures = Mutex<[(from: Int, error: any Error)]>([])
        DispatchQueue.concurrentPerform(iterations: (count + most - 1) / most) { number in
            let from = number * most
            do { try body(from, min(most, count - from)) } catch {
                failures.withLock { $0.append((from, error)) }
            }
        }
        if let first = failures.withLock({ $0.min { $0.from < $1.from } }) { throw first.error }
    }
}
