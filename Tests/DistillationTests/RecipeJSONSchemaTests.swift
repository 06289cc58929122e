import Foundation
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// The JSON schema says of recipes what their reader says, as far as it can.
@Suite("JSON schema of recipes")
struct RecipeJSONSchemaTests {
    private static let check = JSONSchemaCheck(RecipeJSONSchema.json)

    private func problems(_ text: String) throws -> [String] {
        Self.check.problems(of: try RecipeReader.plainValues(text, file: "r.yaml"))
    }

    @Test("every shipped recipe fits, as it was written and as a run keeps it")
    func shipped() throws {
        let folder = Project.root + "/recipes"
        let names = try FileManager.default.subpathsOfDirectory(atPath: folder).filter { $0.hasSuffix(".yaml") }
        #expect(names.count > 10)
        for name in names {
            let written = try problems(String(contentsOfFile: folder + "/" + name, encoding: .utf8))
            #expect(written.isEmpty, "\(name): \(written.joined(separator: "; "))")
            let resolved = try problems(try readRecipe(folder + "/" + name).node.yaml())
            #expect(resolved.isEmpty, "\(name), resolved: \(resolved.joined(separator: "; "))")
        }
    }

    private static let teacher = "teacher:\n  model: {kind: mlp, layers: [4, 8, 3]}\n  train: {epochs: 2}"
    private static let student = "student: {model: {kind: mlp, layers: [4, 3]}}"

    /// A piece of a good recipe, what stands there instead, and where the mistake is.
    private static let mistakes: [(String, String, String)] = [
        ("batch: 8", "batch: eight", "train.batch"), ("batch: 8", "batch: 8.5", "train.batch"),
        ("batch: 8", "batch: '8'", "train.batch"), ("batch: 8", "batch: 0", "train.batch"),
        ("batch: 8", "batch: ", "train.batch"), ("batch: 8", "batch: [8]", "train.batch"),
        ("batch: 8, ", "", "train"), ("batch: 8", "batch: 8, bacth: 8", "train.bacth"),
        ("lr: 0.01", "lr: -1", "train.optimizer.lr"), ("lr: 0.01", "lr: fast", "train.optimizer.lr"),
        ("lr: 0.01", "lr: 0.01, epsilon: 0", "train.optimizer.epsilon"),
        ("lr: 0.01", "lr: 0.01, decays: some", "train.optimizer.decays"),
        // A key of another kind of optimizer.
        ("lr: 0.01", "lr: 0.01, momentum: 0.9", "train.optimizer.momentum"),
        (", lr: 0.01", "", "train.optimizer"), ("kind: adam", "kind: adm", "train.optimizer.kind"),
        ("loss: hinton", "loss: hintn", "arms.taught.objective.0.loss"),
        ("loss: hinton", "alpha: 1", "arms.taught.objective.0"),
        // A loss of another family.
        ("loss: hinton", "loss: bpr", "arms.taught.objective.0.loss"),
        ("temperature: 4", "temprature: 4", "arms.taught.objective.0.temprature"),
        ("temperature: 4", "temperature: 0", "arms.taught.objective.0.temperature"),
        ("temperature: 4", "t-squared: yes", "arms.taught.objective.0.t-squared"),
        ("kind: csv", "kind: cvs", "data.kind"), ("kind: csv, ", "", "data"),
        ("every: 5", "every: 1", "data.test.every"), ("label: label", "label: ", "data.label"),
        ("label: label", "label: null", "data.label"), ("label: label", "label: ~", "data.label"),
        ("layers: [4, 3]", "layers: 4", "student.model.layers"),
        ("layers: [4, 3]", "layers: [4]", "student.model.layers"),
        ("layers: [4, 3]", "layers: [4, 0]", "student.model.layers.1"),
        ("seeds: [0, 1]", "seeds: []", "seeds"), ("seeds: [0, 1]", "seed: [0, 1]", "seed"),
        ("seeds: [0, 1]", "seeds: [0, -1]", "seeds.1"),
        ("  alone:", "  teacher:", "arms.teacher"), ("  alone:", "  a b:", "arms.a b"),
        // A student of this family is never a directory.
        (student, "student: x", "student"), (student + "\n", "", "the recipe"), (teacher, "teacher: [a]", "teacher"),
    ]

    @Test("what the reader refuses is a problem at the same place", arguments: mistakes)
    func wrong(_ piece: String, _ replacement: String, _ place: String) throws {
        let text = RecipeTests.good.replacing(piece, with: replacement, maxReplacements: 1)
        #expect(text != RecipeTests.good)
        #expect(throws: RetortError.self) { try RecipeReader.read(text, file: "r.yaml") }
        let found = try problems(text)
        // One mistake is one problem: no branch that is not meant has its say.
        #expect(found.count == 1 && found[0].hasPrefix(place + " "), "\(found)")
    }

    @Test("data that are not there or no section are one problem")
    func noData() throws {
        let line = "data: {kind: csv, path: rows.csv, label: label, test: {every: 5}}\n"
        #expect(RecipeTests.good.hasPrefix(line))
        let rest = String(RecipeTests.good.dropFirst(line.count))
        for (text, problem) in [
            ("", "the recipe lacks"), ("data: rows.csv\n", "data is a string"), ("data:\n", "data is null"),
        ] {
            let found = try problems(text + rest)
            #expect(found.count == 1 && found[0].hasPrefix(problem), "\(found)")
        }
        #expect(try problems("just words").count == 1)
    }

    @Test("the kind of the data decides over the other keys")
    func families() throws {
        let language = """
            data: {kind: text, path: a.jsonl, test: {every: 5}, fields: {prompt: question}}
            student: {path: models/small, lora: {}}
            arms: {alone: {preset: seqkd}}
            train: {steps: 3, batch: 8, optimizer: {kind: adamw, lr: 1e-4}}
            """
        #expect(try problems(language).isEmpty)
        #expect(
            try problems(language.replacing("steps: 3", with: "steps: 3, rows: 8")) == ["train.rows is not allowed"])
        let other = try problems(language.replacing("kind: text, path", with: "kind: tokens, path"))
        #expect(other.contains("data.fields is not allowed"), "\(other)")
        #expect(
            try problems(RecipeTests.good.replacing("epochs: 3", with: "steps: 3")).contains(
                "train.steps is not allowed"))
        for family in RecipeFamily.allCases { #expect(RecipeJSONSchema.json["$defs"]?[family.rawValue] != nil) }
    }

    private static let others: [(String, String)] = [
        (teacher, "teacher: models/large"), (teacher, "teachers: {one: a, two: {path: b}}"),
        ("label: label", "label: 3"), ("label: label", "label: true"), ("label: label", "label: \"3\""),
        ("lr: 0.01", "lr: 1e-2"), ("lr: 0.01", "lr: 1"), ("lr: 0.01", "lr: .5"), ("  alone:", "  12:"),
        ("  alone:", "  größer_2-x:"),
        ("kind: csv, path: rows.csv, label: label", "kind: images, path: x, height: 8, width: 8, channels: 1"),
        ("kind: csv, path: rows.csv, label: label", "kind: images, path: x, height: 8, width: 8, channels: '1'"),
        ("kind: csv, path: rows.csv, label: label", "kind: images, path: x, height: 8, width: 8, memory: 1.5GiB"),
        ("kind: csv, path: rows.csv, label: label", "kind: images, path: x, height: 8, width: 8, memory: 0"),
    ]

    @Test("what the reader takes fits", arguments: others)
    func right(_ piece: String, _ replacement: String) throws {
        let text = RecipeTests.good.replacing(piece, with: replacement, maxReplacements: 1)
        #expect(text != RecipeTests.good)
        _ = try RecipeReader.read(text, file: "r.yaml")
        let found = try problems(text)
        #expect(found.isEmpty, "\(found)")
    }

    @Test("sizes: a whole number or a text with a unit", arguments: ["2GB", "-1", "1.5", "GiB", "1 2GiB"])
    func sizes(_ size: String) throws {
        var builder = JSONSchemaBuilder()
        let schema = builder.schema(of: .bytes, called: "memory")
        #expect(throws: RetortError.self) { try RecipeReader.readValue(size, .bytes) }
        let value = try RecipeReader.plainValues(size, file: "size")
        #expect(Self.check.problems(of: value, against: schema).count == 1)
    }

    @Test("a section of the same name with other keys has a definition of its own, the same section has one")
    func definitions() throws {
        func section(_ key: String) -> RecipeType {
            .section(RecipeSection("part", "A part.", [RecipeField(key, .flag, .required, "a flag")]))
        }
        var builder = JSONSchemaBuilder()
        var references: [JSON] = []
        for key in ["a", "b", "a"] { references.append(builder.schema(of: section(key), called: "x")) }
        let expected: [JSON] = [["$ref": "#/$defs/part"], ["$ref": "#/$defs/part-2"], ["$ref": "#/$defs/part"]]
        #expect(references == expected)
        #expect(builder.definitions.keys == ["part", "part-2"])
        let part = try #require(builder.definitions["part"])
        #expect(part["required"] == .array(["a"]) && part["additionalProperties"] == .bool(false))
        let flag: JSON = ["type": "boolean", "description": "a flag"]
        #expect(part["properties"]?["a"] == flag)
    }

    @Test("every default fits its own type")
    func defaults() {
        var checked = 0
        func visit(_ schema: JSON) {
            switch schema {
            case .object(let object):
                if let value = object["default"] {
                    let found = Self.check.problems(of: value, against: schema)
                    #expect(found.isEmpty, "\(object["description"]?.text() ?? ""): \(found)")
                    checked += 1
                }
                for member in object.members { visit(member.value) }
            case .array(let elements): elements.forEach(visit)
            default: break
            }
        }
        visit(RecipeJSONSchema.json)
        #expect(checked > 100)
    }

    @Test("plain words as YAML 1.2 takes them, quoted ones as text")
    func plainValues() throws {
        let text = "{a: 3, b: '3', c: 0.5, d: true, e: yes, f: ~, g: , h: [1e3, 017, 0x10, .inf, 1_000], i: {j: \"\"}}"
        let expected: JSON = [
            "a": 3, "b": "3", "c": 0.5, "d": true, "e": "yes", "f": .null, "g": .null,
            "h": [1000.0, 17, "0x10", ".inf", "1_000"], "i": ["j": ""],
        ]
        #expect(try RecipeReader.plainValues(text, file: "x") == expected)
    }
}
