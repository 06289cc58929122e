internal import CRows

/// fp32 numbers in the host's memory as bf16, rounded to nearest even; NaN stays NaN.
func roundToBF16(_ source: UnsafeBufferPointer<Float>, into target: UnsafeMutablePointer<UInt16>) {
    guard let from = source.baseAddress, !source.isEmpty else { return }
    crows().pointee.bf16_from_f32_range(0, source.count, from, target)
}
