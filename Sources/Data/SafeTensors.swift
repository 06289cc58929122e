import RetortSupport

/// One tensor of a safetensors file: what the header says, checked.
public struct StoredTensor: Sendable {
    public let name: String
    public let type: ElementType
    /// `[]` is a scalar.
    public let shape: [Int]
    /// The number of elements, the checked product of `shape`.
    public let elements: Int
    /// The first byte of its data, from the beginning of the file. Not necessarily aligned.
    public let fileOffset: Int
    /// The length of its data.
    public let bytes: Int
}

/// A safetensors file, opened for reading. The header is read and checked completely when it is opened; tensor data is
/// read on demand (`pread`, no memory mapping), from any thread.
///
/// Accepts what the reference reader (safetensors 0.8.0) accepts, except for these, which it tolerates and we refuse:
/// - a name given twice, at any level of the header, also when both entries agree;
/// - a header that does not begin with `{` (the format text forbids leading space);
/// - more than 1 000 000 tensors, more than 8 dimensions, names above 1024 bytes;
/// - dimensions of 2^63 and more (possible only next to a zero);
/// - a tensor entry written as a JSON array instead of an object.
///
/// Names may hold any characters, as in the reference, control characters too; errors show them escaped.
public final class SafeTensors: Sendable {
    /// Limits on the header, all checked before memory is spent.
    public enum Limits {
        /// Bytes of the JSON header, as in the reference.
        public static let headerBytes = 100_000_000
        public static let tensors = 1_000_000
        public static let rank = 8
        /// Bytes of a tensor's name.
        public static let nameBytes = 1024
    }

    /// The path it was opened by.
    public let path: String
    /// The tensors, ordered by where their data is.
    public let tensors: [StoredTensor]
    /// The strings of `__metadata__` in order; empty when there is none.
    public let metadata: [(key: String, value: String)]

    private let file: InputFile
    private let index: [ExactKey: Int]

    /// Opens and checks a file.
    /// - Throws: exit 66 when it is not there, 65 when it is not a well-formed safetensors file, 74 on I/O errors.
    public init(path: String) throws(RetortError) {
        let file = try InputFile(path: path)
        let header = try SafeTensorsHeader(file: file)
        self.path = path
        self.file = file
        self.tensors = header.tensors
        self.metadata = header.metadata
        var index: [ExactKey: Int] = [:]
        for (position, tensor) in header.tensors.enumerated() { index[ExactKey(tensor.name)] = position }
        self.index = index
    }

    /// The tensor called `name`, compared by bytes; nil when there is none.
    public subscript(name: String) -> StoredTensor? {
        index[ExactKey(name)].map { tensors[$0] }
    }

    /// The metadata string called `key`; nil when there is none.
    public func metadata(_ key: String) -> String? {
        metadata.first { $0.key.hasSameBytes(as: key) }?.value
    }

    /// The tensor called `name`.
    /// - Throws: exit 65 when there is none; names the nearest.
    public func tensor(_ name: String) throws(RetortError) -> StoredTensor {
        if let tensor = self[name] { return tensor }
        let nearest = EditDistance.nearest(to: name, among: tensors.lazy.map(\.name))
        throw .badData(
            "there is no tensor \(name.quoted(limit: 200))", at: RetortError.Location(file: path),
            why: "the file holds \(tensors.count) tensors",
            help: nearest.map { "Did you mean \($0.quoted(limit: 200))?" } ?? "")
    }

    /// The raw bytes of a tensor.
    /// - Throws: exit 65 when there is no such tensor, the file became shorter or the memory cannot be had; 74 on I/O
    ///   errors.
    public func read(_ name: String) throws(RetortError) -> [UInt8] {
        let tensor = try tensor(name)
        return try file.read(offset: tensor.fileOffset, count: tensor.bytes)
    }

    /// Reads the raw bytes of a tensor into memory of exactly its size. Throws as `read(_:)`; exit 70 on another size.
    public func read(_ name: String, into buffer: UnsafeMutableRawBufferPointer) throws(RetortError) {
        let tensor = try tensor(name)
        guard buffer.count == tensor.bytes else {
            throw .internalBug("a buffer of \(buffer.count) bytes for \(name.quoted()) of \(tensor.bytes) bytes")
        }
        try file.read(into: buffer, offset: tensor.fileOffset)
    }

    /// The elements as Float, for F32, F16, BF16, F8_E4M3 and F8_E5M2: every conversion is exact.
    /// - Throws: as `read(_:)`; exit 65 for other element types.
    public func floats(_ name: String) throws(RetortError) -> [Float] {
        let tensor = try tensor(name)
        return try Allocation.array(count: tensor.elements, of: path) { (buffer) throws(RetortError) in
            try floats(name, from: 0, into: buffer)
        }
    }

    /// Some of the elements as Float, for the types that `floats(_:)` takes.
    /// - `first`: the place of the first among the tensor's elements.
    /// - `buffer`: gets as many as it has room for.
    /// - Throws: as `floats(_:)`; exit 70 for elements beyond the last.
    public func floats(
        _ name: String, from first: Int, into buffer: UnsafeMutableBufferPointer<Float>
    ) throws(RetortError) {
        let tensor = try tensor(name)
        guard first >= 0, buffer.count <= tensor.elements - first else {
            throw .internalBug(
                "\(buffer.count) elements from \(first) of \(name.quoted()), which has \(tensor.elements)")
        }
        switch tensor.type {
        case .float32:
            try file.read(into: UnsafeMutableRawBufferPointer(buffer), offset: tensor.fileOffset + 4 * first)
        case .float16:
            try convert(tensor, from: first, into: buffer) { (bits: UInt16) in FloatFormats.float(float16: bits) }
        case .bfloat16:
            try convert(tensor, from: first, into: buffer) { (bits: UInt16) in FloatFormats.float(bfloat16: bits) }
        case .float8E4M3:
            try convert(tensor, from: first, into: buffer) { (bits: UInt8) in FloatFormats.float(float8E4M3: bits) }
        case .float8E5M2:
            try convert(tensor, from: first, into: buffer) { (bits: UInt8) in FloatFormats.float(float8E5M2: bits) }
        default:
            throw wrongType(tensor, wanted: "a float type of at most 32 bits")
        }
    }

    /// The elements as Double, for F64 and everything `floats` reads: every conversion is exact.
    /// - Throws: as `read(_:)`; exit 65 for other element types.
    public func doubles(_ name: String) throws(RetortError) -> [Double] {
        let tensor = try tensor(name)
        guard tensor.type == .float64 else { return try floats(name).map(Double.init) }
        return try converted(tensor, 0..<tensor.elements) { (bits: UInt64) in Double(bitPattern: bits) }
    }

    /// The elements as Int64, for every integer type and BOOL (0 or 1; any byte but 0 is 1).
    /// - Throws: as `read(_:)`; exit 65 for other element types and for U64 values of 2^63 and more.
    public func int64s(_ name: String) throws(RetortError) -> [Int64] {
        try int64s(name, from: 0, count: tensor(name).elements)
    }

    /// Some of the elements as Int64, for the types that `int64s(_:)` takes.
    /// - `first`: the place of the first among the tensor's elements.
    /// - Throws: as `int64s(_:)`; exit 70 for elements beyond the last.
    public func int64s(_ name: String, from first: Int, count: Int) throws(RetortError) -> [Int64] {
        let tensor = try tensor(name)
        guard first >= 0, count >= 0, count <= tensor.elements - first else {
            throw .internalBug("\(count) elements from \(first) of \(name.quoted()), which has \(tensor.elements)")
        }
        let part = first..<(first + count)
        switch tensor.type {
        case .int64: return try converted(tensor, part) { (value: Int64) in value }
        case .int32: return try converted(tensor, part) { (value: Int32) in Int64(value) }
        case .int16: return try converted(tensor, part) { (value: Int16) in Int64(value) }
        case .int8: return try converted(tensor, part) { (value: Int8) in Int64(value) }
        case .uint32: return try converted(tensor, part) { (value: UInt32) in Int64(value) }
        case .uint16: return try converted(tensor, part) { (value: UInt16) in Int64(value) }
        case .uint8: return try converted(tensor, part) { (value: UInt8) in Int64(value) }
        case .bool: return try converted(tensor, part) { (value: UInt8) in value == 0 ? 0 : 1 }
        case .uint64:
            let values = try converted(tensor, part) { (value: UInt64) in Int64(bitPattern: value) }
            if let position = values.firstIndex(where: { $0 < 0 }) {
                let value = UInt64(bitPattern: values[position])
                throw .badData(
                    "tensor \(name.quoted(limit: 200)) holds a number that is too large",
                    at: RetortError.Location(file: path), why: "element \(first + position) is \(value)")
            }
            return values
        default: throw wrongType(tensor, wanted: "an integer type or BOOL")
        }
    }

    private func converted<Stored: BitwiseCopyable, Element: BitwiseCopyable>(
        _ tensor: StoredTensor, _ part: Range<Int>, _ function: (Stored) -> Element
    ) throws(RetortError) -> [Element] {
        try Allocation.array(count: part.count, of: path) { (buffer) throws(RetortError) in
            try convert(tensor, from: part.lowerBound, into: buffer, function)
        }
    }

    /// Converts element by element; the stored data need not be aligned.
    private func convert<Stored: BitwiseCopyable, Element: BitwiseCopyable>(
        _ tensor: StoredTensor, from first: Int, into buffer: UnsafeMutableBufferPointer<Element>,
        _ function: (Stored) -> Element
    ) throws(RetortError) {
        let size = MemoryLayout<Stored>.size
        let bytes = try file.read(offset: tensor.fileOffset + first * size, count: buffer.count * size)
        bytes.withUnsafeBytes { raw in
            for position in 0..<buffer.count {
                buffer[position] = function(raw.loadUnaligned(fromByteOffset: position * size, as: Stored.self))
            }
        }
    }

    private func wrongType(_ tensor: StoredTensor, wanted: String) -> RetortError {
        .badData(
            "tensor \(tensor.name.quoted(limit: 200)) has the wrong element type",
            at: RetortError.Location(file: path), why: "it is \(tensor.type.rawValue); needed is \(wanted)")
    }
}

#if _endian(big)
#error("safetensors data is little-endian; this reader does not swap bytes")
#endif
