import RetortData
import RetortRuntime
import RetortSupport

/// What the numbers of saved weights are.
public enum SavedType: String, Sendable, CaseIterable {
    case f32, bf16, f16

    var element: ElementType {
        switch self {
        case .f32: .float32
        case .bf16: .bfloat16
        case .f16: .float16
        }
    }

    /// What config.json calls it.
    var torchName: String {
        switch self {
        case .f32: "float32"
        case .bf16: "bfloat16"
        case .f16: "float16"
        }
    }

    /// Writes numbers as the nearest of this type, ties to even.
    /// - Parameter name: whose they are, for errors.
    /// - Throws: `RetortError` 65 for a finite number that it cannot hold, 74.
    func send(_ values: UnsafeBufferPointer<Float>, of name: String, to writer: SafeTensorsWriter) throws {
        guard self != .f32 else { return try writer.write(UnsafeRawBufferPointer(values)) }
        try bits(values, of: name).withUnsafeBytes { try writer.write($0) }
    }

    /// Makes every parameter and buffer of modules the nearest number of this type: what they say then is what models that are read from
    /// their files say.
    /// - Throws: `RetortError` 65 for a finite number that the type cannot hold; nothing was changed then, in none of them.
    public func roundWeights(of modules: [any Module]) throws {
        guard self != .f32 else { return }
        // All of them are looked at before one is changed.
        for module in modules {
            for parameter in module.parameters { _ = try rounded(parameter.values(), of: parameter.name) }
            for buffer in module.buffers { _ = try rounded(buffer.values(), of: buffer.name) }
        }
        for module in modules {
            for parameter in module.parameters {
                try parameter.assign(rounded(parameter.values(), of: parameter.name))
            }
            for buffer in module.buffers { try buffer.assign(rounded(buffer.values(), of: buffer.name)) }
        }
    }

    private func rounded(_ values: [Float], of name: String) throws -> [Float] {
        let bits = try values.withUnsafeBufferPointer { try self.bits($0, of: name) }
        return bits.map { self == .bf16 ? FloatFormats.float(bfloat16: $0) : FloatFormats.float(float16: $0) }
    }

    /// The nearest numbers of a type of 16 bits.
    private func bits(_ values: UnsafeBufferPointer<Float>, of name: String) throws -> [UInt16] {
        let round = self == .bf16 ? FloatFormats.bfloat16 : FloatFormats.float16
        // All bits of the exponent: infinite or no number.
        let exponent: UInt16 = self == .bf16 ? 0x7F80 : 0x7C00
        let rounded = values.map(round)
        if let place = rounded.indices.first(where: { rounded[$0] & exponent == exponent && values[$0].isFinite }) {
            throw RetortError.badData(
                "\(name.quoted(limit: 200)) holds \(values[place]), which \(rawValue) cannot hold",
                help: "convert to f32 or bf16")
        }
        return rounded
    }
}
