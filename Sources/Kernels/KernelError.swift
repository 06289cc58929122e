/// Why an op could not run. The command line turns each kind into its exit code.
public struct KernelError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: Sendable, Equatable {
        /// Operands whose shapes, types or devices do not fit the op: a bug in the calling code.
        case operands
        /// No loader, no such device, a device that was lost.
        case device
        /// A kernel that the device's compiler refuses.
        case build
        /// More memory than the device has.
        case memory
    }

    public let kind: Kind
    public let message: String
    /// What the user can do about it; "" when there is nothing to advise.
    public let help: String

    public init(_ kind: Kind, _ message: String, help: String = "") {
        self.kind = kind
        self.message = message
        self.help = help
    }

    public var description: String { help.isEmpty ? message : message + "\nhelp: " + help }
}
