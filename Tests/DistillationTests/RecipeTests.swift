import Foundation
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

@Suite("Recipe reader")
struct RecipeTests {
    /// A complete recipe; line numbers below count from its first line.
    static let good = """
        data: {kind: csv, path: rows.csv, label: label, test: {every: 5}}
        teacher:
          model: {kind: mlp, layers: [4, 8, 3]}
          train: {epochs: 2}
        student: {model: {kind: mlp, layers: [4, 3]}}
        arms:
          alone: {objective: [{loss: cross-entropy}]}
          taught:
            objective:
              - loss: hinton
                temperature: 4
        train: {epochs: 3, batch: 8, optimizer: {kind: adam, lr: 0.01}}
        seeds: [0, 1]
        """

    private func read(_ text: String, _ overrides: String...) throws -> RecipeNode {
        try RecipeReader.read(text, file: "r.yaml", overrides: overrides)
    }

    /// The error for the good recipe with one piece of text replaced.
    private func error(
        _ piece: String, _ replacement: String, sourceLocation: SourceLocation = #_sourceLocation
    ) -> RetortError? {
        let text = Self.good.replacing(piece, with: replacement, maxReplacements: 1)
        #expect(text != Self.good, sourceLocation: sourceLocation)
        return thrown(RetortError.self, sourceLocation: sourceLocation) { _ = try read(text) }
    }

    private func error(override: String..., sourceLocation: SourceLocation = #_sourceLocation) -> RetortError? {
        thrown(RetortError.self, sourceLocation: sourceLocation) {
            _ = try RecipeReader.read(Self.good, file: "r.yaml", overrides: override)
        }
    }

    /// `file:line:column what`.
    private func brief(_ error: RetortError?) -> String {
        guard let error else { return "nothing" }
        let place = error.location.map { "\($0.file):\($0.line ?? 0):\($0.column ?? 0) " } ?? ""
        return "\(error.exit.rawValue) \(place)\(error.what)"
    }

    // MARK: What is right

    @Test("a good recipe, with its defaults")
    func good() throws {
        let node = try read(Self.good)
        #expect(node["train"]?["clip"]?.number == 0)
        #expect(node["data"]?["scale"]?.number == 1)
        #expect(node["train"]?["optimizer"]?["betas"]?.list.map(\.number) == [0.9, 0.999])
        #expect(node["arms"]?.fields.map(\.key) == ["alone", "taught"])
        let hinton = node["arms"]?["taught"]?["objective"]?.list[0]
        #expect(hinton?["alpha"]?.number == 0.9)
        #expect(hinton?["t-squared"]?.flag == true)
        #expect(node["arms"]?["taught"]?["objective"]?.location == .init(file: "r.yaml", line: 10, column: 7))
    }

    @Test("both shipped recipes", arguments: ["digits.yaml", "digits-full.yaml"])
    func shipped(_ name: String) throws {
        let recipe = try Recipe.read(Project.recipe(name))
        #expect(recipe.seeds == [0, 1, 2, 3, 4])
        #expect(recipe.arms.map(\.name) == ["student-alone", "student"])
        #expect(recipe.arms.map(\.teachers) == [[], [0]])
        #expect(recipe.train.rows == (name == "digits.yaml" ? 150 : nil))
        #expect(recipe.student.settings.integers("layers") == [64, 16, 10])
        guard case .train(let model, let train) = recipe.teachers[0].source else {
            Issue.record("the teacher is not trained")
            return
        }
        #expect(model.settings.integers("layers") == [64, 256, 256, 10])
        #expect(train.epochs == 60 && train.rows == nil && train.batch == 64)
        let contract = recipe.arms[1].terms[0].contract
        #expect(contract.contains("0.9·T²·KL(p‖q) + 0.1·CE"), "\(contract)")
    }

    @Test("the smallest part of an epoch")
    func smallestPart() throws {
        func smallest(_ train: String, of rows: Int) throws -> Int {
            let text = Self.good.replacing("batch: 8", with: train)
            return try Recipe.parse(text, name: "parts").train.smallestPart(of: rows)
        }
        #expect(try smallest("batch: 8", of: 33) == 1)
        #expect(try smallest("batch: 8", of: 32) == 8)
        #expect(try smallest("batch: 8", of: 5) == 5)
        #expect(try smallest("batch: 8, micro-batch: 3", of: 32) == 2)
        #expect(try smallest("batch: 8, micro-batch: 3", of: 36) == 1)
        #expect(try smallest("batch: 8, micro-batch: 4, rows: 17", of: 100) == 1)
    }

    @Test("every shipped recipe is valid, and its resolved text means the same")
    func everyRecipe() throws {
        let folder = Project.root + "/recipes"
        let names = try FileManager.default.subpathsOfDirectory(atPath: folder).filter { $0.hasSuffix(".yaml") }
        #expect(names.count > 10)
        for name in names {
            let recipe = try readRecipe(folder + "/" + name)
            #expect(recipe.node["arms"]?.fields.isEmpty == false, "\(name)")
            let text = recipe.node.yaml()
            #expect(try RecipeReader.read(text, file: name).yaml() == text, "\(name)")
        }
    }

    @Test("what was resolved reads back to the same text", arguments: ["digits.yaml", "digits-full.yaml", "good"])
    func resolved(_ name: String) throws {
        let node = try name == "good" ? read(Self.good) : Recipe.read(Project.recipe(name)).node
        let text = node.yaml()
        let again = try RecipeReader.read(text, file: "resolved")
        #expect(again.yaml() == text)
    }

    @Test("odd texts and numbers survive the resolved recipe")
    func oddValues() throws {
        for path in [
            "017.csv", "yes", "12:30", "a: b", "it's \"x\" # y", "- x", "null", "~", " a ", "é\u{1}", "1e5", "{}", "&a",
            "no",
        ] {
            let node = try read(Self.good, "data.path=" + JSON.string(path).text())
            #expect(node["data"]?["path"]?.text == path)
            let again = try RecipeReader.read(node.yaml(), file: "resolved")
            #expect(again["data"]?["path"]?.text == path)
            #expect(again.yaml() == node.yaml())
        }
        for rate in ["0.1", "1e-7", "123456.789", "0", "3e5", "1e6", "2.5e-308"] {
            let node = try read(Self.good, "train.optimizer.lr=" + rate)
            let again = try RecipeReader.read(node.yaml(), file: "resolved")
            #expect(again["train"]?["optimizer"]?["lr"]?.number == Double(rate))
        }
        // Arm names that YAML would read as something else.
        let text = Self.good.replacing("alone:", with: "\"no\":").replacing("taught:", with: "\"12\":")
        let node = try read(text)
        #expect(node["arms"]?.fields.map(\.key) == ["no", "12"])
        #expect(try RecipeReader.read(node.yaml(), file: "resolved").yaml() == node.yaml())
    }

    /// A default that the schema refuses would silently be left out.
    @Test("every default of the schema is valid")
    func defaults() throws {
        var checked = 0
        func visit(_ fields: [RecipeField]) throws {
            for field in fields {
                if case .defaulted(let text) = field.presence {
                    // The only required key beside it says where it belongs.
                    let node = try RecipeReader.readValue(text, field.type)
                    #expect(node.location == nil || node.location?.file == "default", "\(field.key): \(text)")
                    checked += 1
                }
                try visit(field.type)
            }
        }
        func visit(_ type: RecipeType) throws {
            switch type {
            case .section(let section): try visit(section.fields)
            case .named(let inner): try visit(inner)
            case .list(let element, _): try visit(element)
            case .variant(_, let sections): try sections.forEach { try visit($0.fields) }
            case .text, .flag, .integer, .number, .bytes, .choice: break
            }
        }
        for family in RecipeFamily.allCases { try visit(family.schema.fields) }
        #expect(checked > 20)
    }

    @Test("schedules of a recipe: steps from epochs")
    func schedules() throws {
        func schedule(_ flow: String) throws -> Schedule {
            let text = Self.good.replacing("train: {epochs: 3,", with: "train: {schedule: \(flow), epochs: 3,")
            return ScheduleSpec(try read(text).required("train").required("schedule")).make(
                epochs: 6, stepsPerEpoch: 10)
        }
        #expect(
            try schedule("{kind: cosine-annealing, warmup: 5}") == .cosineAnnealing(period: 60, minimum: 0, warmup: 5))
        #expect(try schedule("{kind: multi-step, milestones: [2, 4]}") == .multiStep(milestones: [20, 40], gamma: 0.1))
        #expect(try schedule("{kind: cosine, warmup: 5}") == .cosine(warmup: 5, total: 60))
        #expect(try schedule("{kind: linear}") == .linear(warmup: 0, total: 60))
        #expect(try schedule("{kind: constant, warmup: 3}") == .constantWithWarmup(warmup: 3))
        #expect(try schedule("{kind: constant}") == .constant)
        #expect(
            error("epochs: 3", "schedule: {kind: multi-step}, epochs: 3")?.what
                == "train.schedule.milestones is missing")
    }

    @Test("help names every key and every loss")
    func help() {
        let help = RecipeHelp.text
        for type in ObjectiveRegistry.all { #expect(help.contains("loss: " + type.section.name)) }
        for key in ["weight-decay", "t-squared", "label-smoothing", "warmup", "clip", "seeds"] {
            #expect(help.contains(key + " (default"), "\(key)")
        }
    }

    @Test("a section may be its path alone, in the file and on the command line")
    func shorthand() throws {
        let text = Self.good.replacing(
            "teacher:\n  model: {kind: mlp, layers: [4, 8, 3]}\n  train: {epochs: 2}", with: "teacher: models/large")
        #expect(text != Self.good)
        for node in [try read(text), try read(Self.good, "teacher=models/large")] {
            #expect(node["teacher"]?["path"]?.text == "models/large" && node["teacher"]?["model"] == nil)
        }
        #expect(try read(text)["teacher"]?["path"]?.location?.line == 2)
        let several = text.replacing("teacher: models/large", with: "teachers: {one: a, two: {path: b}}")
        #expect(try read(several)["teachers"]?["one"]?["path"]?.text == "a")
        let list = error("teacher:\n  model: {kind: mlp, layers: [4, 8, 3]}\n  train: {epochs: 2}", "teacher: [a]")
        #expect(
            list?.what == "teacher is a list" && list?.why.contains("or its path alone") == true, "\(list?.why ?? "")")
        // A student of this kind is never a directory.
        #expect(error("student: {model: {kind: mlp, layers: [4, 3]}}", "student: x")?.what == "student is 'x'")
    }

    // MARK: What is wrong

    @Test(
        "keys that cannot work together",
        arguments: [
            (
                "objective:\n      - loss: hinton",
                "scheme: {kind: mutual}\n    train: {micro-batch: 2}\n    objective:\n      - loss: hinton",
                "side by side"
            ),
            (
                "- loss: hinton\n        temperature: 4", "- {loss: at, ramp: {kind: between, first: 5, last: 2}}",
                "comes before its first"
            ),
            (
                "- loss: hinton\n        temperature: 4", "- {loss: hinton, ramp: {kind: between, first: 5}}",
                "never counts"
            ),
            (
                "- loss: hinton\n        temperature: 4", "- {loss: hinton, ramp: {kind: linear, from: 0}}",
                "never counts"
            ),
            (
                "- loss: hinton\n        temperature: 4",
                "- {loss: hinton, ramp: {kind: between, last: 1}}\n      - {loss: cross-entropy, ramp: {kind: between, first: 3}}",
                "learns nothing in epoch 2"
            ),
        ])
    func together(_ piece: String, _ replacement: String, _ words: String) {
        let text = Self.good.replacing(piece, with: replacement)
        #expect(text != Self.good)
        let error = thrown(RetortError.self) { _ = try Recipe.parse(text, name: "r") }
        #expect(error?.exit == .recipe && error?.what.contains(words) == true, "\(error?.what ?? "")")
    }

    @Test(
        "losses that want one label refuse mixed examples",
        arguments: ["dkd", "crd", "teacher-free", "ensemble, combine: confidence"])
    func mixedExamples(_ loss: String) {
        func text(_ mix: String) -> String {
            """
            data: {kind: cifar10, path: nowhere, augment: {\(mix)}}
            teacher: {model: {kind: resnet}}
            student: {model: {kind: resnet, depth: 8}}
            arms: {a: {objective: [{loss: \(loss)}]}}
            train: {epochs: 1, batch: 8, optimizer: {kind: adam, lr: 0.01}}
            """
        }
        #expect(throws: Never.self) { try Recipe.parse(text("crop: 2"), name: "r") }
        for mix in ["mixup: 0.2", "cutmix: 1"] {
            let error = thrown(RetortError.self) { _ = try Recipe.parse(text(mix), name: "r") }
            #expect(error?.exit == .recipe && error?.what.contains("one label") == true)
        }
    }

    @Test(
        "views: the strong one is there where a loss looks at it; where none does, that is said",
        arguments: [
            ("strong-augment: {crop: 4, flip: 0.5, rand-augment: {operations: 2, cutout: 0.5}}", "view: strong", ""),
            ("strong-augment: {rand-augment: {magnitude: 10}}", "view: strong, from: teacher", "cannot be given"),
            ("augment: {rand-augment: {magnitude: 30}}", "view: weak", ""), ("rows: 5", "weight: 1", ""),
            ("rows: 5", "view: strong", "strong view, and the data have none"),
            ("strong-augment: {}", "view: weak", ""), ("strong-augment: {}", "weight: 1", ""),
            ("strong-augment: {mixup: 1}", "view: strong", "unknown key 'mixup'"),
            ("strong-augment: {rand-augment: {magnitude: 31}}", "view: strong", "magnitude is 31"),
            ("strong-augment: {rand-augment: {operations: 0}}", "view: strong", "operations is 0"),
            ("strong-augment: {}", "view: strange", "view is 'strange'"),
        ])
    func views(_ data: String, _ loss: String, _ words: String) throws {
        let text = """
            data: {kind: cifar10, path: nowhere, \(data)}
            teacher: {model: {kind: resnet}}
            student: {model: {kind: resnet, depth: 8}}
            arms: {a: {objective: [{loss: hinton}, {loss: cross-entropy, \(loss)}]}}
            train: {epochs: 1, batch: 8, optimizer: {kind: adam, lr: 0.01}}
            """
        if words.isEmpty {
            let remarks = try Recipe.parse(text, name: "r").remarks
            let isIdle = data.contains("strong-augment") && !loss.contains("strong")
            #expect(remarks.count == (isIdle ? 1 : 0), "\(remarks)")
        } else {
            let error = thrown(RetortError.self) { _ = try Recipe.parse(text, name: "r") }
            #expect(error?.exit == .recipe && error?.what.contains(words) == true, "\(error?.what ?? "")")
        }
    }

    @Test("what is minimised says the view")
    func viewContract() throws {
        let recipe = try Recipe.parse(
            """
            data: {kind: cifar10, path: nowhere, strong-augment: {rand-augment: {magnitude: 9.5}}}
            teacher: {model: {kind: resnet}}
            student: {model: {kind: resnet, depth: 8}}
            arms: {a: {objective: [{loss: cross-entropy}, {loss: hinton, view: strong, ramp: {kind: linear}}]}}
            train: {epochs: 2, batch: 8, optimizer: {kind: adam, lr: 0.01}}
            """, name: "r")
        let contracts = recipe.arms[0].terms.map(\.contract)
        #expect(!contracts[0].contains("view") && contracts[1].contains(", strong view, times"))
        #expect(recipe.data.strongAugmentation == PictureAugmentation(randAugment: RandAugment(magnitude: 9.5)))
        #expect(recipe.data.augmentation == .none)
    }

    @Test("unknown keys, with the nearest")
    func unknownKey() {
        #expect(brief(error("batch: 8", "bacth: 8")) == "78 r.yaml:12:20 unknown key 'bacth' in train")
        let e = error("    temperature: 4", "    temprature: 4")
        #expect(e?.help.contains("temperature") == true)
        #expect(e?.location == .init(file: "r.yaml", line: 11, column: 9))
        #expect(brief(error("seeds: [0, 1]", "seed: [0, 1]")) == "78 r.yaml:13:1 unknown key 'seed'")
        // A key of another variant is unknown here.
        #expect(error("lr: 0.01", "lr: 0.01, momentum: 0.9")?.what == "unknown key 'momentum' in train.optimizer")
    }

    @Test("missing keys")
    func missingKey() {
        #expect(brief(error("epochs: 3, ", "")) == "78 r.yaml:12:8 train.epochs is missing")
        #expect(error("data: {kind: csv, ", "data: {")?.what == "data has no kind")
        #expect(error("loss: hinton", "alpha: 1")?.what == "arms.taught.objective.0 has no loss")
    }

    @Test(
        "wrong types and YAML 1.1's traps",
        arguments: [
            ("batch: 8", "batch: eight", "train.batch is 'eight'"),
            ("batch: 8", "batch: 8.0", "train.batch is '8.0'"),
            ("batch: 8", "batch: '8'", "train.batch is '8'"),
            ("batch: 8", "batch: 017", "train.batch is '017'"),
            ("batch: 8", "batch: 0x10", "train.batch is '0x10'"),
            ("batch: 8", "batch: 12:30", "train.batch is '12:30'"),
            ("batch: 8", "batch: yes", "train.batch is 'yes'"),
            ("batch: 8", "batch: ~", "train.batch is null"),
            ("batch: 8", "batch: ", "train.batch is empty"),
            ("batch: 8", "batch: [8]", "train.batch is a list"),
            ("batch: 8", "batch: {a: 8}", "train.batch is a section"),
            ("batch: 8", "batch: 99999999999999999999", "train.batch is '99999999999999999999'"),
            ("lr: 0.01", "lr: .nan", "train.optimizer.lr is '.nan'"),
            ("lr: 0.01", "lr: .inf", "train.optimizer.lr is '.inf'"),
            ("lr: 0.01", "lr: nan", "train.optimizer.lr is 'nan'"),
            ("lr: 0.01", "lr: 1e999", "train.optimizer.lr is '1e999'"),
            ("lr: 0.01", "lr: fast", "train.optimizer.lr is 'fast'"),
            ("temperature: 4", "t-squared: yes", "arms.taught.objective.0.t-squared is 'yes'"),
            ("temperature: 4", "t-squared: on", "arms.taught.objective.0.t-squared is 'on'"),
            ("temperature: 4", "t-squared: True", "arms.taught.objective.0.t-squared is 'True'"),
            ("temperature: 4", "t-squared: \"true\"", "arms.taught.objective.0.t-squared is 'true'"),
            ("train: {epochs: 3, batch: 8, optimizer: {kind: adam, lr: 0.01}}", "train: 5", "train is '5'"),
            ("label: label", "label: ", "data.label is empty"),
            ("seeds: [0, 1]", "seeds: 0", "seeds is '0'"),
            ("layers: [4, 3]", "layers: 4", "student.model.layers is '4'"),
            ("arms:\n", "arms: []\nx:\n", "arms is a list"),
        ])
    func wrongType(_ piece: String, _ replacement: String, _ what: String) {
        let e = error(piece, replacement)
        #expect(e?.exit == .recipe)
        #expect(e?.what == what)
        #expect(e?.why.isEmpty == false)
        #expect(e?.location?.line != nil && e?.location?.column != nil, "\(String(describing: e?.location))")
    }

    @Test(
        "impossible values",
        arguments: [
            ("batch: 8", "batch: 0", "train.batch is 0"), ("batch: 8", "batch: -8", "train.batch is -8"),
            ("epochs: 3", "epochs: 0", "train.epochs is 0"), ("lr: 0.01", "lr: -1", "train.optimizer.lr is -1"),
            ("every: 5", "every: 1", "data.test.every is 1"),
            ("temperature: 4", "temperature: 0", "arms.taught.objective.0.temperature is 0"),
            ("layers: [4, 3]", "layers: [4]", "student.model.layers has 1 element, not 2 to 1024"),
            ("layers: [4, 3]", "layers: [4, 0]", "student.model.layers.1 is 0"),
            ("kind: adam", "kind: adm", "train.optimizer.kind is 'adm'"),
            ("loss: hinton", "loss: hintn", "arms.taught.objective.0.loss is 'hintn'"),
            ("seeds: [0, 1]", "seeds: []", "seeds has 0 elements, not 1 to 1000"),
            ("seeds: [0, 1]", "seeds: [0, -1]", "seeds.1 is -1"),
            ("  alone:", "  teacher:", "'teacher' cannot be a name"),
            ("  alone:", "  ../alone:", "'../alone' cannot be a name"),
            ("  alone:", "  a b:", "'a b' cannot be a name"), ("  alone:", "  \"\":", "'' cannot be a name"),
            ("lr: 0.01", "lr: 0.01, epsilon: 0", "train.optimizer.epsilon is 0"),
        ])
    func impossible(_ piece: String, _ replacement: String, _ what: String) {
        let e = error(piece, replacement)
        #expect(e?.exit == .recipe)
        #expect(e?.what == what)
        #expect(e?.location?.line != nil)
    }

    @Test("nearest word of a choice")
    func nearestChoice() {
        #expect(error("kind: adam", "kind: adm")?.help.contains("adam") == true)
        #expect(error("loss: hinton", "loss: hintn")?.help.contains("hinton") == true)
    }

    @Test("all problems at once, each with its place")
    func allAtOnce() {
        let text = Self.good.replacing("batch: 8", with: "bacth: 8").replacing("epochs: 2", with: "epochs: two")
            .replacing("temperature: 4", with: "temperature: -1").replacing("every: 5", with: "every: 0")
        let e = thrown(RetortError.self) { _ = try read(text) }
        let all = e?.description ?? ""
        for part in [
            "data.test.every is 0", "teacher.train.epochs is 'two'", "temperature is -1", "'bacth'",
            "train.batch is missing",
        ] {
            #expect(all.contains(part), "\(part) in \(all)")
        }
        #expect(all.contains("r.yaml:4:") && all.contains("r.yaml:11:") && all.contains("r.yaml:12:"), "\(all)")
        #expect(all.contains("and 4 more"), "\(all)")
    }

    /// What stands in the message already is not listed again, and a place that is none is not made up.
    @Test("one message: no list twice, no invented places")
    func brevity() {
        let e = error(override: "train.epochs=0", "train.batch=0", "data.kind=csvv", "data.foo=1")
        let all = e?.description ?? ""
        #expect(all.contains("  command line: ") && !all.contains(":0:0"), "\(all)")
        #expect(error("batch: 8", "xyzzy: 8")?.help == "")
        #expect(error("batch: 8", "xyzzy: 8")?.why.contains("keys here: rows, epochs, batch") == true)
        #expect(error(override: "arms={}")?.what == "arms is an empty section")
    }

    @Test("a byte order mark; a tab; a control character")
    func oddCharacters() throws {
        #expect(try read("\u{FEFF}" + Self.good)["seeds"] != nil)
        let tab = error("teacher:\n", "teacher:\n\tx: 1\n")
        #expect(tab?.help.contains("tab") == true)
        #expect(error("seeds: [0, 1]", "seeds: [0, 1")?.help == "")
        let control = error("label: label", "label: la\u{0}bel")
        #expect(brief(control) == "78 r.yaml:1:44 this is not YAML: control characters are not allowed")
        #expect(control?.why == "")
    }

    @Test("text that is not YAML, with its place")
    func notYAML() {
        let e = error("seeds: [0, 1]", "seeds: [0, 1")
        #expect(e?.exit == .recipe)
        #expect(e?.location?.line != nil && e?.location?.column != nil)
        #expect(brief(error("teacher:\n", "teacher:\n\tx: 1\n")).hasPrefix("78 r.yaml:3:1 "))
        #expect(thrown(RetortError.self) { _ = try read("") }?.exit == .recipe)
        #expect(thrown(RetortError.self) { _ = try read("# nothing\n") }?.exit == .recipe)
        #expect(thrown(RetortError.self) { _ = try read("just words") }?.what == "the recipe is 'just words'")
        #expect(thrown(RetortError.self) { _ = try read(Self.good + "\n---\nsecond: document\n") }?.exit == .recipe)
    }

    @Test("duplicate keys, with their place")
    func duplicates() {
        let e = error("batch: 8", "batch: 8, batch: 9")
        #expect(e?.exit == .recipe)
        #expect(e?.what.contains("batch") == true && e?.what.contains("twice") == true)
        #expect(e?.location?.line == 12, "\(brief(e))")
        #expect(error("seeds: [0, 1]", "seeds: [0]\nseeds: [1]")?.location?.line != nil)
    }

    @Test("anchors and aliases")
    func aliases() {
        let e = error("layers: [4, 3]", "layers: &shape [4, 3]")
        #expect(e?.exit == .recipe)
        #expect(e?.what.contains("anchor") == true)
        let both = Self.good.replacing("layers: [4, 8, 3]", with: "layers: &shape [4, 3]")
            .replacing("layers: [4, 3]", with: "layers: *shape")
        let aliased = thrown(RetortError.self) { _ = try read(both) }
        #expect(aliased?.exit == .recipe)
        #expect(aliased?.location?.line == 5 && aliased?.what.contains("*shape") == true, "\(brief(aliased))")
        let merge = error("train: {epochs: 3,", "train: {<<: {epochs: 3},")
        #expect(merge?.exit == .recipe)
    }

    @Test("tags other than YAML's own are refused where they stand; a second document is said to be one")
    func tags() throws {
        for (piece, text, column) in [
            ("epochs: 3", "epochs: !!binary 3", 17), ("layers: [4, 3]", "layers: !secret [4, 3]", 38),
            ("student: {model", "student: !model {model", 10),
        ] {
            let e = error(piece, text)
            #expect(e?.exit == .recipe && e?.what.contains("carries the tag") == true, "\(brief(e))")
            #expect(e?.location?.column == column, "\(brief(e))")
        }
        for (piece, text) in [
            ("epochs: 3", "epochs: !!int 3"), ("layers: [4, 3]", "layers: !!seq [4, 3]"),
            ("label: label", "label: !!str label"), ("label: label", "label: ! label"), ("rows.csv", "2026-01-01"),
        ] {
            _ = try read(Self.good.replacing(piece, with: text))
        }
        let second = thrown(RetortError.self) { _ = try read(Self.good + "\n---\nseeds: [0]\n") }
        #expect(brief(second) == "78 r.yaml:14:1 a second YAML document begins here")
    }

    @Test("optimizers and schedules that contradict themselves, wherever they stand")
    func contradictions() throws {
        func optimizer(_ text: String) -> RetortError? {
            error("{kind: adam, lr: 0.01}", "{kind: sgd, lr: 0.01, \(text)}")
        }
        #expect(optimizer("momentum: 1")?.what == "train.optimizer.momentum is 1")
        #expect(optimizer("momentum: 1")?.why == "it must be a number from 0 to 0.999999999")
        let nesterov = optimizer("nesterov: true")
        #expect(nesterov?.what.contains("nesterov") == true && nesterov?.location?.line == 12, "\(brief(nesterov))")
        func schedule(_ milestones: String, in piece: String = "train: {epochs: 3") -> RetortError? {
            error(piece, piece + ", schedule: {kind: multi-step, milestones: \(milestones)}")
        }
        #expect(schedule("[4, 2]")?.what == "the milestone 2 does not come after 4")
        #expect(schedule("[2, 2]")?.what == "the milestone 2 does not come after 2")
        let inner = schedule("[3, 1]", in: "train: {epochs: 2")
        #expect(inner?.exit == .recipe && inner?.location?.line == 4, "\(brief(inner))")
        _ = try read(
            Self.good.replacing(
                "{kind: adam, lr: 0.01}", with: "{kind: sgd, lr: 0.01, nesterov: true, momentum: 0.9}"))
        // Names of the user's own are no keys.
        _ = try read(Self.good.replacing("  alone:", with: "  milestones:").replacing("taught:", with: "nesterov:"))
        #expect(error("{epochs: 2}", "{epochs: 2, clip: -1}")?.why == "it must be a number from 0 to 1000000000")
    }

    /// The laughing billion: 10 levels of 10 aliases each, as values and as keys.
    @Test("a bomb of aliases is refused without unfolding it", arguments: ["v: ", "? "])
    func bomb(_ prefix: String) {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for i in 1..<30 {
            text += "a\(i): &a\(i) [" + [String](repeating: "*a\(i - 1)", count: 10).joined(separator: ", ") + "]\n"
        }
        text += prefix + "*a29\n"
        let e = thrown(RetortError.self) { _ = try read(text) }
        #expect(e?.exit == .recipe)
    }

    @Test("limits: size, depth, number of values")
    func limits() throws {
        let large = Self.good + "\n# " + String(repeating: "x", count: 1 << 20)
        #expect(thrown(RetortError.self) { _ = try read(large) }?.exit == .recipe)
        let folder = try ScratchFolder()
        let path = try folder.write(large, to: "large.yaml")
        let e = thrown(RetortError.self) { _ = try Recipe.read(path) }
        #expect(e?.exit == .recipe, "\(String(describing: e))")
        #expect(e?.location?.file == path)

        let deep = String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000)
        #expect(error("seeds: [0, 1]", "seeds: " + deep)?.exit == .recipe)
        let many = "[" + [String](repeating: "1", count: 20_000).joined(separator: ", ") + "]"
        #expect(error("seeds: [0, 1]", "seeds: " + many)?.exit == .recipe)
        // Beyond the limit everything is: it is said once, of the value that stands there. What is filled in does not count.
        func arms(_ count: Int) -> String {
            (0..<count).map { "  a\($0): {objective: [{loss: cross-entropy}]}\n" }.joined()
        }
        let full = error("  alone:", arms(3000) + "  alone:")
        #expect(full?.what == "the recipe has more than 10000 values, the limit")
        #expect(full?.location?.line ?? 0 > 500 && full?.why == "", "\(String(describing: full))")
        #expect(throws: Never.self) { try read(Self.good.replacing("  alone:", with: arms(600) + "  alone:")) }
    }

    @Test("a file that is not there, not text, a directory")
    func files() throws {
        let folder = try ScratchFolder()
        #expect(thrown(RetortError.self) { _ = try Recipe.read(folder.path("none.yaml")) }?.exit == .missingInput)
        try AtomicFile.write([0x61, 0xff, 0xfe], to: folder.path("bytes.yaml"))
        let e = thrown(RetortError.self) { _ = try Recipe.read(folder.path("bytes.yaml")) }
        #expect(e?.exit == .recipe)
        #expect(thrown(RetortError.self) { _ = try Recipe.read(folder.path) } != nil)
    }

    @Test("what the schema cannot see")
    func semantics() throws {
        let folder = try ScratchFolder()
        func error(_ piece: String, _ replacement: String) throws -> RetortError? {
            let path = try folder.write(Self.good.replacing(piece, with: replacement), to: "r.yaml")
            return thrown(RetortError.self) { _ = try Recipe.read(path) }
        }
        let twice = try error("seeds: [0, 1]", "seeds: [1, 1]")
        #expect(twice?.exit == .recipe && twice?.location?.line == 13)
        let both = try error("  train: {epochs: 2}", "  path: x")
        #expect(both?.exit == .recipe && both?.what == "a teacher has both model and path")
        #expect(both?.location?.line == 4, "\(String(describing: both))")
        let none = try error("  model: {kind: mlp, layers: [4, 8, 3]}\n  train: {epochs: 2}", "  train: {epochs: 2}")
        #expect(none?.exit == .recipe && none?.location?.line != nil)
        let trained = try error("  model: {kind: mlp, layers: [4, 8, 3]}", "  path: x")
        #expect(trained?.exit == .recipe && trained?.what.contains("not trained") == true)
        // What only data would have shown, and the recipe says by itself.
        let data = "data: {kind: csv, path: rows.csv, label: label, test: {every: 5}}"
        #expect(Self.good.contains(data))
        let cases = [
            (data.replacing("label: label", with: "label: label, scale: 0"), "data.scale is 0"),
            (data.replacing("label: label", with: "label: label, scale: 1e-60"), "data.scale is 1e-60"),
            (data.replacing("rows.csv", with: "''"), "data.path is empty"),
            (
                "data: {kind: cifar10, path: x, normalize: {mean: [0.5], deviation: [0.2]}}",
                "data.normalize has 1 mean, but the images have 3 channels"
            ),
            (
                "data: {kind: images, path: x, height: 8, width: 8, channels: 1, "
                    + "normalize: {mean: [0.5, 0.5], deviation: [0.2, 0.2]}}",
                "data.normalize has 2 means, but the images have 1 channel"
            ),
        ]
        // A loss that is multiplied by 0 teaches nothing where it stands alone.
        let loss = "{loss: cross-entropy}"
        for nothing in [
            "{loss: cross-entropy, weight: 0}", "{loss: soft-cross-entropy, alpha: 0}, {loss: logit-mse, alpha: 0}",
        ] {
            let refused = try error(loss, nothing)
            #expect(refused?.exit == .recipe && refused?.what == "the arm alone learns nothing")
            #expect(refused?.location?.line == 7, "\(String(describing: refused))")
        }
        for something in [
            "{loss: cross-entropy}, {loss: logit-mse, alpha: 0}", "{loss: hinton, alpha: 0}", "{loss: dkd, alpha: 0}",
        ] {
            let path = try folder.write(Self.good.replacing(loss, with: something), to: "r.yaml")
            #expect(try Recipe.read(path).arms.count == 2)
        }
        for (text, what) in cases {
            let refused = try error(data, text)
            #expect(refused?.exit == .recipe && refused?.what == what, "\(String(describing: refused))")
            #expect(refused?.location?.line == 1 && refused?.location?.column != nil, "\(what)")
        }
        let path = try folder.write(
            Self.good.replacing("layers: [4, 3]", with: "layers: [4, 1048576, 1048576, 3]"), to: "r.yaml")
        let huge = thrown(RetortError.self) {
            _ = try Recipe.read(path).student.make(for: .init(sample: [4], classes: 3), who: "student")
        }
        #expect(huge?.exit == .recipe && huge?.location?.line == 5)
    }

    // MARK: Overrides

    @Test("overrides replace, add, step into lists, and the last wins")
    func overrides() throws {
        let node = try read(
            Self.good, "train.epochs=7", "seeds=[3, 4]", "arms.taught.objective.0.alpha=0.5", "data.scale=0.0625",
            "train.optimizer={kind: sgd, lr: 0.1}", "train.epochs=9", "teacher.train.rows=20", "data.path=a=b.csv")
        #expect(node["train"]?["epochs"]?.integer == 9)
        #expect(node["seeds"]?.list.map(\.integer) == [3, 4])
        #expect(node["arms"]?["taught"]?["objective"]?.list[0]["alpha"]?.number == 0.5)
        #expect(node["arms"]?["taught"]?["objective"]?.list[0]["temperature"]?.number == 4)
        #expect(node["data"]?["scale"]?.number == 0.0625)
        #expect(node["train"]?["optimizer"]?["kind"]?.text == "sgd")
        #expect(node["teacher"]?["train"]?["rows"]?.integer == 20)
        #expect(node["data"]?["path"]?.text == "a=b.csv")
        // Order of keys stays as written: the resolved text is part of a run's identity.
        #expect(try read(Self.good, "train.epochs=3").yaml() == read(Self.good).yaml())
    }

    @Test(
        "override syntax is the command line's: 64",
        arguments: [
            "train.epochs", "=5", "train..epochs=5", ".train=5", "train.=5", "train.epochs=[1", "train.epochs={a: 1",
        ])
    func overrideSyntax(_ word: String) {
        let e = error(override: word)
        #expect(e?.exit == .usage, "\(brief(e))")
        #expect(e?.description.contains(word) == true, "\(e?.description ?? "")")
    }

    @Test(
        "a wrong override points at the command line: 78",
        arguments: [
            ("train.epoch=5", "unknown key 'epoch' in train"), ("trian.epochs=5", "unknown key 'trian'"),
            ("train.epochs=five", "train.epochs is 'five'"), ("train.epochs=", "train.epochs is empty"),
            ("arms.taught.objective.0.temprature=2", "unknown key 'temprature' in arms.taught.objective.0"),
            ("seeds=[0, x]", "seeds.1 is 'x'"), ("train.optimizer={kind: sgd}", "train.optimizer.lr is missing"),
        ])
    func wrongOverride(_ word: String, _ what: String) {
        let e = error(override: word)
        #expect(e?.exit == .recipe)
        #expect(e?.what == what)
        #expect(e?.location?.file == "command line", "\(brief(e))")
    }

    @Test("an override into a value that has no inside, past a list's end")
    func overrideInside() {
        for word in ["seeds.7=1", "seeds.x=1", "train.epochs.more=1"] {
            let e = error(override: word)
            #expect(e?.exit == .recipe && e?.location?.file == "command line", "\(brief(e))")
            #expect(e?.what.contains(word) == true)
        }
    }

    @Test("null takes a key away, and is no text; the word itself stands in quotes")
    func nothing() throws {
        let without = try read(Self.good, "teacher=null", "arms.taught=~")
        #expect(without["teacher"] == nil && without["arms"]?.fields.map(\.key) == ["alone"])
        #expect(try read(Self.good, "data.scale=0.5", "data.scale=null").yaml() == read(Self.good).yaml())
        #expect(try read(Self.good, "data.path='null'")["data"]?["path"]?.text == "null")
        let gone = error(override: "data.test=null")
        #expect(gone?.exit == .recipe && gone?.what == "data.test is missing", "\(brief(gone))")
        #expect(gone?.location?.line == 1)
        for word in ["data.tset=null", "train.warmup.more=null", "seeds.0=null", "data.test.every.n=null"] {
            let e = error(override: word)
            #expect(e?.exit == .recipe && e?.location?.file == "command line", "\(brief(e))")
            #expect(e?.what.contains(word) == true)
        }
        for (piece, null, what) in [
            ("label: label", "label: null", "data.label is null"), ("path: rows.csv", "path: ~", "data.path is null"),
        ] {
            let e = thrown(RetortError.self) {
                _ = try RecipeReader.read(Self.good.replacing(piece, with: null), file: "r.yaml")
            }
            #expect(e?.what == what && e?.location?.line == 1 && e?.help.contains("leave the key out") == true)
        }
        // A path alone may stand for a section; nothing does not.
        let language = """
            data: {kind: text, path: a.jsonl, test: null}
            student: {path: small}
            arms: {alone: {objective: [{loss: cross-entropy}]}}
            train: {steps: 3, batch: 8, optimizer: {kind: adamw, lr: 1e-4}}
            """
        let e = thrown(RetortError.self) { _ = try RecipeReader.read(language, file: "r.yaml") }
        #expect(e?.what == "data.test is null" && e?.location?.column == 41, "\(brief(e))")
    }

    @Test("anchors in overrides are refused too")
    func overrideAnchor() {
        #expect(error(override: "seeds=&a [1]")?.exit == .recipe)
        #expect(error(override: "seeds=*a")?.exit == .usage)
        #expect(error(override: "seeds=[&a 1, *a]")?.exit == .usage)
    }
}
