/// The text a JSON value was parsed from, kept to say at which line and column a value stands.
public final class JSONSource: Sendable {
    /// A step from a value to one inside it.
    enum Step: Sendable {
        case key(String)
        case index(Int)
    }

    private let bytes: [UInt8]
    private let origin: SourceOrigin

    /// - Parameters:
    ///   - bytes: a text that `JSON.parse` has accepted.
    ///   - origin: where in its file it begins.
    init(_ bytes: [UInt8], origin: SourceOrigin = .start) {
        self.bytes = bytes
        self.origin = origin
    }

    /// Where the value stands that `steps` lead to; the last value found when they lead nowhere.
    func position(of steps: [Step]) -> SourcePosition {
        var offset = skippingSpace(0)
        for step in steps {
            guard let next = offsetOfChild(step, from: offset) else { break }
            offset = next
        }
        return SourcePosition(offset: offset, in: bytes, origin: origin)
    }

    private func offsetOfChild(_ step: Step, from start: Int) -> Int? {
        var offset = skippingSpace(start + 1)
        var index = 0
        while offset < bytes.count, bytes[offset] != UInt8(ascii: "}"), bytes[offset] != UInt8(ascii: "]") {
            var isWanted = false
            if bytes[start] == UInt8(ascii: "{") {
                let end = end(ofStringAt: offset)
                if case .key(let key) = step { isWanted = isKey(key, offset..<end) }
                // Over the colon to the value.
                offset = skippingSpace(skippingSpace(end) + 1)
            } else if case .index(index) = step {
                isWanted = true
            }
            if isWanted { return offset }
            offset = skippingSpace(end(ofValueAt: offset))
            if offset < bytes.count, bytes[offset] == UInt8(ascii: ",") { offset = skippingSpace(offset + 1) }
            index += 1
        }
        return nil
    }

    /// Keys may be written with escapes; parsing the key again resolves them.
    private func isKey(_ key: String, _ range: Range<Int>) -> Bool {
        let written = bytes[range.lowerBound + 1..<range.upperBound - 1]
        if !written.contains(UInt8(ascii: "\\")) { return written.elementsEqual(key.utf8) }
        return (try? JSON.parse(Array(bytes[range]), file: "")) == .string(key)
    }

    private func skippingSpace(_ start: Int) -> Int {
        var offset = start
        while offset < bytes.count, bytes[offset] <= 0x20 { offset += 1 }
        return offset
    }

    private func end(ofStringAt start: Int) -> Int {
        var offset = start + 1
        while offset < bytes.count, bytes[offset] != UInt8(ascii: "\"") {
            offset += bytes[offset] == UInt8(ascii: "\\") ? 2 : 1
        }
        return min(offset + 1, bytes.count)
    }

    private func end(ofValueAt start: Int) -> Int {
        var offset = start
        var depth = 0
        while offset < bytes.count {
            switch bytes[offset] {
            case UInt8(ascii: "\""):
                offset = end(ofStringAt: offset)
                if depth == 0 { return offset }
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if depth == 0 { return offset }
                depth -= 1
                if depth == 0 { return offset + 1 }
            case UInt8(ascii: ",") where depth == 0: return offset
            default: break
            }
            offset += 1
        }
        return offset
    }
}
