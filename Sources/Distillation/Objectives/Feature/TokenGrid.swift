/// How the tokens of a transformer lie on its picture: a square of patches, row by row, perhaps behind a class token.
struct TokenGrid {
    /// Patches a side, at least one.
    let side: Int
    /// Tokens before the first patch: 1 with a class token, else 0.
    let before: Int

    /// nil for a number of tokens that makes no square.
    init?(tokens: Int) {
        let fits = [0, 1].first { before in
            let side = Self.root(tokens - before)
            return side > 0 && side * side == tokens - before
        }
        guard let fits else { return nil }
        (side, before) = (Self.root(tokens - fits), fits)
    }

    private static func root(_ count: Int) -> Int { Int(Double(max(0, count)).squareRoot().rounded()) }
}
