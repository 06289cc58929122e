import Foundation
import RetortData
import RetortRuntime
import RetortSupport

/// Makes a student before its training: a Hugging Face directory of a language model or an encoder with fresh weights, or with weights cut
/// out of a teacher. Works on files alone, an array at a time; no device is needed.
public struct StudentDirectory: Sendable {
    /// The teacher's blocks that it has; nil for fresh weights.
    public let layers: [Int]?
    public let layerCount: Int
    public let parameters: Int
    /// Of the teacher; nil for fresh weights.
    public let teacherParameters: Int?

    /// Fresh weights for a config.json.
    /// - `tokenizer`: whose tokenizer it gets; nil: the one beside the config, if there is one.
    /// - `seed`: draws the weights: the same seed, the same bits.
    /// - `folder`: must not exist.
    /// - Throws: `RetortError` 65 or 66 for the config, 73 or 74 for the directory.
    public static func fresh(
        config file: String, tokenizer: String? = nil, seed: UInt64, to folder: String
    ) throws -> StudentDirectory {
        let plan = try TextModelPlan(ModelDirectory.configuration(file))
        let arrays = plan.module.parameters.map { parameter in
            SavedArray(name: parameter.name, shape: Array(parameter.shape)) { parameter.initialValues(seed: seed) }
        }
        let beside = file.contains("/") ? String(file[..<file.lastIndex(of: "/")!]) : "."
        try write(arrays, plan.json, tokenizer, orFrom: beside.isEmpty ? "/" : beside, to: folder)
        return StudentDirectory(
            layers: nil, layerCount: plan.layers, parameters: plan.module.parameterCount, teacherParameters: nil)
    }

    /// Cut out of a teacher: see `StudentCut`.
    /// - `tokenizer`: whose tokenizer it gets; nil: the teacher's.
    /// - `folder`: must not exist.
    /// - Throws: `RetortError` 64 for layers and widths that the teacher cannot give, 65 or 66 for its files, 73 or 74 for the directory.
    public static func cut(
        from teacher: String, layers choice: LayerChoice, widths: StudentWidths, tokenizer: String? = nil,
        to folder: String
    ) throws -> StudentDirectory {
        let cut = try StudentCut(from: teacher, layers: choice, widths: widths, file: folder + "/config.json")
        try write(cut.arrays(), cut.student.json, tokenizer, orFrom: teacher, to: folder)
        return StudentDirectory(
            layers: cut.layers, layerCount: cut.teacher.layers, parameters: cut.student.module.parameterCount,
            teacherParameters: cut.teacher.module.parameterCount)
    }

    private static func write(
        _ arrays: [SavedArray], _ config: JSON, _ tokenizer: String?, orFrom usual: String, to folder: String
    ) throws {
        if let tokenizer, !LanguageModelDirectory.hasTokenizer(tokenizer) {
            throw RetortError.missingInput(
                "there is no tokenizer in \(tokenizer.quoted(limit: 200))",
                help: "give a directory with tokenizer.json, tokenizer.model, vocab.json or vocab.txt")
        }
        try HuggingFaceFiles.makeFolder(folder) {
            try LanguageModelDirectory.copyTokenizer(from: tokenizer ?? usual, settingsOf: usual, to: folder)
            try HuggingFaceFiles.save(arrays, config: config, to: folder)
        }
    }
}

extension StudentDirectory {
    /// "3 of 6 layers (0, 2, 4), 12,345 of 23,456 parameters".
    public var summary: String {
        let grouped = NumberFormat.grouped
        guard let layers, let teacherParameters else {
            return "\(layerCount) layers, \(grouped(parameters)) fresh parameters"
        }
        let names = layers.count < layerCount ? " (\(layers.map(String.init).joined(separator: ", ")))" : ""
        return "\(layers.count) of \(layerCount) layers\(names), "
            + "\(grouped(parameters)) of \(grouped(teacherParameters)) parameters"
    }

    public func json(at path: String) -> JSON {
        var json: JSONObject = .init()
        json.set("path", .string(path))
        if let layers { json.set("layers", .array(layers.map(JSON.int))) }
        json.set("parameters", .int(parameters))
        if let teacherParameters { json.set("teacher_parameters", .int(teacherParameters)) }
        return .object(json)
    }
}
