import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport

/// Conversions between number formats, bit by bit; NaN by class. The suite is a set of tables: each result is a case.
struct NumberFormatFamily: GoldenFamily {
    private struct Conversion {
        let from: DType
        /// The table that goes in.
        let input: String
        let to: DType
    }

    /// By the table that must come out.
    private static let conversions: [String: Conversion] = [
        "f16_as_f32": Conversion(from: .f16, input: "f16_bits", to: .f32),
        "bf16_as_f32": Conversion(from: .bf16, input: "bf16_bits", to: .f32),
        "f8_e4m3fn_as_f32": Conversion(from: .f8e4m3, input: "f8_bits", to: .f32),
        "f8_e5m2_as_f32": Conversion(from: .f8e5m2, input: "f8_bits", to: .f32),
        "f32_to_f16_bits": Conversion(from: .f32, input: "f32_values", to: .f16),
        "f32_to_bf16_bits": Conversion(from: .f32, input: "f32_values", to: .bf16),
    ]

    /// Every table of the file that is not an input of a conversion, known or not, and every conversion we have.
    func caseNames(_ suite: GoldenSuite) throws -> [String] {
        try suite.root.expectKeys(["file", "doc", "reference", "family"])
        let inputs = Set(Self.conversions.values.map(\.input))
        let tables = try suite.openTensors().tensors.map(\.name).filter { !inputs.contains($0) }
        return Set(tables).union(Self.conversions.keys).sorted()
    }

    func run(_ name: String, of suite: GoldenSuite, _ tensors: SafeTensors?, on device: Device) throws
        -> GoldenResult.Outcome
    {
        guard let conversion = Self.conversions[name] else {
            throw RetortError.badData("the table \(name.quoted(limit: 200)) is not known")
        }
        guard let tensors else { throw suite.root.failure("it names no safetensors file") }
        let input = try Self.bits(conversion.input, tensors)
        let expected = try Self.bits(name, tensors)
        guard input.count == expected.count, !input.isEmpty else {
            throw RetortError.badData("the tables \(conversion.input) and \(name) differ in length")
        }
        let x = try Self.view(input, conversion.from, device.compute)
        let y = try device.compute.empty([input.count], conversion.to)
        try RetortKernels.run(Convert(), .init(x: x, y: y), on: device.compute)
        return Self.verdict(try Self.read(y, device.compute), expected, conversion.to, name)
    }

    private static func verdict(_ actual: [UInt32], _ expected: [UInt32], _ type: DType, _ name: String)
        -> GoldenResult.Outcome
    {
        let wrong = actual.indices.filter { index in
            actual[index] != expected[index] && !(isNaN(actual[index], type) && isNaN(expected[index], type))
        }
        guard let first = wrong.first else { return .passed(comparisons: 1) }
        let place = GoldenFailure.Place(
            index: [first], actual: Double(actual[first]), expected: Double(expected[first]), tolerance: 0)
        return .failed([
            GoldenFailure(tensor: name, message: "\(wrong.count) of \(actual.count) bit patterns differ", worst: place)
        ])
    }

    private static func isNaN(_ bits: UInt32, _ type: DType) -> Bool {
        switch type {
        case .f16: bits & 0x7C00 == 0x7C00 && bits & 0x03FF != 0
        case .bf16: bits & 0x7F80 == 0x7F80 && bits & 0x007F != 0
        default: Float(bitPattern: bits).isNaN
        }
    }

    /// A table as bit patterns.
    private static func bits(_ name: String, _ tensors: SafeTensors) throws -> [UInt32] {
        let tensor = try tensors.tensor(name)
        if tensor.type == .float32 { return try tensors.floats(name).map(\.bitPattern) }
        return try tensors.int64s(name).map { UInt32(truncatingIfNeeded: $0) }
    }

    private static func view(_ bits: [UInt32], _ type: DType, _ device: ComputeDevice) throws -> View {
        switch type.size {
        case 1: try device.view(bits.map { UInt8(truncatingIfNeeded: $0) }, [bits.count], type)
        case 2: try device.view(bits.map { UInt16(truncatingIfNeeded: $0) }, [bits.count], type)
        default: try device.view(bits, [bits.count], type)
        }
    }

    private static func read(_ view: View, _ device: ComputeDevice) throws -> [UInt32] {
        switch view.dtype.size {
        case 1: try device.read(view, as: UInt8.self).map(UInt32.init)
        case 2: try device.read(view, as: UInt16.self).map(UInt32.init)
        default: try device.read(view, as: UInt32.self)
        }
    }
}
