import RetortData
import RetortModels
import RetortRuntime
import RetortSupport

/// `retort eval`: a saved model, and optionally its teacher, on labelled data. Each sees its inputs as its own directory says they were
/// in training. On the test data of the run that made them the numbers are those of the run's table.
/// - Throws: `RetortError` 64 for options that do not fit, 65 or 66 for the models or the data.
public func evaluate(
    model path: String, teacher teacherPath: String?, on data: EvaluationData, device: Device
) throws -> RunResults {
    let student = try EvaluatedModel(path, on: device)
    let teacher = try teacherPath.map { try EvaluatedModel($0, on: device) }
    if let teacher, teacher.model.classes != student.model.classes {
        throw RetortError.badData(
            "teacher and model differ in classes: \(teacher.model.classes) and \(student.model.classes)",
            at: .init(file: teacher.config))
    }
    let loaded = try data.load(for: student.model.task, student.preprocessing, seeing: student.view)
    var rows: (data: DeviceRows, inputs: Preprocessing?)?
    func measure(_ role: String, _ entry: EvaluatedModel, against teacher: Evaluation?) throws -> (
        ArmResult, Evaluation
    ) {
        try entry.fit(loaded, of: data, who: role == Role.teacher ? "the teacher" : "the model")
        let inputs = try entry.inputs(of: loaded, data)
        // Teacher and student mostly see the same numbers: those are made once.
        let own: DeviceRows
        if let made = rows, made.inputs == inputs {
            own = made.data
        } else {
            rows = nil
            own = try DeviceRows(
                try loaded.examples.treated(by: inputs), normalization: inputs?.normalization, on: device)
            rows = (own, inputs)
        }
        let evaluation = try Evaluation(entry.model, own, seeing: entry.view, on: device)
        return (try entry.result(role, evaluation, teacher, own, on: device), evaluation)
    }
    var arms: [ArmResult] = []
    var reference: Evaluation?
    if let teacher {
        let (arm, evaluation) = try measure(Role.teacher, teacher, against: nil)
        arms.append(arm)
        reference = evaluation
    }
    arms.append(try measure(Role.student, student, against: reference).0)
    let names = (0..<student.model.classes).map {
        loaded.classNames.indices.contains($0) ? loaded.classNames[$0] : "\($0)"
    }
    return RunResults(
        recipe: "eval", device: device.description, deviceSummary: device.summary, seeds: [0], classes: names,
        arms: arms)
}

/// A model from a directory that is to be measured.
private struct EvaluatedModel {
    let path: String
    let model: any Model
    let preprocessing: Preprocessing?
    /// What it sees of each example.
    let view: InputView

    init(_ path: String, on device: Device) throws {
        self.path = path
        model = try ModelDirectory.load(path, on: device).model
        preprocessing = try ModelDirectory.preprocessing(path)
        view = InputView(try ModelDirectory.region(path))
    }

    var config: String { path + "/config.json" }

    /// Puts the model's classes in the order of the data's, where both have names.
    /// - Throws: `RetortError` 65 when the model is for other data.
    func fit(_ data: EvaluationData.Loaded, of source: EvaluationData, who: String) throws {
        let all = data.examples.sample
        let sample: [Int]
        do {
            sample = try view.shape(of: all)
        } catch let error as RetortError {
            throw RetortError.badData(
                "the model sees \(view.contract) of each example, and the data has \(Self.words(all))",
                at: .init(file: path + "/preprocessor_config.json"), why: error.what)
        }
        guard model.accepts(sample) else {
            let seen = view.isWhole ? "" : "; of it the model sees \(view.contract)"
            throw RetortError.badData(
                "the model takes \(Self.words(model.task.sample)), the data has \(Self.words(all))\(seen)",
                at: .init(file: config))
        }
        try data.stated?.align(model, from: path, who: who)
        let classes = data.classNames.count
        if data.kind == .csv, classes > model.classes {
            let error = try RetortError.unknownLabel(
                in: source.path, column: source.label, of: "the model", classes: model.classes, all: classes,
                source: "as \(path.quoted(limit: 200)) has", remedy: "it is for a model of \(classes) classes")
            if let error { throw error }
        }
        guard data.hasAllClasses ? classes == model.classes : classes <= model.classes else {
            throw RetortError.badData(
                "the model knows \(NumberFormat.counted(model.classes, "class", "classes")), the data has \(classes)",
                at: .init(file: config),
                why: classes < model.classes ? "which of the model's classes they are cannot be told" : "")
        }
    }

    private static func words(_ sample: [Int]) -> String {
        sample.count == 1 ? "\(sample[0]) features" : "images of \(shape(sample))"
    }

    /// "3 channels, 32 × 32 pixels".
    private static func shape(_ sample: [Int]) -> String {
        guard sample.count == 3 else { return "shape \(sample)" }
        return "\(sample[0]) \(sample[0] == 1 ? "channel" : "channels"), \(sample[1]) × \(sample[2]) pixels"
    }

    /// What becomes of the data before the model sees it: as asked for, else as the directory says.
    /// - Throws: `RetortError` 64 when neither says.
    func inputs(of loaded: EvaluationData.Loaded, _ data: EvaluationData) throws -> Preprocessing? {
        if loaded.kind == .csv {
            if let scale = data.scale { return scale == 1 ? nil : .features(scale: scale) }
            guard case .images = preprocessing else { return preprocessing }
            throw RetortError.usage(
                "the model in \(path.quoted(limit: 200)) was trained on images, and a CSV file has none",
                help: "give --scale: what each feature is to be multiplied by")
        }
        let images: ImagePreprocessing
        if let mean = data.mean, let deviation = data.deviation {
            images = ImagePreprocessing(mean: mean, deviation: deviation)
        } else if case .images(let own) = preprocessing {
            images = own
        } else {
            throw RetortError.usage(
                "the model in \(path.quoted(limit: 200)) does not say how its images were normalised",
                why: "there is no preprocessor_config.json with image_mean and image_std",
                help:
                    "give --mean and --deviation as in training, for example --mean 0.49,0.48,0.45 --deviation 0.25,0.24,0.26"
            )
        }
        guard images.channels == loaded.examples.sample[0] else {
            throw RetortError.usage(
                "there are \(NumberFormat.counted(images.channels, "mean", "means")) and as many deviations for images of "
                    + NumberFormat.counted(loaded.examples.sample[0], "channel", "channels"),
                help: "give --mean and --deviation with a number for each channel")
        }
        return .images(images)
    }

    func result(
        _ role: String, _ evaluation: Evaluation, _ teacher: Evaluation?, _ rows: DeviceRows, on device: Device
    ) throws -> ArmResult {
        let metrics: [Metric: Double] = [
            .parameters: Double(model.parameterCount),
            .bytes: Double(model.parameterCount * 4),
            .latency: try forwardLatency(model, rows, seeing: view, on: device),
        ]
        return ArmResult(
            role: role, contract: ["from \(path)"],
            seeds: [SeedResult(seed: 0, evaluation, metrics, curve: [], reference: teacher)])
    }
}

extension Preprocessing {
    fileprivate var normalization: ImageNormalization? {
        if case .images(let images) = self { ImageNormalization(images) } else { nil }
    }
}

extension ExampleSet {
    /// Features times their scale; images are normalised on the device.
    fileprivate func treated(by inputs: Preprocessing?) throws -> ExampleSet {
        guard case .table(let data) = self, case .features(let scale) = inputs else { return self }
        return .table(try data.scaled(by: Float(scale)))
    }
}
