/// One argument of a kernel.
public enum KernelArgument: Sendable {
    /// A buffer; `nil` passes a null pointer, which the kernel must not touch.
    case buffer(Block?)
    case long(Int)
    case int(Int32)
    case float(Float)

    /// Room that a list of arguments starts with: lists are put together from pieces, at every launch.
    static let usualCount = 40

    static func int(_ value: Int) -> KernelArgument { .int(Int32(value)) }
    static func flag(_ value: Bool) -> KernelArgument { .int(Int32(value ? 1 : 0)) }
}

extension [KernelArgument] {
    /// Appends in place to a list that nobody else holds; the standard library's `+` would make a new one for every piece.
    static func + (list: consuming [KernelArgument], more: [KernelArgument]) -> [KernelArgument] {
        if list.capacity < list.count + more.count {
            list.reserveCapacity(Swift.max(KernelArgument.usualCount, list.count + more.count))
        }
        for argument in more { list.append(argument) }
        return list
    }

    /// A view's two arguments: the memory and the offset of its first element, moved on by some elements.
    mutating func add(_ view: View, movedBy elements: Int = 0) throws {
        let block: Block
        switch view.storage {
        case .openCL(let own): block = own
        case .planned(let own) where own.chunk is PlannedBuffer: block = own
        default: throw KernelError(.operands, "a view of another device was passed to an op on OpenCL")
        }
        append(.buffer(block))
        append(.long(block.offset / view.dtype.size + view.offset + elements))
    }
}

/// Everything a kernel call is: the one seam for profiling, recording, replay and fault injection.
public struct Launch: Sendable {
    /// File in kernels/, without folder.
    public let file: String
    public let kernel: String
    /// `-D` switches beyond family and wanted kernel; part of the program's identity.
    public var options = ""
    public var arguments: [KernelArgument]
    /// The first two arguments of a kernel over a range, count and count per item, in front of `arguments`.
    public var range: (count: Int, perItem: Int)?
    /// Work-items and work-group size by dimension; global sizes are multiples of local ones.
    public var global: (Int, Int, Int)
    public var local: (Int, Int, Int)

    public init(
        _ file: String, _ kernel: String, options: String = "", range: (count: Int, perItem: Int)? = nil,
        _ arguments: [KernelArgument], global: (Int, Int, Int), local: (Int, Int, Int)
    ) {
        self.file = file
        self.kernel = kernel
        self.options = options
        self.range = range
        self.arguments = arguments
        self.global = global
        self.local = local
    }
}

extension View {
    /// The two arguments a kernel takes for a buffer: the memory and the offset of the first element.
    func arguments() throws -> [KernelArgument] {
        var arguments = [KernelArgument]()
        arguments.reserveCapacity(KernelArgument.usualCount)
        try arguments.add(self)
        return arguments
    }
}

extension Optional where Wrapped == View {
    /// A missing operand is a null pointer.
    func arguments() throws -> [KernelArgument] { try self?.arguments() ?? [.buffer(nil), .long(0)] }
}
