/// An array that config.json makes the same as a parameter, and that files may hold a second time under a name of its own: a head that is the
/// embedding.
public struct TiedArray: Sendable {
    /// What the second is called in files.
    let stored: String
    /// The parameter that both are.
    let parameter: String
    /// "the embedding".
    let role: String
    /// Whether there is a model of this kind in which they differ.
    let canBeUntied: Bool
}
