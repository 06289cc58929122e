import Foundation
import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport

/// A trained model on disk: `config.json` and `model.safetensors` (or its shards), and `preprocessor_config.json` where its inputs are changed first.
public enum ModelDirectory {
    static let largestConfig = 1 << 23

    /// Writes the files; each appears whole or not at all.
    /// - `region`: what the model sees of each example.
    /// - `classes`: what its classes are called; nil: config.json says what the architecture says by itself.
    /// - `type`: what the weights are rounded to; config.json names one that is not f32 as `dtype`.
    /// - Throws: `RetortError` 65 for a number that the type cannot hold, 73 or 74.
    public static func save(
        _ model: any ConfiguredModule, preprocessing: Preprocessing? = nil, region: InputRegion = InputRegion(),
        classes: ClassNames? = nil, to path: String, as type: SavedType = .f32
    ) throws {
        try Folder.createWithParents(path)
        var inputs = JSONObject()
        if case .object(let members)? = preprocessing?.json { inputs = members }
        if !region.isWhole { inputs.set(InputRegion.key, region.json) }
        if inputs.count > 0 {
            try AtomicFile.write(JSON.object(inputs).text(.pretty) + "\n", to: path + "/" + Preprocessing.fileName)
        }
        try SavedArray.write(SavedArray.all(of: model, as: type), to: path + "/model.safetensors")
        var config = model.configuration
        if case .object(var members) = config {
            classes?.write(into: &members)
            if type != .f32 { members.set("dtype", .string(type.torchName)) }
            config = .object(members)
        }
        try AtomicFile.write(config.text(.pretty) + "\n", to: path + "/config.json")
    }

    /// Writes the parameters, then the buffers, of any module by their names.
    /// - Throws: `RetortError` 74.
    public static func saveWeights(of module: any Module, to file: String) throws {
        try SavedArray.write(SavedArray.all(of: module), to: file)
    }

    /// Builds the model that `config.json` describes and fills it with the weights, every one of which must be there and finite.
    /// - Throws: `RetortError` 65 for files that lie, 66 when one is missing.
    public static func load(_ path: String, on device: Device) throws -> (model: any Model, arena: ParameterArena) {
        guard Folder.exists(path) else {
            throw RetortError.missingInput(
                "there is no model directory \(path.quoted(limit: 200))",
                help: "give a directory with config.json and model.safetensors, for example RUN/student/seed-0/final")
        }
        let model = try model(path + "/config.json")
        return (model, try fill(model, with: StoredWeights(of: model, in: CheckpointFiles(folder: path)), on: device))
    }

    /// Places a module on a device with weights that fit it.
    /// - Parameters:
    ///   - seed: draws what is not in the files.
    ///   - trains: false freezes it and spares the memory of its gradients.
    ///   - dtype: what a frozen module's matrices are stored as, f32 or bf16.
    static func fill(
        _ module: any Module, with weights: StoredWeights, on device: Device, seed: UInt64? = nil, trains: Bool = true,
        dtype: DType = .f32
    ) throws -> ParameterArena {
        let arena = try module.materialize(on: device, seed: seed, trains: trains, dtype: dtype)
        try weights.assign()
        return arena
    }

    /// A `config.json`.
    /// - Throws: `RetortError` 65 for one that is malformed, and where adapters lie instead of a model; 66 when it is missing.
    static func configuration(_ path: String) throws -> JSONCursor {
        let folder = (path as NSString).deletingLastPathComponent
        if AdapterDirectory.isOne(folder) { throw AdapterDirectory.notAModel(folder) }
        return try JSONCursor.read(path, limits: .init(bytes: largestConfig, depth: 32, values: 1_000_000))
    }

    /// What becomes of raw inputs before this model sees them; nil where the directory does not say.
    /// - Throws: `RetortError` 65 for a file that lies.
    public static func preprocessing(_ path: String) throws -> Preprocessing? { try Preprocessing(in: path) }

    /// What this model sees of each example.
    /// - Throws: `RetortError` 65 for a file that lies.
    public static func region(_ path: String) throws -> InputRegion { try InputRegion(in: path) }

    /// Fills a module that is on its device from a safetensors file.
    /// - Throws: `RetortError` 65 for a file that does not fit, 66 when it is missing.
    public static func loadWeights(of module: any Module, from path: String) throws {
        try StoredWeights(of: module, in: CheckpointFiles(file: path)).assign()
    }

    private static func model(_ path: String) throws -> any Model {
        let config = try configuration(path)
        let kind = try config.member("model_type")
        guard let type = ModelRegistry.find(try kind.string()) else {
            let known = ModelRegistry.all.map { $0.architecture.kind }.joined(separator: ", ")
            throw kind.failure("this program knows model_type \(known)")
        }
        let (settings, task) = try type.read(config)
        do {
            return try type.init(settings, for: task)
        } catch let error as ModelError {
            throw (try config.optional(error.setting) ?? config).failure("its \(error.description)")
        }
    }
}
