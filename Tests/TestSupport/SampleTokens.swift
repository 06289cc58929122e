import RetortData

/// Rows of ten numbers below 24 that count up, with a step that the first two tell.
public enum SampleTokens {
    /// `rows.safetensors`: 40 rows under `train`, 16 under `test`.
    public static func write(to folder: ScratchFolder) throws {
        func rows(_ numbers: Range<Int>) -> [Int16] {
            numbers.flatMap { row in (0..<10).map { Int16((row * 7 + $0 * (1 + row % 5)) % 24) } }
        }
        try SafeTensorsWriter.write(
            path: folder.path("rows.safetensors"),
            tensors: [("train", rows(0..<40)), ("test", rows(40..<56))].map { name, values in
                (
                    declaration: .init(name: name, type: .int16, shape: [values.count / 10, 10]),
                    bytes: values.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
                )
            })
    }
}
