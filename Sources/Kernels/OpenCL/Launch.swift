/// One argument of a kernel.
public enum KernelArgument: Sendable {
    /// A buffer; `nil` passes a null pointer, which the kernel must not touch.
    case buffer(Block?)
    case long(Int)
    case int(Int32)
    case float(Float)

    static func int(_ value: Int) -> KernelArgument { .int(Int32(value)) }
    static func flag(_ value: Bool) -> KernelArgument { .int(Int32(value ? 1 : 0)) }
}

/// Everything a kernel call is: the one seam for profiling, recording, replay and fault injection.
public struct Launch: Sendable {
    /// File in kernels/, without folder.
    public let file: String
    public let kernel: String
    /// `-D` switches beyond family and wanted kernel; part of the program's identity.
    public var options = ""
    public var arguments: [KernelArgument]
    /// Work-items and work-group size by dimension; global sizes are multiples of local ones.
    public var global: (Int, Int, Int)
    public var local: (Int, Int, Int)

    public init(
        _ file: String, _ kernel: String, options: String = "", _ arguments: [KernelArgument], global: (Int, Int, Int),
        local: (Int, Int, Int)
    ) {
        self.file = file
        self.kernel = kernel
        self.options = options
        self.arguments = arguments
        self.global = global
        self.local = local
    }
}

extension View {
    /// The two arguments a kernel takes for a buffer: the memory and the offset of the first element.
    func arguments() throws -> [KernelArgument] {
        guard case .openCL(let block) = storage else {
            throw KernelError(.operands, "a view of another device was passed to an op on OpenCL")
        }
        return [.buffer(block), .long(block.offset / dtype.size + offset)]
    }
}

extension Optional where Wrapped == View {
    /// A missing operand is a null pointer.
    func arguments() throws -> [KernelArgument] { try self?.arguments() ?? [.buffer(nil), .long(0)] }
}
