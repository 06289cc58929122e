/// A device an op can run on.
public enum ComputeDevice: Sendable {
    case cpu(CPUDevice)
    case openCL(OpenCLDevice)
    case planned(PlannedDevice)

    /// Fresh memory for `count` elements. Its content is undefined.
    public func allocate(_ count: Int, _ dtype: DType = .f32, for purpose: Purpose) throws -> Storage {
        let (bytes, overflow) = count.multipliedReportingOverflow(by: dtype.size)
        guard !overflow, count >= 0 else {
            throw KernelError(.memory, "\(count) elements of \(dtype) do not fit in memory")
        }
        return switch self {
        case .cpu(let d): .host(try d.arena.allocate(bytes, for: purpose))
        case .openCL(let d): .openCL(try d.arena.allocate(bytes, for: purpose))
        case .planned(let d): .planned(try d.arena.allocate(bytes, for: purpose))
        }
    }

    /// A fresh contiguous view. Its content is undefined.
    public func empty(_ shape: Dimensions, _ dtype: DType = .f32, for purpose: Purpose = .activations) throws -> View {
        View(storage: try allocate(shape.product, dtype, for: purpose), shape: shape, dtype: dtype)
    }

    /// A view that holds `values`; T is the host type of `dtype` (Float for f32, Int32 for i32, UInt16 for f16 and bf16, …).
    public func view<T: BitwiseCopyable>(
        _ values: [T], _ shape: Dimensions, _ dtype: DType = .f32, for purpose: Purpose = .data
    ) throws -> View {
        precondition(
            values.count == shape.product && MemoryLayout<T>.size == dtype.size, "\(values.count) \(shape)")
        let view = try empty(shape, dtype, for: purpose)
        try write(values, to: view)
        return view
    }

    /// Copies host values into a contiguous view; returns when they are there.
    public func write<T: BitwiseCopyable>(_ values: [T], to view: View) throws {
        precondition(view.isContiguous && values.count == view.count && MemoryLayout<T>.size == view.dtype.size)
        try values.withUnsafeBytes { try write($0, to: view) }
    }

    /// Copies the bytes of a contiguous view's elements into it.
    func write(_ bytes: UnsafeRawBufferPointer, to view: View) throws {
        guard !bytes.isEmpty else { return }
        switch (self, view.storage) {
        case (.cpu, .host(let block)):
            UnsafeMutableRawBufferPointer(start: block.pointer + view.offset * view.dtype.size, count: bytes.count)
                .copyMemory(from: bytes)
        case (.openCL(let d), .openCL(let block)):
            try d.write(bytes, to: block, at: view.offset * view.dtype.size)
        case (.planned, .planned): break
        default: throw mixedDevices
        }
    }

    /// The elements of a contiguous view, once everything enqueued before has run.
    public func read<T: BitwiseCopyable>(_ view: View, as type: T.Type = Float.self) throws -> [T] {
        precondition(view.isContiguous && MemoryLayout<T>.size == view.dtype.size, "read \(view.shape) \(view.strides)")
        guard view.count > 0 else { return [] }
        return try [T](unsafeUninitializedCapacity: view.count) { buffer, initialized in
            let bytes = UnsafeMutableRawBufferPointer(buffer)
            switch (self, view.storage) {
            case (.cpu, .host(let block)):
                bytes.copyMemory(
                    from: UnsafeRawBufferPointer(
                        start: block.pointer + view.offset * view.dtype.size, count: bytes.count))
            case (.openCL(let d), .openCL(let block)):
                try d.read(block, at: view.offset * view.dtype.size, into: bytes)
            case (.planned, .planned): _ = bytes.initializeMemory(as: UInt8.self, repeating: 0)
            default: throw mixedDevices
            }
            initialized = view.count
        }
    }

    /// Returns when everything enqueued so far has run.
    public func synchronize() throws {
        if case .openCL(let d) = self { try d.finish() }
    }

    public var memory: MemoryReport { arena.report }
    public func resetPeakMemory() { arena.resetPeak() }

    private var arena: Arena {
        switch self {
        case .cpu(let d): d.arena
        case .openCL(let d): d.arena
        case .planned(let d): d.arena
        }
    }

    /// What the user calls it: `cpu`, `opencl:0`.
    public var name: String {
        switch self {
        case .cpu: "cpu"
        case .openCL(let d): "opencl:\(d.index)"
        case .planned: "planned"
        }
    }

    private var mixedDevices: KernelError {
        KernelError(.operands, "a view of another device was passed to \(name)", help: "copy it with to(device) first")
    }
}
