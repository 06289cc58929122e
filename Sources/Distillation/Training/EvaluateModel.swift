import RetortData
import RetortModels
import RetortRuntime
import RetortSupport

/// `retort eval`: a saved model, and optionally its teacher, on labelled data.
///
/// - `testEvery`: keep only every n-th row, counted from the first; nil keeps all.
/// - Throws: `RetortError` 65 or 66 for the model or the data.
public func evaluate(
    model path: String, teacher teacherPath: String?, data: String, label: String, scale: Float, testEvery: Int?,
    on device: Device
) throws -> RunResults {
    var rows = try TabularDataset.csv(data, label: label, scale: scale)
    if let testEvery { rows = try rows.split(testEvery: testEvery).test }
    let test = try DeviceRows(rows, on: device)

    func load(_ path: String) throws -> (any Model, Evaluation) {
        let (model, _) = try ModelDirectory.load(path, on: device)
        guard model.accepts([rows.columns]) else {
            throw RetortError.badData(
                model.task.sample.count == 1
                    ? "the model takes \(model.inputs) features, the data has \(rows.columns)"
                    : "the model takes images of shape \(model.task.sample), the data has rows of \(rows.columns) features",
                at: .init(file: path + "/config.json"))
        }
        guard rows.classes <= model.classes else {
            throw RetortError.badData(
                "the model knows \(model.classes) classes, the data has \(rows.classes)",
                at: .init(file: path + "/config.json"))
        }
        return (model, try Evaluation(model, test, on: device))
    }

    func result(_ role: String, _ path: String, _ model: any Model, _ evaluation: Evaluation, _ teacher: Evaluation?)
        throws
        -> ArmResult
    {
        let metrics: [Metric: Double] = [
            .parameters: Double(model.parameterCount), .bytes: Double(model.parameterCount * 4),
            .latency: try forwardLatency(model, test, on: device),
        ]
        return ArmResult(
            role: role, contract: ["from \(path)"],
            seeds: [SeedResult(seed: 0, evaluation, metrics, curve: [], reference: teacher)])
    }

    var arms: [ArmResult] = []
    let teacher = try teacherPath.map { path in
        let (model, evaluation) = try load(path)
        arms.append(try result("teacher", path, model, evaluation, nil))
        return (model.classes, evaluation)
    }
    let (student, evaluation) = try load(path)
    if let teacher, teacher.0 != student.classes {
        throw RetortError.badData("teacher and model differ in classes: \(teacher.0) and \(student.classes)")
    }
    arms.append(try result("student", path, student, evaluation, teacher?.1))
    return RunResults(
        recipe: "eval", device: device.description, deviceSummary: device.summary, seeds: [0],
        classes: (0..<student.classes).map(String.init), arms: arms)
}
