/// Numbers behind each other, once all are there: in memory, or in a temporary file where they are many. Safe to use from several threads.
public enum SpilledArray<Element: BitwiseCopyable & Sendable>: Sendable {
    case memory([Element])
    case file(MappedBytes)

    /// Elements.
    public var count: Int {
        switch self {
        case .memory(let elements): elements.count
        case .file(let bytes): bytes.count / MemoryLayout<Element>.stride
        }
    }

    /// Lends `body` all of them, of a file without reading it first.
    public func withUnsafeBufferPointer<Value>(_ body: (UnsafeBufferPointer<Element>) -> Value) -> Value {
        switch self {
        case .memory(let elements): return elements.withUnsafeBufferPointer { body($0) }
        case .file(let bytes): return bytes.withUnsafeBytes { body($0.assumingMemoryBound(to: Element.self)) }
        }
    }

    /// A copy of some of them.
    public subscript(_ range: Range<Int>) -> [Element] {
        withUnsafeBufferPointer { Array($0[range]) }
    }
}

/// Takes the elements of a `SpilledArray` as they come, so that no more than the limit are in memory at once. For use from one task at a time.
public final class SpilledArrayWriter<Element: BitwiseCopyable & Sendable> {
    private let spill: Spill
    /// What is not in the file: all, as long as there is none.
    private var waiting: [Element] = []
    private var file: ScratchFile?

    /// Elements that were appended.
    public private(set) var count = 0

    /// Bytes of one write to a file.
    private static var writeBytes: Int { 8 << 20 }

    /// - Parameter spill: from when on they go to a file.
    public init(_ spill: Spill = .current) { self.spill = spill }

    /// - Throws: exit 73 where the file cannot be created, 74 on a full disk.
    public func append(_ elements: [Element]) throws(RetortError) {
        waiting += elements
        count += elements.count
        let most = file == nil ? spill.limit : min(spill.limit, Self.writeBytes)
        guard waiting.count * MemoryLayout<Element>.stride > most else { return }
        let target: ScratchFile
        if let file { target = file } else { target = try spill.open() }
        file = target
        try write(to: target)
    }

    /// All of them. Nothing is appended any more.
    /// - Throws: exit 74 on a full disk.
    public func finish() throws(RetortError) -> SpilledArray<Element> {
        guard let file else { return .memory(waiting) }
        try write(to: file)
        return .file(try file.mapped())
    }

    private func write(to file: ScratchFile) throws(RetortError) {
        try waiting.withUnsafeBufferPointer { (buffer) throws(RetortError) in
            try file.append(UnsafeRawBufferPointer(buffer))
        }
        waiting = []
    }
}
