import RetortSupport

/// How wide a student is that is cut out of a teacher; nil: as wide as the teacher. Heads stay whole, and as wide as they are.
public struct StudentWidths: Sendable, Equatable {
    public var hidden: Int?
    public var intermediate: Int?
    public var heads: Int?
    public var keyValueHeads: Int?

    public init(hidden: Int? = nil, intermediate: Int? = nil, heads: Int? = nil, keyValueHeads: Int? = nil) {
        self.hidden = hidden
        self.intermediate = intermediate
        self.heads = heads
        self.keyValueHeads = keyValueHeads
    }

    /// Heads of keys and values, each shared by some queries.
    struct Sharing: Equatable {
        let teacher: Int
        let student: Int
    }

    /// Writes the student's widths into its config.json.
    /// - Parameters:
    ///   - config: the teacher's, which is known to describe a model.
    ///   - decoder: what it says with the defaults of keys that it leaves out; nil: another kind of model.
    /// - Returns: heads of keys and values, for the cut.
    /// - Throws: `RetortError` 64 for widths that the teacher or the family cannot give.
    func describe(
        in config: JSONCursor, _ keys: SizeKeys, decoder: DecoderConfiguration?, _ json: inout JSONObject
    ) throws -> Sharing {
        let (hidden, heads) = (try config.member(keys.hidden).int(), try config.member(keys.heads).int())
        let (sharedHeads, width) = (decoder?.keyValueHeads ?? heads, decoder?.headWidth ?? hidden / heads)
        let inner = try config.optional(keys.intermediate)?.int() ?? 4 * hidden
        try check("hidden", self.hidden, hidden)
        try check("intermediate", intermediate, inner)
        try check("heads", self.heads, heads)
        try check("key-value-heads", keyValueHeads, sharedHeads)

        // Where the width of a head is not written down, the residual stream is all heads side by side.
        let isBound = keys.headWidth == nil
        let newHeads = self.heads ?? (isBound ? (self.hidden ?? hidden) / width : heads)
        let newHidden = self.hidden ?? (isBound ? newHeads * width : hidden)
        guard !isBound || newHidden == newHeads * width else {
            throw RetortError.usage(
                "hidden \(newHidden) is not \(newHeads) heads of \(width)",
                why: "models of this kind have no other width for what heads see together",
                help: "give hidden as a multiple of \(width), and heads as hidden / \(width) or not at all")
        }
        let newShared = keyValueHeads ?? (sharedHeads == heads ? newHeads : sharedHeads)
        if keyValueHeads != nil, keys.keyValueHeads == nil, newShared != newHeads {
            throw RetortError.usage("in models of this kind each head has keys and values of its own")
        }
        try checkSharing(newHeads, newShared, most: heads / sharedHeads)

        if newHidden != hidden { json.set(keys.hidden, .int(newHidden)) }
        if newHeads != heads { json.set(keys.heads, .int(newHeads)) }
        if let intermediate { json.set(keys.intermediate, .int(intermediate)) }
        if let key = keys.keyValueHeads, newShared != sharedHeads { json.set(key, .int(newShared)) }
        if let key = keys.headWidth, newHidden != newHeads * width { json.set(key, .int(width)) }
        return Sharing(teacher: sharedHeads, student: newShared)
    }

    private func check(_ name: String, _ value: Int?, _ most: Int) throws {
        guard let value, !(1...most).contains(value) else { return }
        throw RetortError.usage(
            "\(name) \(value): the teacher has \(most)", help: "a student is cut out of it, so give 1 to \(most)")
    }

    /// - Parameter most: queries that share keys and values in the teacher; the others' would be those of another head.
    private func checkSharing(_ heads: Int, _ shared: Int, most: Int) throws {
        guard heads % shared == 0 else {
            throw RetortError.usage(
                "\(shared) heads of keys and values do not divide \(heads) heads", help: "give both numbers")
        }
        guard heads / shared <= most else {
            throw RetortError.usage(
                "\(heads) heads would share the keys and values of \(shared): \(heads / shared) each",
                why: "in the teacher no more than \(most) share them", help: "give both numbers")
        }
    }
}
