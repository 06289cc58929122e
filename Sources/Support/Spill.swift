/// From when on what is read goes to a temporary file, and to which.
public struct Spill: Sendable {
    /// Bytes of one array that may stay in memory.
    public var limit: Int
    /// Makes the file.
    public var open: @Sendable () throws(RetortError) -> ScratchFile

    public init(
        limit: Int = 64 << 20,
        open: @escaping @Sendable () throws(RetortError) -> ScratchFile = { () throws(RetortError) in
            try ScratchFile()
        }
    ) {
        self.limit = limit
        self.open = open
    }

    /// What holds here; tests change it for what they call.
    @TaskLocal public static var current = Spill()
}
