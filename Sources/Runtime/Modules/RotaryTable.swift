import Foundation
import RetortKernels

/// Cosines and sines of every position and frequency: frequency i of a head of `width` numbers turns by theta^(−2i / width) radians a
/// position.
public struct RotaryTable: Sendable {
    /// How frequencies are stretched for contexts longer than those trained on.
    public enum Scaling: Sendable, Equatable {
        case none
        /// All by the factor.
        case linear(factor: Double)
        /// Llama 3.1: wavelengths longer than originalPositions / lowFrequencyFactor by the factor, shorter than originalPositions /
        /// highFrequencyFactor not at all, in between a mixture.
        case llama3(factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double, originalPositions: Int)
    }
    /// `[positions, width / 2]`.
    public let cosines: View
    public let sines: View

    /// - Parameters:
    ///   - width: numbers of a head; even.
    ///   - positions: rows of the table: positions 0 ..< positions can be looked up.
    public init(width: Int, theta: Double, scaling: Scaling = .none, positions: Int, on device: ComputeDevice) throws {
        guard width > 0, width % 2 == 0, theta > 0, positions >= 0 else {
            throw TensorError("rotary embedding of heads of \(width) numbers, theta \(theta), \(positions) positions")
        }
        let frequencies = Self.frequencies(width: width, theta: theta, scaling: scaling)
        // In double: an angle of thousands of radians has few digits left in single precision.
        let angles = (0..<positions).flatMap { position in frequencies.map { Double(position) * $0 } }
        cosines = try device.view(angles.map { Float(cos($0)) }, [positions, width / 2])
        sines = try device.view(angles.map { Float(sin($0)) }, [positions, width / 2])
    }

    /// Radians a position, fastest first.
    static func frequencies(width: Int, theta: Double, scaling: Scaling) -> [Double] {
        (0..<(width / 2)).map { i in
            let frequency = pow(theta, -2 * Double(i) / Double(width))
            switch scaling {
            case .none: return frequency
            case .linear(let factor): return frequency / factor
            case .llama3(let factor, let low, let high, let original):
                let turns = Double(original) * frequency / (2 * .pi)
                if turns < low { return frequency / factor }
                if turns > high { return frequency }
                let share = (turns - low) / (high - low)
                return (1 - share) * frequency / factor + share * frequency
            }
        }
    }
}

extension Tensor {
    /// Heads `[tokens, heads · width]` turned to their positions, int32 `[tokens]`; a position outside the table gives NaN.
    public func rotated(
        _ table: RotaryTable, positions: View, heads: Int, pairing: RotaryEmbedding.Pairing = .halves
    ) throws -> Tensor {
        let x = try device.wide(view.rows == nil ? contiguousView() : view)
        let y = try device.empty(shape)
        func turn(_ x: View, _ y: Output, inverse: Bool) throws {
            try run(
                RotaryEmbedding(pairing, heads: heads, inverse: inverse),
                .init(x: x, positions: positions, cosines: table.cosines, sines: table.sines, y: y), on: device)
        }
        try turn(x, .write(y), inverse: false)
        return Tensor.recorded(try device.stored(y, as: dtype), device, from: [self]) { [input = node] node, gradient in
            try turn(try node.dense(gradient), try input!.sink(), inverse: true)
        }
    }
}
