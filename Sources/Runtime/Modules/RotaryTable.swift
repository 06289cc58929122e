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
        /// Dynamic NTK: once a text is longer than originalPositions, theta grows with its length, so that the slowest frequency is
        /// stretched by about factor · length / originalPositions − (factor − 1). All positions of a pass are turned by its longest text's.
        case dynamic(factor: Double, originalPositions: Int)
        case yarn(YaRN)

        /// Whether frequencies depend on how far a text reaches.
        public func depends(onReach reach: Int) -> Bool {
            if case .dynamic(_, let original) = self { reach > original } else { false }
        }
    }

    /// YaRN (Peng et al. 2023, arXiv:2309.00071): frequencies that turn fewer than `slow` times within originalPositions are divided by
    /// the factor, those that turn more than `fast` times stay, in between a mixture by number; cosines and sines are multiplied by
    /// `attentionFactor`, which makes attention sharper.
    public struct YaRN: Sendable, Equatable {
        public var factor: Double
        public var originalPositions: Int
        public var fast = 32.0
        public var slow = 1.0
        /// 0.1 ln(factor) + 1 unless said otherwise.
        public var attentionFactor: Double
        /// Whether the numbers of the frequencies between which is mixed are made whole.
        public var truncates = true

        public init(factor: Double, originalPositions: Int) {
            self.factor = factor
            self.originalPositions = originalPositions
            attentionFactor = Self.attentionFactor(factor)
        }

        /// - `weight`: of the logarithm ("mscale").
        public static func attentionFactor(_ factor: Double, weight: Double = 1) -> Double {
            factor <= 1 ? 1 : 0.1 * weight * log(factor) + 1
        }

        /// How much of frequency i of a head of `width` numbers is divided, 0 … 1.
        func share(_ i: Int, width: Int, theta: Double) -> Double {
            // The number, not whole, of the frequency that turns so often.
            func number(_ turns: Double) -> Double {
                Double(width) * log(Double(originalPositions) / (turns * 2 * .pi)) / (2 * log(theta))
            }
            var (low, high) = (number(fast), number(slow))
            if truncates { (low, high) = (low.rounded(.down), high.rounded(.up)) }
            (low, high) = (max(low, 0), min(high, Double(width - 1)))
            if low == high { high += 0.001 }
            return min(1, max(0, (Double(i) - low) / (high - low)))
        }
    }
    /// `[positions, width / 2]`.
    public let cosines: View
    public let sines: View

    /// - `width`: numbers of a head; even.
    /// - `positions`: rows of the table: positions 0 ..< positions can be looked up.
    /// - `reach`: tokens of the longest text, where frequencies depend on that; nil: as many as there are positions.
    public init(
        width: Int, theta: Double, scaling: Scaling = .none, positions: Int, reach: Int? = nil,
        on device: ComputeDevice
    ) throws {
        guard width > 0, width % 2 == 0, theta > 0, positions >= 0 else {
            throw TensorError("rotary embedding of heads of \(width) numbers, theta \(theta), \(positions) positions")
        }
        let frequencies = Self.frequencies(width: width, theta: theta, scaling: scaling, reach: reach ?? positions)
        let factor = if case .yarn(let yarn) = scaling { yarn.attentionFactor } else { 1.0 }
        // In double: an angle of thousands of radians has few digits left in single precision.
        let angles = (0..<positions).flatMap { position in frequencies.map { Double(position) * $0 } }
        cosines = try device.view(angles.map { Float(factor * cos($0)) }, [positions, width / 2])
        sines = try device.view(angles.map { Float(factor * sin($0)) }, [positions, width / 2])
    }

    /// Radians a position, fastest first.
    /// - Parameter reach: tokens of the longest text.
    static func frequencies(width: Int, theta: Double, scaling: Scaling, reach: Int = 0) -> [Double] {
        var theta = theta
        if case .dynamic(let factor, let original) = scaling, reach > original, width > 2 {
            let stretch = factor * Double(reach) / Double(original) - (factor - 1)
            theta *= pow(stretch, Double(width) / Double(width - 2))
        }
        return (0..<(width / 2)).map { i in
            let frequency = pow(theta, -2 * Double(i) / Double(width))
            switch scaling {
            case .none, .dynamic: return frequency
            case .linear(let factor): return frequency / factor
            case .llama3(let factor, let low, let high, let original):
                let turns = Double(original) * frequency / (2 * .pi)
                if turns < low { return frequency / factor }
                if turns > high { return frequency }
                let share = (turns - low) / (high - low)
                return (1 - share) * frequency / factor + share * frequency
            case .yarn(let yarn):
                let share = yarn.share(i, width: width, theta: theta)
                return share * frequency / yarn.factor + (1 - share) * frequency
            }
        }
    }
}

extension Tensor {
    /// Heads `[tokens, heads · width]` turned to their positions, int32 `[tokens]`, stored as they are; a position outside the table gives
    /// NaN.
    public func rotated(
        _ table: RotaryTable, positions: View, heads: Int, pairing: RotaryEmbedding.Pairing = .halves
    ) throws -> Tensor {
        let x = try view.rows == nil ? contiguousView() : view
        let y = try device.empty(shape, dtype)
        func turn(_ x: View, _ y: Output, inverse: Bool) throws {
            try run(
                RotaryEmbedding(pairing, heads: heads, inverse: inverse),
                .init(x: x, positions: positions, cosines: table.cosines, sines: table.sines, y: y), on: device)
        }
        try turn(x, .write(y), inverse: false)
        guard Autograd.records(node) else { return Tensor(y, device) }
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            try turn(try node.dense(gradient), try input!.sink(), inverse: true)
        }
    }
}
