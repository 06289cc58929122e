import RetortRuntime
import RetortSupport

/// A trained recommender on disk: `config.json` and `model.safetensors`, as of any model.
public enum RecommenderDirectory {
    /// Builds the recommender that `config.json` describes and fills it with the weights.
    /// - Throws: `RetortError` 65 for files that lie or a model of other interactions, 66 when one is missing.
    public static func load(_ path: String, for task: RecommenderTask, on device: Device) throws -> any RecommenderModel
    {
        guard Folder.exists(path) else {
            throw RetortError.missingInput(
                "there is no model directory \(path.quoted(limit: 200))",
                help: "give a directory with config.json and model.safetensors, for example RUN/teacher/seed-0/final")
        }
        let config = try ModelDirectory.configuration(path + "/config.json")
        let kind = try config.member("model_type")
        guard let type = RecommenderModelRegistry.find(try kind.string()) else {
            let known = RecommenderModelRegistry.all.map { $0.architecture.kind }.joined(separator: ", ")
            throw kind.failure("recommenders have model_type \(known)")
        }
        let identity = try config.member("interactions_sha256")
        guard try identity.string() == task.identity else {
            throw identity.failure(
                "the model was trained on other interactions: users, items or the training part differ",
                help: "train it on this data with the same data section of the recipe")
        }
        let model: any RecommenderModel
        do {
            model = try type.init(try ModelSettings(config, of: type.architecture), for: task)
        } catch let error as ModelError {
            throw (try config.optional(error.setting) ?? config).failure("its \(error.description)")
        }
        _ = try ModelDirectory.fill(
            model, with: StoredWeights(of: model, in: CheckpointFiles(folder: path)), on: device)
        try model.prepare(on: device)
        return model
    }
}
