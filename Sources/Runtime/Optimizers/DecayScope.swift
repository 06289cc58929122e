/// Which parameters weight decay shrinks.
public enum DecayScope: String, Sendable, CaseIterable {
    case all
    /// Those of two or more dimensions: biases and the weights of norms are left alone, as is usual for transformers.
    case matrices

    /// The flat arrays of an arena in parts, each wholly decayed or not.
    func parts(of arena: ParameterArena) -> [(part: Range<Int>, decays: Bool)] {
        let end = arena.values.count
        let middle = min(arena.matrixElements, end)
        switch self {
        case .all: return [(0..<end, true)]
        case .matrices: return [(0..<middle, true), (middle..<end, false)].filter { !$0.part.isEmpty }
        }
    }
}
