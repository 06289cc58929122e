import RetortData
import RetortRuntime
import RetortSupport

/// A student cut out of a teacher: what its config.json says, and with which part of which of the teacher's arrays it begins. Some of the blocks
/// (as DistilBERT began, Sanh et al. 2019, arXiv:1910.01108), and of each matrix the first rows and columns.
public struct StudentCut {
    let teacher: TextModelPlan
    let student: TextModelPlan
    /// The teacher's blocks that it has.
    let layers: [Int]
    private let folder: String
    private let sharing: StudentWidths.Sharing

    /// Reads the teacher's config.json alone.
    /// - `teacher`: its directory.
    /// - `file`: what errors call the student's config.json.
    /// - Throws: `RetortError` 64 for layers and widths that the teacher cannot give, 65 or 66 for its files.
    public init(
        from teacher: String, layers choice: LayerChoice, widths: StudentWidths, file: String = "config.json"
    ) throws {
        guard Folder.exists(teacher) else {
            throw RetortError.missingInput(
                "there is no model directory \(teacher.quoted(limit: 200))",
                help: "give a directory with config.json and model.safetensors")
        }
        folder = teacher
        let config = try ModelDirectory.configuration(teacher + "/config.json")
        self.teacher = try TextModelPlan(config)
        layers = try choice.numbers(of: self.teacher.layers)
        guard case .object(var json) = self.teacher.json else { throw config.failure("an object is needed here") }
        try LayerChoice.describe(layers, in: config, self.teacher.keys, &json)
        let decoder = (self.teacher.module as? Decoder)?.configuration
        sharing = try widths.describe(in: config, self.teacher.keys, decoder: decoder, &json)
        student = try TextModelPlan(JSONCursor(.object(json), file: file))
    }

    /// Its arrays, each read from the teacher's files when it is asked for.
    /// - Throws: `RetortError` 65 or 66 for files that do not fit the teacher's config.json.
    func arrays() throws -> [SavedArray] {
        try weights().map { parameter, values in
            SavedArray(name: parameter.name, shape: Array(parameter.shape), values: values)
        }
    }

    private func weights() throws -> [(Parameter, values: () throws -> [Float])] {
        let weights = try StoredWeights(
            of: teacher.module, in: CheckpointFiles(folder: folder), storedNames: teacher.storedNames,
            passesOver: teacher.passesOver, ties: teacher.tiedArrays,
            begins: { [teacher] in !$1 && teacher.mayLack($0) })
        let shapes = Dictionary(
            teacher.module.parameters.map { ($0.name, Array($0.shape)) }, uniquingKeysWith: { first, _ in first })
        return try student.module.parameters.compactMap { parameter in
            let source = original(of: parameter.name)
            guard weights.holds(source) else { return nil }
            guard let shape = shapes[source], shape.count == parameter.shape.count,
                zip(shape, parameter.shape).allSatisfy({ $0 >= $1 })
            else { throw RetortError.internalBug("\(parameter.name) cannot be cut out of the teacher's \(source)") }
            let cut = WeightCut(source, from: shape, to: Array(parameter.shape), sharing)
            return (parameter, { cut(try weights.floats(source)) })
        }
    }

    /// The student as a language model with the teacher's weights, not in training. On a device without bytes the weights are not looked at.
    /// - Throws: `RetortError` 65 for an encoder, and for files that do not fit.
    public func languageModel(on device: Device, trains: Bool = true) throws -> (
        model: any LanguageModel, arena: ParameterArena
    ) {
        guard let model = student.module as? any LanguageModel else {
            throw RetortError.badData(
                "the model is no language model", at: .init(file: folder + "/config.json"),
                why: "a student that is cut out of it would be an encoder")
        }
        model.setTraining(false)
        let arena = try model.materialize(on: device, seed: nil, trains: trains)
        guard device.compute.plan == nil else { return (model, arena) }
        for (parameter, values) in try weights() { try parameter.assign(values()) }
        return (model, arena)
    }

    /// The teacher's name for a student's array: that of the block it comes from, whose number is the first in the path.
    private func original(of name: String) -> String {
        var path = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        if let place = path.firstIndex(where: { Int($0) != nil }), let number = Int(path[place]) {
            path[place] = String(layers[number])
        }
        return path.joined(separator: ".")
    }
}
