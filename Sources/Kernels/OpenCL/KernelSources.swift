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

    /// In place of a file: all files whose kernels are built without options of their own (`apart` have them). PoCL spends 10 to
    /// 20 ms on every program it has built before, nearly all of it on its own headers, so one program starts faster than ten.
    static let together = "all kernels"
    private static let apart: Set = ["attention.cl", "gemm.cl", "conv.cl"]

    /// What the compiler gets for `file`: dialect, shared mathematics, the file. `#line` lets the build log name our files.
    static func program(_ file: String) -> String {
        let files = file == together ? all.keys.filter { $0.hasSuffix(".cl") && !apart.contains($0) }.sorted() : [file]
        return (["prelude.clh", "math.clh"] + files).map { name in
            guard let text = all[name] else { preconditionFailure("no kernel file \(name); add it to kernels/embed.c") }
            return "#line 1 \"\(name)\"\n\(text)\n"
        }.joined()
    }
}
