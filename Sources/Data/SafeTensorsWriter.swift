import RetortSupport

/// Writes a safetensors file, tensor by tensor in the order given: the file appears under its name only when it is
/// complete (`AtomicFile`), also over a file that is being read. The header is padded with spaces to 8 bytes.
///
///     let writer = try SafeTensorsWriter(path: path, tensors: [.init(name: "weight", type: .float32, shape: [2, 3])])
///     try writer.write(bytes)     // as many calls as convenient, in order
///     try writer.commit()
public final class SafeTensorsWriter {
    /// A tensor to come.
    public struct Declaration: Sendable {
        public let name: String
        public let type: ElementType
        public let shape: [Int]

        public init(name: String, type: ElementType, shape: [Int]) {
            self.name = name
            self.type = type
            self.shape = shape
        }
    }

    private let file: AtomicFile
    private let headerBytes: Int
    private let dataBytes: Int

    /// Creates the file and writes its header.
    /// - Throws: exit 70 for declarations that no reader would accept (a name twice, `__metadata__`, sizes that
    ///   overflow, limits of `SafeTensors.Limits`); 73 or 74 when the file cannot be created or written.
    public init(
        path: String, tensors: [Declaration], metadata: [(key: String, value: String)] = []
    ) throws(RetortError) {
        let header: [UInt8]
        do {
            (header, dataBytes) = try Self.header(tensors, metadata)
        } catch {
            throw .internalBug("a safetensors file that cannot be written: \(error.what)", why: error.why)
        }
        file = try AtomicFile(path: path)
        headerBytes = header.count
        try file.write(header)
    }

    /// Writes a whole file from memory. Throws as `init`, `write` and `commit`.
    public static func write(
        path: String, tensors: [(declaration: Declaration, bytes: [UInt8])],
        metadata: [(key: String, value: String)] = []
    ) throws(RetortError) {
        let writer = try SafeTensorsWriter(path: path, tensors: tensors.map(\.declaration), metadata: metadata)
        for tensor in tensors { try writer.write(tensor.bytes) }
        try writer.commit()
    }

    /// Appends data of the tensors, in their order.
    /// - Throws: exit 70 when it is more than declared, 74 on a full disk or I/O error.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(RetortError) {
        let rest = headerBytes + dataBytes - file.bytesWritten
        guard bytes.count <= rest else {
            throw .internalBug("\(bytes.count - rest) bytes more than declared for \(file.path.quoted(limit: 200))")
        }
        try file.write(bytes)
    }

    /// Appends data of the tensors, in their order. Throws as `write(_: UnsafeRawBufferPointer)`.
    public func write(_ bytes: [UInt8]) throws(RetortError) {
        try bytes.withUnsafeBufferPointer { (buffer) throws(RetortError) in try write(UnsafeRawBufferPointer(buffer)) }
    }

    /// Appends F32 data. Throws as `write(_: UnsafeRawBufferPointer)`.
    public func write(_ values: [Float]) throws(RetortError) {
        try values.withUnsafeBufferPointer { (buffer) throws(RetortError) in try write(UnsafeRawBufferPointer(buffer)) }
    }

    /// Makes the file durable and gives it its name.
    /// - Throws: exit 70 when data is missing, 73 or 74 as `AtomicFile.commit`.
    public func commit() throws(RetortError) {
        let missing = headerBytes + dataBytes - file.bytesWritten
        guard missing == 0 else {
            file.discard()
            throw .internalBug("\(missing) bytes missing in \(file.path.quoted(limit: 200))")
        }
        try file.commit()
    }

    private static func header(
        _ tensors: [Declaration], _ metadata: [(key: String, value: String)]
    ) throws(RetortError) -> (bytes: [UInt8], dataBytes: Int) {
        var object = JSONObject()
        if !metadata.isEmpty {
            object.set("__metadata__", .object(metadata.map { (key: $0.key, value: .string($0.value)) }))
        }
        guard tensors.count <= SafeTensors.Limits.tensors else { throw .badData("too many tensors") }
        var end = CheckedSize.zero
        for tensor in tensors {
            let subject = "tensor \(tensor.name.quoted(limit: 200))"
            guard tensor.name.utf8.count <= SafeTensors.Limits.nameBytes, tensor.shape.count <= SafeTensors.Limits.rank
            else { throw .badData("\(subject) exceeds the limits of name or rank") }
            guard object[tensor.name] == nil, tensor.name != "__metadata__" else {
                throw .badData("\(subject) appears twice or is called __metadata__")
            }
            let size = try CheckedSize(shape: tensor.shape, bitsPerElement: tensor.type.bits, of: subject)
            let begin = end
            end = try end.adding(size, of: subject)
            let entry: JSON = [
                "dtype": .string(tensor.type.rawValue),
                "shape": .array(tensor.shape.map { .int($0) }),
                "data_offsets": [.int(begin.bytes), .int(end.bytes)],
            ]
            object.set(tensor.name, entry)
        }
        var text = JSON.object(object).bytes()
        while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
        guard text.count <= SafeTensors.Limits.headerBytes else { throw .badData("the header is too large") }
        let length = (0..<8).map { UInt8(truncatingIfNeeded: text.count >> ($0 * 8)) }
        // Header and data together must be a possible file length too.
        let headerSize = try CheckedSize(bytes: length.count + text.count, of: "the header")
        _ = try headerSize.adding(end, of: "the file")
        return (length + text, end.bytes)
    }
}
