import RetortKernels
import RetortRuntime
import RetortSupport

/// An encoder that says which token stands at a place (Devlin et al. 2018, arXiv:1810.04805), as losses, teachers and measurements of language
/// models take one. It is not in `LanguageModelRegistry`: it writes no text.
public final class MaskedLanguageModel: LanguageModel {
    public static var modelTypes: [String] { EncoderModelRegistry.all.flatMap { $0.modelTypes } }

    public let encoder: any EncoderModel
    public var isTraining = true

    /// - Throws: `TensorError` for an encoder without a masked-language head.
    public init(_ encoder: any EncoderModel) throws {
        guard encoder.head == .maskedLanguage else { throw TensorError("the encoder has no masked-language head") }
        self.encoder = encoder
    }

    public convenience init(_ config: JSONCursor) throws {
        try self.init(EncoderModelRegistry.make(config, head: .maskedLanguage))
    }

    /// Reads a directory; the head begins anew where another stands there.
    /// - `seed`: draws what is new.
    /// - `trains`: false freezes the model and spares the memory of its gradients.
    /// - `dtype`: what the matrices of a frozen model are stored as, f32 or bf16.
    /// - Throws: as `EncoderDirectory.load`.
    public static func load(
        _ folder: String, seed: UInt64 = 0, on device: Device, trains: Bool = true, dtype: DType = .f32
    ) throws -> (model: MaskedLanguageModel, arena: ParameterArena) {
        let (encoder, arena) = try EncoderDirectory.load(
            folder, head: .maskedLanguage, seed: seed, on: device, trains: trains, dtype: dtype)
        return (try MaskedLanguageModel(encoder), arena)
    }

    public var children: [any Module] { [encoder] }
    public var json: JSON { encoder.json }
    public var vocabulary: Int { encoder.vocabulary }
    public var layerCount: Int { encoder.layerCount }
    public var maxPositions: Int { encoder.maxPositions }
    public var isCausal: Bool { false }
    public var signals: [String] { encoder.signals }
    public var checkpointsActivations: Bool {
        get { encoder.checkpointsActivations }
        set { encoder.checkpointsActivations = newValue }
    }

    /// - Throws: `TensorError` as `EncoderModel.forward`, for a cache and for rows of several documents: neither has a meaning where every
    ///   token sees all others.
    public func hidden(_ tokens: TokenBatch, cache: KeyValueCache?, capturing paths: Set<String>) throws -> HiddenStates
    {
        guard cache == nil, tokens.documents == nil, tokens.padding == nil else {
            throw TensorError("an encoder reads whole texts, one a row")
        }
        return try encoder.predicting(EncoderBatch(tokens), capturing: paths)
    }

    public func head() throws -> OutputHead { try encoder.vocabularyHead() }
    public func storedNames(of parameter: String) -> [String] { encoder.storedNames(of: parameter) }
    public func passesOver(_ stored: String) -> Bool { encoder.passesOver(stored) }
    public var tiedArrays: [TiedArray] { encoder.tiedArrays }
}
