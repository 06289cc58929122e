import RetortData
import RetortModels
import RetortRuntime
import RetortSupport

/// `retort eval` of a recommender, and optionally its teacher: how it ranks what users took next, on the interactions that it was trained for,
/// parted as its recipe parts them. The numbers are those of its run's table.
/// - `recipe`: the file whose `data` says so, for example `RUN/recipe.resolved.yaml`.
/// - `overrides`: of the recipe's keys.
/// - Throws: `RetortError` 64 for another kind of file or recipe; 65 or 66 for models and data, 78 for the recipe.
public func evaluate(
    recommender path: String, teacher: String?, recipe: String, overrides: [String] = [], device: Device
) throws -> EvaluationReport {
    func refusal(_ why: String) -> RetortError {
        .usage(
            "\(recipe.quoted(limit: 200)) does not say which interactions were learned and which are to be predicted",
            why: why, help: "give the recipe that the model was trained with: --data RUN/recipe.resolved.yaml")
    }
    guard recipe.hasSuffix(".yaml") || recipe.hasSuffix(".yml") else {
        throw refusal(
            "a recommender is measured on the users and items of its run, without what each has taken already")
    }
    guard let source = try readRecipe(recipe, overrides: overrides) as? RecommenderRecipe else {
        throw refusal("it is the recipe of another kind of model")
    }
    try source.checkData()
    let split = try source.data.load()
    let task = RecommenderTask(split)
    let folders: [(String, String?)] = [(Role.teacher, teacher), (Role.student, path)]
    let arms = try folders.compactMap { role, folder in
        try folder.map { folder in
            let model = try RecommenderDirectory.load(folder, for: task, on: device)
            return ArmResult(role, from: folder, try rankingMetrics(model, split, on: device))
        }
    }
    var report = EvaluationReport(arms, on: device)
    report.results.quality = RecommenderRun.quality
    report.counts = [
        ("users", split.testUsers.count), ("items", split.items.count), ("interactions", split.test.count),
    ]
    return report
}
