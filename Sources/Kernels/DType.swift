/// What one element of a view is stored as. A run-time value: an op lists the types it takes and refuses the rest.
public enum DType: String, Sendable, CaseIterable, CustomStringConvertible {
    case f32, bf16, f16, f8e4m3, f8e5m2, i32, u8

    /// Bytes of one element.
    public var size: Int {
        switch self {
        case .f32, .i32: 4
        case .bf16, .f16: 2
        case .f8e4m3, .f8e5m2, .u8: 1
        }
    }

    public var description: String { rawValue }
}
