import RetortData
import RetortSupport
import Testing

@Suite struct SafeTensorsVerdictTests {
    /// Where we refuse what the reference accepts; the reasons stand at `SafeTensors`.
    static let stricter: Set<String> = [
        "odd_leading_space.safetensors", "odd_dup_key_same.safetensors", "odd_shape_zero_overflow.safetensors",
    ]

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let expected: JSONCursor
        var testDescription: String { name }
    }

    static func cases() throws -> [Case] {
        let path = Golden.folder + "/bad-safetensors/expected.json"
        let cases = try JSONCursor(JSON.read(path), file: path).member("cases").elements()
        return try cases.map { Case(name: try $0.member("file").string(), expected: $0) }
    }

    @Test func theListIsThere() throws {
        let cases = try Self.cases()
        #expect(cases.count >= 90)
        #expect(Self.stricter.isSubset(of: cases.map(\.name)))
    }

    @Test(arguments: try cases())
    func verdict(_ test: Case) throws {
        let path = Golden.folder + "/bad-safetensors/" + test.name
        let isAccepted = try test.expected.member("verdict").string() == "accept"
        guard isAccepted, !Self.stricter.contains(test.name) else {
            let failure = error { _ = try SafeTensors(path: path) }
            #expect(failure?.exit == .badData)
            #expect(failure?.location?.file.hasPrefix(path) == true)
            return
        }
        let file = try SafeTensors(path: path)
        let expected = try test.expected.member("tensors").members()
        #expect(file.tensors.count == expected.count)
        for (name, info) in expected {
            let tensor = try file.tensor(name)
            #expect(try tensor.type.rawValue == info.member("dtype").string())
            #expect(try tensor.shape == info.member("shape").elements().map { try $0.int() })
            #expect(try tensor.bytes == info.member("nbytes").int())
            #expect(try ContentHash.hexadecimal(of: file.read(name)) == info.member("sha256").string())
        }
        let metadata = try test.expected.optional("metadata")?.members() ?? []
        #expect(file.metadata.count == metadata.count)
        for (key, value) in metadata { #expect(try file.metadata(key) == value.string()) }
    }

    @Test(arguments: [
        ("bad_lfs_pointer", "git lfs pull"), ("bad_gguf", "GGUF"), ("bad_zip", "PyTorch"), ("bad_npy", "NumPy"),
        ("bad_empty_file", "empty"), ("bad_truncated_data", "incomplete download"),
    ])
    func helpSaysWhatItIs(name: String, help: String) {
        let failure = error { _ = try SafeTensors(path: Golden.folder + "/bad-safetensors/\(name).safetensors") }
        #expect(failure?.help.contains(help) == true, "\(failure?.help ?? "")")
    }

    @Test(arguments: [
        ("bad_dup_key", ":1:"), ("bad_json_comma", "(header):1:136"), ("bad_json_nan", "(header):1:"),
        ("bad_hole", "leaves a gap"), ("bad_overlap", "overlaps"), ("bad_trailing_data", "belong to nothing"),
        ("bad_dtype_lower", "'f32'"), ("bad_shape_negative", "'a.shape[0]'"),
        ("bad_shape_overflow", "tensor 'weight'"), ("bad_subbyte", "whole bytes"),
    ])
    func messagesNameThePlace(name: String, part: String) {
        let failure = error { _ = try SafeTensors(path: Golden.folder + "/bad-safetensors/\(name).safetensors") }
        #expect(failure?.description.contains(part) == true, "\(failure?.description ?? "")")
    }
}

@Suite struct SafeTensorsTests {
    private func file(header: String, data: Int = 0) throws -> TemporaryFile {
        let text = Array(header.utf8)
        let length = (0..<8).map { UInt8(truncatingIfNeeded: text.count >> ($0 * 8)) }
        return try TemporaryFile(length + text + [UInt8](repeating: 0, count: data))
    }

    @Test func missingFileAndDirectory() {
        #expect(error { _ = try SafeTensors(path: "/nonexistent/x") }?.exit == .missingInput)
        #expect(error { _ = try SafeTensors(path: "/") }?.exit == .badData)
    }

    @Test func limitsHold() throws {
        func entry(name: String, shape: String) -> String {
            "{\"\(name)\":{\"dtype\":\"U8\",\"shape\":\(shape),\"data_offsets\":[0,1]}}"
        }
        let longest = String(repeating: "n", count: 1024)
        let accepted = try file(header: entry(name: longest, shape: "[1]"), data: 1)
        #expect(try SafeTensors(path: accepted.path).tensors.first?.name == longest)
        let refused = [
            entry(name: longest + "n", shape: "[1]"), entry(name: "a", shape: "[1,1,1,1,1,1,1,1,1]"),
            "{\"a\":[\"U8\",[1],[0,1]]}", "{\"a\":{\"dtype\":\"U8\",\"shape\":[-0],\"data_offsets\":[0,1]}}",
        ]
        for header in refused {
            let file = try file(header: header, data: 1)
            #expect(error { _ = try SafeTensors(path: file.path) }?.exit == .badData, "\(header)")
        }
    }

    @Test func everyTruncationAndByteFlipIsAnError() throws {
        let path = Golden.folder + "/bad-safetensors/ok_all_dtypes.safetensors"
        let good = try InputFile.read(path, limit: 1 << 20)
        for length in stride(from: 0, to: good.count, by: 13) {
            let file = try TemporaryFile(Array(good[..<length]))
            #expect(error { _ = try SafeTensors(path: file.path) }?.exit == .badData)
        }
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<300 {
            var mutated = good
            mutated[Int.random(in: 0..<900, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            let file = try TemporaryFile(mutated)
            do {
                let opened = try SafeTensors(path: file.path)
                for tensor in opened.tensors { _ = try opened.read(tensor.name) }
            } catch {
                #expect(error.exit == .badData)
            }
        }
    }

    @Test func typedAccess() throws {
        let file = try SafeTensors(path: Golden.folder + "/bad-safetensors/ok_all_dtypes.safetensors")
        for tensor in file.tensors {
            switch tensor.type {
            case .float32, .float16, .bfloat16, .float8E4M3, .float8E5M2:
                #expect(try file.floats(tensor.name).count == 6)
                #expect(try file.doubles(tensor.name).count == 6)
                #expect(error { _ = try file.int64s(tensor.name) }?.why.contains("an integer type") == true)
            case .float64:
                #expect(try file.doubles(tensor.name).count == 6)
                #expect(error { _ = try file.floats(tensor.name) }?.exit == .badData)
            default:
                #expect(try file.int64s(tensor.name).count == 6)
                #expect(error { _ = try file.floats(tensor.name) }?.exit == .badData)
            }
        }
        let missing = error { _ = try file.read("t_F23") }
        #expect(missing?.exit == .badData)
        #expect(missing?.help.hasPrefix("Did you mean 't_F") == true)
        let wrongBuffer = error {
            try file.read("t_F32", into: UnsafeMutableRawBufferPointer(start: nil, count: 0))
        }
        #expect(wrongBuffer?.exit == .internalBug)
    }

    /// Every bit pattern of the small formats, where the full goldens are there: bit by bit, NaN by class.
    @Test(.enabled(if: Golden.optional("misc/number_formats.safetensors") != nil))
    func numberFormats() throws {
        let file = try SafeTensors(path: Golden.folder + "/misc/number_formats.safetensors")
        let tables: [(bits: String, floats: String, convert: (Int64) -> Float)] = [
            ("f16_bits", "f16_as_f32", { FloatFormats.float(float16: UInt16(truncatingIfNeeded: $0)) }),
            ("bf16_bits", "bf16_as_f32", { FloatFormats.float(bfloat16: UInt16(truncatingIfNeeded: $0)) }),
            ("f8_bits", "f8_e4m3fn_as_f32", { FloatFormats.float(float8E4M3: UInt8(truncatingIfNeeded: $0)) }),
            ("f8_bits", "f8_e5m2_as_f32", { FloatFormats.float(float8E5M2: UInt8(truncatingIfNeeded: $0)) }),
        ]
        for table in tables {
            let computed = try file.int64s(table.bits).map(table.convert)
            let expected = try file.floats(table.floats)
            #expect(computed.count == expected.count)
            let wrong = zip(computed, expected).count { one, other in
                one.isNaN != other.isNaN || (!one.isNaN && one.bitPattern != other.bitPattern)
            }
            #expect(wrong == 0, "\(table.floats)")
        }
    }
}

@Suite struct SafeTensorsWriterTests {
    @Test func roundTrip() throws {
        let target = try TemporaryFile()
        let floats: [Float] = [1, -0.0, .nan, .infinity, .leastNonzeroMagnitude, .greatestFiniteMagnitude]
        let integers: [Int64] = [.min, -1, .max]
        try SafeTensorsWriter.write(
            path: target.path,
            tensors: [
                (.init(name: "b\u{0}\"é", type: .float32, shape: [2, 3]), floats.withUnsafeBytes(Array.init)),
                (.init(name: "flag", type: .bool, shape: []), [2]),
                (.init(name: "empty", type: .float16, shape: [0, 4]), []),
                (.init(name: "a", type: .int64, shape: [3]), integers.withUnsafeBytes(Array.init)),
            ],
            metadata: [("format", "pt"), ("k\n", "\u{1F600}")])
        let file = try SafeTensors(path: target.path)
        #expect(file.tensors.map(\.name) == ["b\u{0}\"é", "flag", "empty", "a"])
        #expect(try file.floats("b\u{0}\"é").map(\.bitPattern) == floats.map(\.bitPattern))
        #expect(try file.int64s("flag") == [1])
        #expect(try file.int64s("a") == integers)
        #expect(try file.floats("empty") == [])
        #expect(file.metadata("k\n") == "\u{1F600}")
        let bytes = try InputFile.read(target.path, limit: 1 << 20)
        #expect(bytes[0] % 8 == 0)
        #expect(file.tensors[0].fileOffset % 8 == 0)
    }

    @Test func someIntegersOfATensor() throws {
        let target = try TemporaryFile()
        let (short, long): ([Int16], [UInt64]) = ([5, -6, 7, 8, -9], [1, 2, 1 << 63, 4])
        try SafeTensorsWriter.write(
            path: target.path,
            tensors: [
                (.init(name: "short", type: .int16, shape: [5]), short.withUnsafeBytes(Array.init)),
                (.init(name: "long", type: .uint64, shape: [4]), long.withUnsafeBytes(Array.init)),
            ])
        let file = try SafeTensors(path: target.path)
        #expect(try file.int64s("short", from: 1, count: 3) == [-6, 7, 8])
        #expect(try file.int64s("short", from: 5, count: 0) == [])
        #expect(try file.int64s("long", from: 0, count: 2) == [1, 2])
        let large = error { _ = try file.int64s("long", from: 1, count: 3) }
        #expect(large?.exit == .badData && large?.why == "element 2 is 9223372036854775808")
        for (first, count) in [(3, 3), (6, 0), (-1, 2), (0, -1)] {
            let beyond = error { _ = try file.int64s("short", from: first, count: count) }
            #expect(beyond?.exit == .internalBug, "\(count) from \(first)")
        }
    }

    @Test func canReplaceTheFileItReads() throws {
        let target = try TemporaryFile()
        let declaration = SafeTensorsWriter.Declaration(name: "w", type: .float32, shape: [3])
        let first = try SafeTensorsWriter(path: target.path, tensors: [declaration])
        try first.write([1, 2, 3] as [Float])
        try first.commit()
        let reader = try SafeTensors(path: target.path)
        let second = try SafeTensorsWriter(path: target.path, tensors: [declaration])
        try second.write(reader.floats("w").map { $0 * 2 })
        try second.commit()
        #expect(try reader.floats("w") == [1, 2, 3])
        #expect(try SafeTensors(path: target.path).floats("w") == [2, 4, 6])
    }

    @Test func refusesWhatNobodyCouldRead() throws {
        let target = try TemporaryFile()
        let good = SafeTensorsWriter.Declaration(name: "a", type: .uint8, shape: [1])
        let refused: [[SafeTensorsWriter.Declaration]] = [
            [good, good], [.init(name: "__metadata__", type: .uint8, shape: [1])],
            [.init(name: "a", type: .float4, shape: [1])], [.init(name: "a", type: .uint8, shape: [-1])],
            [.init(name: "a", type: .uint8, shape: [.max]), .init(name: "b", type: .uint8, shape: [.max])],
            [.init(name: "a", type: .uint8, shape: [Int](repeating: 1, count: 9))],
        ]
        for tensors in refused {
            #expect(error { _ = try SafeTensorsWriter(path: target.path, tensors: tensors) }?.exit == .internalBug)
        }
        let writer = try SafeTensorsWriter(path: target.path, tensors: [good])
        #expect(error { try writer.write([1, 2] as [UInt8]) }?.exit == .internalBug)
        #expect(error { try writer.commit() }?.what.contains("1 bytes missing") == true)
        #expect(error { _ = try InputFile(path: target.path) }?.exit == .missingInput)
    }
}
