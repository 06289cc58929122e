internal import CKernels

/// The OpenCL C texts inside the binary, by file name.
enum KernelSources {
    static let all: [String: String] = {
        let table = UnsafeBufferPointer(start: ckernels_sources(), count: ckernels_source_count())
        return Dictionary(
            uniqueKeysWithValues: table.map { source in
                (
                    String(cString: source.name),
                    String(decoding: UnsafeRawBufferPointer(start: source.text, count: source.length), as: UTF8.self)
                )
            })
    }()

    /// What the compiler gets for `file`: dialect, shared mathematics, the file. `#line` lets the build log name our files.
    static func program(_ file: String) -> String {
        precondition(all[file] != nil, "no kernel file \(file); add it to kernels/embed.c")
        return ["prelude.clh", "math.clh", file].map { "#line 1 \"\($0)\"\n\(all[$0]!)\n" }.joined()
    }
}
