import RetortSupport

/// The checked header of a safetensors file: 8 bytes of length (little-endian), JSON, then the data.
struct SafeTensorsHeader {
    /// Ordered by data.
    let tensors: [StoredTensor]
    let metadata: [(key: String, value: String)]

    init(file: InputFile) throws(RetortError) {
        guard file.size >= 8 else {
            throw Self.malformed(
                file, "it has \(file.size) bytes; the shortest possible file has 8 and a header",
                help: file.size == 0 ? "The file is empty: perhaps an incomplete download." : Self.downloadHelp)
        }
        let prefix = try file.read(offset: 0, count: min(file.size, 16))
        let length = prefix[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length <= UInt64(Limits.headerBytes) else {
            throw Self.malformed(
                file, "the header would have \(length) bytes; the limit is \(Limits.headerBytes)",
                help: Self.guess(prefix) ?? "This does not look like a safetensors file.")
        }
        let headerBytes = Int(length)
        guard headerBytes <= file.size - 8 else {
            throw Self.malformed(
                file, "the header would have \(headerBytes) bytes; only \(file.size - 8) follow",
                help: Self.guess(prefix) ?? Self.downloadHelp)
        }
        let text = try file.read(offset: 8, count: headerBytes)
        guard text.first == UInt8(ascii: "{") else {
            throw Self.malformed(
                file, "the header does not begin with '{'", help: Self.guess(prefix) ?? Self.downloadHelp)
        }
        // The reference stops at 128 levels. 16 values per tensor cover name, type, shape, offsets and some more.
        let limits = JSON.Limits(bytes: Limits.headerBytes, depth: 127, values: 16 * Limits.tensors)
        let root = JSONCursor(
            try JSON.parse(text, file: file.path + " (header)", limits: limits), file: file.path + " (header)")
        let dataStart = 8 + headerBytes
        (tensors, metadata) = try Self.entries(root, dataStart: dataStart)
        try Self.checkLayout(tensors, dataStart: dataStart, file: file)
    }

    private typealias Limits = SafeTensors.Limits

    private static func entries(
        _ root: JSONCursor, dataStart: Int
    ) throws(RetortError) -> (tensors: [StoredTensor], metadata: [(key: String, value: String)]) {
        let object = try root.object()
        guard object.count <= Limits.tensors + 1 else {
            throw root.failure("it lists \(object.count) tensors; the limit is \(Limits.tensors)")
        }
        var tensors: [StoredTensor] = []
        tensors.reserveCapacity(object.count)
        var metadata: [(key: String, value: String)] = []
        for (name, entry) in try root.members() {
            if name.hasSameBytes(as: "__metadata__") {
                guard !entry.isNull else { continue }
                for (key, value) in try entry.members() { metadata.append((key, try value.string())) }
            } else {
                tensors.append(try tensor(name, entry, dataStart: dataStart))
            }
        }
        // Zero-size tensors share their offset with the next one and come first.
        tensors.sort { ($0.fileOffset, $0.bytes) < ($1.fileOffset, $1.bytes) }
        return (tensors, metadata)
    }

    private static func tensor(
        _ name: String, _ entry: JSONCursor, dataStart: Int
    ) throws(RetortError) -> StoredTensor {
        guard name.utf8.count <= Limits.nameBytes else {
            throw entry.failure("the name has \(name.utf8.count) bytes; the limit is \(Limits.nameBytes)")
        }
        let typeName = try entry.member("dtype").string()
        guard let type = ElementType(rawValue: typeName), type.rawValue.hasSameBytes(as: typeName) else {
            throw try entry.member("dtype").failure(
                "there is no element type \(typeName.quoted())",
                help: "Known types: " + ElementType.allCases.map(\.rawValue).joined(separator: ", ") + ".")
        }
        let dimensions = try entry.member("shape").elements()
        guard dimensions.count <= Limits.rank else {
            throw try entry.member("shape").failure(
                "it has \(dimensions.count) dimensions; the limit is \(Limits.rank)")
        }
        var shape: [Int] = []
        for dimension in dimensions { shape.append(try dimension.int(in: 0...Int.max)) }
        let offsets = try entry.member("data_offsets").elements()
        guard offsets.count == 2 else {
            throw try entry.member("data_offsets").failure("it must hold two numbers, begin and end")
        }
        let begin = try offsets[0].int(in: 0...Int.max)
        let end = try offsets[1].int(in: 0...Int.max)
        guard begin <= end else {
            throw try entry.member("data_offsets").failure("the end, \(end), is before the begin, \(begin)")
        }

        let subject = "tensor \(name.quoted(limit: 200))"
        let elements = try located(entry.file) { () throws(RetortError) in
            try CheckedSize.elements(of: shape, of: subject)
        }
        let size = try located(entry.file) { () throws(RetortError) in
            try CheckedSize(elements: elements, bitsPerElement: type.bits, of: subject)
        }
        guard size.bytes == end - begin else {
            throw entry.failure(
                "shape \(shape) of \(typeName) needs \(size.bytes) bytes; data_offsets give it \(end - begin)")
        }
        let fileOffset = try located(entry.file) { () throws(RetortError) in
            try CheckedSize(bytes: begin, of: subject).adding(CheckedSize(bytes: dataStart, of: subject), of: subject)
        }
        return StoredTensor(
            name: name, type: type, shape: shape, elements: elements, fileOffset: fileOffset.bytes, bytes: size.bytes)
    }

    /// The data must follow the header without holes or overlaps and end with the file: no byte means two things, no
    /// byte is hidden.
    private static func checkLayout(
        _ tensors: [StoredTensor], dataStart: Int, file: InputFile
    ) throws(RetortError) {
        var end = dataStart
        for tensor in tensors {
            guard tensor.fileOffset == end else {
                let problem = tensor.fileOffset < end ? "overlaps the tensor before it" : "leaves a gap before it"
                throw malformed(
                    file,
                    "the data of tensor \(tensor.name.quoted(limit: 200)) \(problem): it begins at byte"
                        + " \(tensor.fileOffset - dataStart) instead of \(end - dataStart)")
            }
            // Cannot overflow into a wrong verdict: a sum that wraps is below the next offset and beyond no file.
            let (next, overflow) = end.addingReportingOverflow(tensor.bytes)
            guard !overflow, next <= file.size else {
                throw malformed(
                    file, "tensor \(tensor.name.quoted(limit: 200)) ends beyond the file of \(file.size) bytes",
                    help: downloadHelp)
            }
            end = next
        }
        guard end == file.size else {
            throw malformed(file, "\(file.size - end) bytes after the last tensor belong to nothing")
        }
    }

    private static let downloadHelp = "Perhaps an incomplete download; compare its size and SHA-256 with the source."

    private static func malformed(_ file: InputFile, _ why: String, help: String = "") -> RetortError {
        .badData(
            "\(file.path.quoted(limit: 200)) is not a valid safetensors file",
            at: RetortError.Location(file: file.path), why: why, help: help)
    }

    /// What the file probably is, from its first bytes.
    private static func guess(_ prefix: [UInt8]) -> String? {
        let known: [(magic: [UInt8], help: String)] = [
            (Array("version ".utf8), "This is a Git LFS pointer, not the file: run `git lfs pull` where it came from."),
            (Array("GGUF".utf8), "This is a GGUF file; convert it to safetensors first."),
            (
                [0x50, 0x4B, 0x03, 0x04],
                "This is a zip archive, perhaps a PyTorch .pt or .bin file; save it as safetensors first."
            ),
            ([0x93] + Array("NUMPY".utf8), "This is a NumPy file; save it as safetensors first."),
            (Array("<!".utf8), "This is a web page; the download went wrong."),
        ]
        return known.first { prefix.starts(with: $0.magic) }?.help
    }

    private static func located<Value>(
        _ file: String, _ body: () throws(RetortError) -> Value
    ) throws(RetortError) -> Value {
        do {
            return try body()
        } catch {
            var error = error
            error.location = RetortError.Location(file: file)
            throw error
        }
    }
}
