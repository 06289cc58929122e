/// A model of tokens made of blocks: what losses of inner signals know of it.
public protocol TokenLayers {
    var layerCount: Int { get }
    /// Numbers of a token's vector.
    func tokenWidth() throws -> Int
}

extension LanguageModel {
    public func tokenWidth() throws -> Int { try head().hidden }
}

extension EncoderModel {
    public func tokenWidth() throws -> Int { hidden }
}
