import RetortSupport

/// The tokens of a corpus behind each other, those that are learned as they are, others as −1 − token: in memory, or in a file where they are
/// many. Safe to use from several threads.
enum MarkedTokens: Sendable {
    case memory([Int32])
    case file(MappedBytes)

    /// Lends `body` all of them, of a file without reading it first.
    func withUnsafeBufferPointer<Value>(_ body: (UnsafeBufferPointer<Int32>) -> Value) -> Value {
        switch self {
        case .memory(let tokens): return tokens.withUnsafeBufferPointer { body($0) }
        case .file(let bytes): return bytes.withUnsafeBytes { body($0.assumingMemoryBound(to: Int32.self)) }
        }
    }
}

/// From when on the tokens of a corpus go to a file, and to which.
struct TokenSpill: Sendable {
    /// Bytes of a corpus's tokens that may stay in memory.
    var limit = 64 << 20
    /// Makes the file.
    var open: @Sendable () throws -> ScratchFile = { try ScratchFile() }

    /// What holds here; tests change it for what they call.
    @TaskLocal static var current = TokenSpill()
}

/// Takes the tokens of a corpus as they come, so that no more than the limit are in memory at once.
final class MarkedTokensWriter {
    private let spill = TokenSpill.current
    /// What is not in the file: all, as long as there is none.
    private var waiting: [Int32] = []
    private var file: ScratchFile?

    /// Bytes of one write to a file.
    private static let writeBytes = 8 << 20

    /// - Throws: `RetortError` 73 where the file cannot be created, 74 on a full disk.
    func append(_ tokens: [Int32]) throws {
        waiting += tokens
        let most = file == nil ? spill.limit : min(spill.limit, Self.writeBytes)
        guard waiting.count * MemoryLayout<Int32>.stride > most else { return }
        let target = try file ?? spill.open()
        file = target
        try write(to: target)
    }

    /// All of them. Nothing is appended any more.
    /// - Throws: `RetortError` 74 on a full disk.
    func finish() throws -> MarkedTokens {
        guard let file else { return .memory(waiting) }
        try write(to: file)
        return .file(try file.mapped())
    }

    private func write(to file: ScratchFile) throws {
        try waiting.withUnsafeBytes { try file.append($0) }
        waiting = []
    }
}
