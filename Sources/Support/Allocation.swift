import Glibc

/// Arrays whose size comes from a file. `Array` aborts the process when memory runs out; here that is an error.
public enum Allocation {
    /// An array of `count` elements of a plain number type, filled by `fill`, which gets zeroed memory.
    /// - `subject`: whose data it is ("tensor 'weight'"), for the error.
    /// - Throws: exit 65 when the size overflows or the system refuses the memory; whatever `fill` throws.
    public static func array<Element: BitwiseCopyable>(
        count: Int, of subject: String,
        fill: (UnsafeMutableBufferPointer<Element>) throws(RetortError) -> Void
    ) throws(RetortError) -> [Element] {
        let bitsPerElement = MemoryLayout<Element>.stride * 8
        let size = try CheckedSize(elements: count, bitsPerElement: bitsPerElement, of: subject)
        guard size.bytes > 0 else { return [] }
        // Ask first: the system answers where Array would abort. Not malloc, whose call an optimising compiler leaves out when
        // the memory is freed unused. Small requests are not worth the question.
        if size.bytes >= 1 << 20 {
            let probe = mmap(nil, size.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            guard let probe, probe != MAP_FAILED else {
                throw .badData(
                    "not enough memory for \(subject)", why: "it needs \(NumberFormat.bytes(size.bytes))",
                    help: "Use a smaller file, or a machine with more memory.")
            }
            munmap(probe, size.bytes)
        }
        var failure: RetortError?
        let array = [Element](unsafeUninitializedCapacity: count) { buffer, initialized in
            let elements = UnsafeMutableBufferPointer(rebasing: buffer[..<count])
            UnsafeMutableRawBufferPointer(elements).initializeMemory(as: UInt8.self, repeating: 0)
            initialized = count
            do throws(RetortError) {
                try fill(elements)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return array
    }
}
