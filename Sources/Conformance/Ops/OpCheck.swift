import Foundation
import RetortKernels
import RetortRuntime

/// Runs one case on one device and looks at everything it did: results, places it must not touch, inputs, repeatability.
struct OpCheck {
    /// What was found wrong, in words; empty when nothing was.
    private(set) var problems: [String] = []
    /// The largest error, as a share of what is allowed.
    private(set) var worst = 0.0
    /// The largest error of an output, relative to the largest number that it should hold.
    private(set) var relative = 0.0

    /// Elements of sentinel in front of and behind every operand; a multiple of 16 keeps an offset of 0 aligned. None where buffers
    /// end with their operand, because a tool watches their bounds.
    private static let fence = ProcessInfo.processInfo.environment["RETORT_ISOLATED_BUFFERS"] == "1" ? 0 : 64
    /// NaN patterns of our own: a kernel that reads beyond its rows and uses what it finds gives NaN, one that writes there is
    /// seen, and an output element that still holds `poison` was never written.
    private static let sentinel: UInt32 = 0x7FD5_A5A5
    private static let poison: UInt32 = 0x7FDE_ADAD

    init(_ opCase: OpCase, expecting expected: [String: Expected], on device: Device) {
        do {
            let first = try Self.execute(opCase, on: device.compute)
            for array in opCase.arrays {
                examine(array, first[array.name]!, expected[array.name])
            }
            let second = try Self.execute(opCase, on: device.compute)
            for array in opCase.arrays where first[array.name]! != second[array.name]! {
                problems.append("\(array.name): two runs differ")
            }
        } catch {
            problems.append("threw: \(error)")
        }
    }

    /// Looks at operands where they lie, after a run of the call that `place` made them for.
    init(
        _ opCase: OpCase, in wholes: [String: View], expecting expected: [String: Expected], on device: ComputeDevice
    ) throws {
        for array in opCase.arrays {
            examine(array, try Self.readBits(wholes[array.name]!, device), expected[array.name])
        }
    }

    /// Gives operands that a call updates what they held before the first.
    static func restoreUpdated(_ opCase: OpCase, in wholes: [String: View], on device: ComputeDevice) throws {
        for array in opCase.arrays where array.isUpdated {
            try writeBits(surrounded(array), to: wholes[array.name]!, device)
        }
    }

    /// The raw memory of every operand after a run, fences included, element by element.
    private static func execute(_ opCase: OpCase, on device: ComputeDevice) throws -> [String: [UInt32]] {
        let (operands, wholes) = try place(opCase, on: device)
        try opCase.invoke(operands)
        return try wholes.mapValues { try readBits($0, device) }
    }

    /// Operands on the device, and the buffers around them.
    static func place(_ opCase: OpCase, on device: ComputeDevice) throws -> (OperandViews, wholes: [String: View]) {
        var views: [String: View] = [:]
        var wholes: [String: View] = [:]
        for array in opCase.arrays {
            let memory = surrounded(array)
            let whole = try device.empty([memory.count], array.dtype, for: .data)
            try writeBits(memory, to: whole, device)
            wholes[array.name] = whole
            views[array.name] = View(
                storage: whole.storage, offset: fence + array.layout.offset, shape: Dimensions(array.shape),
                strides: Dimensions(array.strides), dtype: array.dtype)
        }
        return (OperandViews(device: device, views: views), wholes)
    }

    /// An operand's memory before the run.
    private static func surrounded(_ array: HostArray) -> [UInt32] {
        let start = fence + array.layout.offset
        var memory = [UInt32](
            repeating: narrowed(sentinel, array.dtype), count: start + array.span + fence)
        for (i, position) in array.positions.enumerated() {
            memory[start + position] = array.bits?[i] ?? narrowed(poison, array.dtype)
        }
        return memory
    }

    /// One of our patterns as it stands in an operand: NaN in bf16 too, where it is the upper half.
    private static func narrowed(_ pattern: UInt32, _ dtype: DType) -> UInt32 {
        if dtype == .bf16 { return pattern >> 16 }
        return dtype.size == 4 ? pattern : pattern & ((1 << (8 * UInt32(dtype.size))) - 1)
    }

    private static func number(_ bits: UInt32, _ dtype: DType) -> Double {
        switch dtype {
        case .i32: Double(Int32(bitPattern: bits))
        case .bf16: Double(Float(bitPattern: bits << 16))
        default: Double(Float(bitPattern: bits))
        }
    }

    private static func writeBits(_ bits: [UInt32], to view: View, _ device: ComputeDevice) throws {
        switch view.dtype.size {
        case 4: try device.write(bits, to: view)
        case 2: try device.write(bits.map(UInt16.init(truncatingIfNeeded:)), to: view)
        default: try device.write(bits.map(UInt8.init(truncatingIfNeeded:)), to: view)
        }
    }

    private static func readBits(_ view: View, _ device: ComputeDevice) throws -> [UInt32] {
        switch view.dtype.size {
        case 4: try device.read(view, as: UInt32.self)
        case 2: try device.read(view, as: UInt16.self).map(UInt32.init)
        default: try device.read(view, as: UInt8.self).map(UInt32.init)
        }
    }

    private mutating func examine(_ array: HostArray, _ after: [UInt32], _ expected: Expected?) {
        let before = Self.surrounded(array)
        guard array.isOutput else {
            if let at = before.indices.first(where: { before[$0] != after[$0] }) {
                problems.append("\(array.name): an input was changed, at memory element \(at - Self.fence)")
            }
            return
        }
        let start = Self.fence + array.layout.offset
        let positions = array.positions
        var outside = zip(before, after).map { $0 != $1 }
        for position in positions { outside[start + position] = false }
        if let at = outside.firstIndex(of: true) {
            problems.append("\(array.name): written outside the view, at memory element \(at - start) from its first")
        }
        guard let expected else {
            problems.append("\(array.name): the description expects nothing of this output")
            return
        }
        compare(array, positions.map { after[start + $0] }, expected)
    }

    private mutating func compare(_ array: HostArray, _ bits: [UInt32], _ expected: Expected) {
        if let count = expected.count, count != bits.count {
            problems.append("\(array.name): the reference has \(count) elements, the output \(bits.count)")
            return
        }
        let poison = Self.narrowed(Self.poison, array.dtype)
        let isNumber = array.dtype.size == 4 || array.dtype == .bf16
        var wrong = 0
        var unwritten = 0
        var worstAt = (index: 0, share: -1.0)
        var (difference, largest) = (0.0, 0.0)
        for (i, pattern) in bits.enumerated() {
            if pattern == poison, array.bits == nil, isNumber { unwritten += 1 }
            let value = Self.number(pattern, array.dtype)
            let share = expected.share(i, value, bits: pattern)
            if share > worstAt.share { worstAt = (i, share) }
            if !(share <= 1) { wrong += 1 }
            if let target = expected.number(i), target.isFinite, value.isFinite {
                difference = max(difference, abs(value - target))
                largest = max(largest, abs(target))
            }
        }
        relative = max(relative, largest > 0 ? difference / largest : difference)
        worst = max(worst, worstAt.share)
        if unwritten > 0 { problems.append("\(array.name): \(unwritten) of \(bits.count) elements were never written") }
        guard wrong > 0 else { return }
        let i = worstAt.index
        let found =
            array.dtype == .i32
            ? "\(Int32(bitPattern: bits[i]))"
            : isNumber ? "\(Float(Self.number(bits[i], array.dtype)))" : "0x" + String(bits[i], radix: 16)
        problems.append(
            "\(array.name): \(wrong) of \(bits.count) elements are wrong; worst at \(Self.place(i, array.shape)): \(found), "
                + "expected \(expected.text(i))")
    }

    /// "(3, 17)": a row-major index as coordinates.
    private static func place(_ index: Int, _ shape: [Int]) -> String {
        var rest = index
        var coordinates: [Int] = []
        for size in shape.reversed() where size > 0 {
            coordinates.insert(rest % size, at: 0)
            rest /= size
        }
        return "(" + coordinates.map(String.init).joined(separator: ", ") + ")"
    }
}
