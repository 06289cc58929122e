import Foundation
import RetortSupport
import TestSupport
import Testing

/// `retort eval` on every kind of data that a recipe can name: a model measured on its own run's test data has the run's numbers.
@Suite("Evaluation of saved models")
struct EvalTests {
    private static let grey = SamplePictures(channels: 1, height: 12, width: 10)
    private static let colour = SamplePictures(channels: 3, height: 32, width: 32, classes: 20)

    /// A folder with data of each kind and a recipe for each.
    private struct Workplace {
        let folder: ScratchFolder

        init() throws {
            folder = try ScratchFolder()
            try EvalTests.grey.writeIDX(folder, "idx", train: 40, test: 25)
            try EvalTests.grey.writeFolder(folder, "pictures", train: 40, test: 25)
            try EvalTests.colour.writeCIFAR100(folder, "cifar", train: 60, test: 30)
            var csv = "a,b,c,d,label\n"
            for row in 0..<90 {
                let label = row % 3
                let values = (0..<4).map { ($0 == label ? 14 : 3) + (row * 7 + $0 * 5) % 11 }
                csv += values.map { "\($0)" }.joined(separator: ",") + ",\(label)\n"
            }
            try folder.write(csv, to: "rows.csv")
        }

        func train(_ name: String, _ data: String, teacher: String, student: String, device: String) throws -> [JSON] {
            try folder.write(
                """
                data: \(data)
                teacher: {model: \(teacher), train: {epochs: 2}}
                student: {model: \(student)}
                arms: {student-alone: {objective: [{loss: cross-entropy}]}, student: {objective: [{loss: hinton}]}}
                train: {epochs: 3, batch: 16, optimizer: {kind: adam, lr: 0.01}}

                """, to: name + ".yaml")
            let child = try Child.retort(
                ["train", name + ".yaml", "--device", device, "--json", "--quiet", "--output", name], in: folder.path)
            #expect(child.exit == 0, "\(child.stderr)")
            return try Self.rows(child)
        }

        func eval(_ words: String..., device: String = "cpu") throws -> Child {
            try Child.retort(["eval"] + words + ["--device", device, "--json"], in: folder.path)
        }

        static func rows(_ child: Child) throws -> [JSON] {
            try JSONCursor(try JSON.parse(child.stdout, file: "stdout"), file: "stdout").member("rows").elements()
                .map(\.value)
        }
    }

    private static let devices = ["cpu"] + (TestBackend.hasOpenCL ? ["opencl:0"] : [])
    private static let cnn = ("{kind: cnn, channels: [6]}", "{kind: cnn, channels: [2]}")
    private static let cases:
        [String: (data: String, path: String, words: [String], teacher: String, student: String)] = [
            "idx": ("{kind: idx, path: idx}", "idx", [], cnn.0, cnn.1),
            "normalised": (
                "{kind: idx, path: idx, normalize: {mean: [0.3], deviation: [0.21]}}", "idx", ["--kind", "idx"], cnn.0,
                cnn.1
            ),
            "flat": (
                "{kind: idx, path: idx}", "idx", [], "{kind: mlp, layers: [120, 9, 3]}", "{kind: mlp, layers: [120, 3]}"
            ),
            "coarse": ("{kind: cifar100, path: cifar, labels: coarse}", "cifar", [], cnn.0, cnn.1),
            "fine": ("{kind: cifar100, path: cifar}", "cifar", ["--labels", "fine"], cnn.0, cnn.1),
            "pictures": (
                "{kind: images, path: pictures, height: 12, width: 10, channels: 1}", "pictures", [], cnn.0, cnn.1
            ),
            "resized": (
                "{kind: images, path: pictures, height: 8, width: 8, memory: 0}", "pictures", ["--memory", "0"], cnn.0,
                cnn.1
            ),
            "flat pictures": (
                "{kind: images, path: pictures, height: 6, width: 5, channels: 1}", "pictures", [],
                "{kind: mlp, layers: [30, 9, 3]}", "{kind: mlp, layers: [30, 3]}"
            ),
            "split": (
                "{kind: images, path: pictures/train, height: 12, width: 10, test: {every: 3}}", "pictures/train",
                ["--test-every", "3"], cnn.0, cnn.1
            ),
            // Models that see a part of each example, each its own.
            "halves": (
                "{kind: csv, path: rows.csv, label: label, test: {every: 5}}", "rows.csv", ["--test-every", "5"],
                "{kind: mlp, layers: [2, 8, 3]}, sees: {columns: [0, 1]}",
                "{kind: mlp, layers: [3, 3]}, sees: {columns: [1, 3]}"
            ),
            "upper": ("{kind: idx, path: idx}", "idx", [], cnn.0, cnn.1 + ", sees: {rows: [0, 6]}"),
            "corner": (
                "{kind: images, path: pictures, height: 12, width: 10, channels: 1}", "pictures", [],
                cnn.0 + ", sees: {columns: [5, 9]}", cnn.1 + ", sees: {rows: [2, 9], columns: [1, 7], channels: [0, 0]}"
            ),
            "table": (
                "{kind: csv, path: rows.csv, label: label, scale: 0.0625, test: {every: 5}}", "rows.csv",
                ["--test-every", "5"], "{kind: mlp, layers: [4, 8, 3]}", "{kind: mlp, layers: [4, 3]}"
            ),
        ]

    @Test(
        "a model on its own run's test data has the run's numbers, exactly", arguments: devices, cases.keys.sorted())
    func asInItsRun(_ device: String, _ name: String) throws {
        let place = try Workplace()
        let entry = try #require(Self.cases[name])
        let run = "run-" + name.replacing(" ", with: "-")
        let trained = try place.train(
            run, entry.data, teacher: entry.teacher, student: entry.student, device: device)
        let words = ["eval", run + "/student/seed-0/final", "--teacher", run + "/teacher/seed-0/final", "--data"]
        let child = try Child.retort(
            words + [entry.path] + entry.words + ["--device", device, "--json"], in: place.folder.path)
        #expect(child.exit == 0, "\(child.stderr)")
        let measured = try Workplace.rows(child)
        try #require(measured.count == 2 && trained.count == 3)
        for key in ["accuracy", "macro_f1", "agreement", "kl_to_teacher", "parameters", "bytes"] {
            #expect(measured[1]["metrics"]?[key] == trained[2]["metrics"]?[key], "\(key)")
            #expect(measured[0]["metrics"]?[key] == trained[0]["metrics"]?[key], "teacher \(key)")
            #expect(trained[2]["metrics"]?[key] != nil)
        }
        // A divergence that is no round number: equal only when every logit is.
        #expect(
            try JSONCursor(trained[2], file: name).member("metrics").member("kl_to_teacher").member("mean").double() > 0
        )
    }

    @Test("a recommender on its run's recipe has the run's numbers", arguments: devices)
    func recommender(_ device: String) throws {
        let folder = try ScratchFolder()
        let synth = try Child.retort(
            ["synth", "interactions", "ratings.csv", "--users", "40", "--items", "60", "--per-user", "12"],
            in: folder.path)
        #expect(synth.exit == 0, "\(synth.stderr)")
        try folder.write(
            """
            data: {kind: interactions, path: ratings.csv, user: userId, item: movieId, rating: rating, timestamp: timestamp, threshold: 3, test: {split: every, n: 4}}
            teacher: {model: {kind: matrix-factorization, dimension: 8}}
            student: {model: {kind: matrix-factorization, dimension: 3}}
            arms: {student: {objective: [{loss: bpr}]}}
            train: {epochs: 3, batch: 64, optimizer: {kind: adam, lr: 0.02}}
            """, to: "r.yaml")
        let train = try Child.retort(
            ["train", "r.yaml", "--device", device, "--output", "run", "--json", "--quiet"], in: folder.path)
        #expect(train.exit == 0, "\(train.stderr)")
        func eval(_ words: String...) throws -> Child {
            try Child.retort(["eval", "run/student/seed-0/final", "--device", device] + words, in: folder.path)
        }
        let child = try eval("--data", "run/recipe.resolved.yaml", "--teacher", "run/teacher/seed-0/final", "--json")
        #expect(child.exit == 0, "\(child.stderr)")
        let (trained, measured) = (try Workplace.rows(train), try Workplace.rows(child))
        try #require(measured.count == 2 && trained.count == 2)
        for key in ["recall@10", "recall@20", "ndcg@10", "ndcg@20", "parameters", "bytes"] {
            for row in 0...1 {
                #expect(measured[row]["metrics"]?[key] == trained[row]["metrics"]?[key], "\(row) \(key)")
                #expect(trained[row]["metrics"]?[key] != nil)
            }
        }
        // Of the recipe as it was written too; moved data is named.
        try FileManager.default.moveItem(atPath: folder.path("ratings.csv"), toPath: folder.path("moved.csv"))
        expect(try eval("--data", "r.yaml"), .missingInput, "ratings.csv")
        #expect(try eval("data.path=moved.csv", "--data", "r.yaml").exit == 0)
        expect(try eval("--data", "moved.csv"), .usage, "recipe.resolved.yaml")
        expect(try eval("--data", "r.yaml", "--split", "test"), .usage, "--split", "recommenders")
        expect(try eval("--data", "r.yaml", "--retrieval"), .usage, "--retrieval", "encoders")
    }

    @Test("other inputs than in training are other numbers; options override what the model says")
    func overrides() throws {
        let place = try Workplace()
        _ = try place.train("run", Self.cases["idx"]!.data, teacher: Self.cnn.0, student: Self.cnn.1, device: "cpu")
        func divergence(_ words: String...) throws -> JSON? {
            let child = try Child.retort(
                ["eval", "run/student/seed-0/final", "--teacher", "run/teacher/seed-0/final", "--data", "idx"] + words
                    + ["--device", "cpu", "--json"], in: place.folder.path)
            #expect(child.exit == 0, "\(child.stderr)")
            return try Workplace.rows(child)[1]["metrics"]?["kl_to_teacher"]?["mean"]
        }
        let own = try divergence()
        let path = place.folder.path("run/student/seed-0/final/preprocessor_config.json")
        let said = JSONCursor(try JSON.read(path), file: path)
        let mean = try said.member("image_mean").elements()[0].double()
        let deviation = try said.member("image_std").elements()[0].double()
        #expect(try divergence("--mean", "\(mean)", "--deviation", "\(deviation)") == own)
        #expect(try divergence("--mean", "0.5", "--deviation", "0.5") != own)
        #expect(try divergence("--split", "train") != own)
        #expect(try divergence("--split", "test") == own)
    }

    private func expect(
        _ child: Child, _ exit: ExitCode, _ words: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(child.exit == exit.rawValue, "\(child.stderr)", sourceLocation: sourceLocation)
        for word in words {
            #expect(child.stderr.contains(word), "\(word) in: \(child.stderr)", sourceLocation: sourceLocation)
        }
        #expect(child.stdout == "", sourceLocation: sourceLocation)
        #expect(!child.stderr.contains("Fatal error"), sourceLocation: sourceLocation)
    }

    @Test("data that is not the model's, and options that are not the data's")
    func errors() throws {
        let place = try Workplace()
        _ = try place.train(
            "grey", Self.cases["pictures"]!.data, teacher: Self.cnn.0, student: Self.cnn.1, device: "cpu")
        _ = try place.train(
            "table", Self.cases["table"]!.data, teacher: "{kind: mlp, layers: [4, 8, 3]}",
            student: "{kind: mlp, layers: [4, 3]}", device: "cpu")
        let (model, table) = ("grey/student/seed-0/final", "table/student/seed-0/final")
        // Shapes and classes.
        expect(try place.eval(model, "--data", "cifar"), .badData, "1 channel, 12 × 10 pixels", "3 channels, 32 × 32")
        expect(try place.eval(model, "--data", "rows.csv", "--scale", "1"), .badData, "images", "4 features")
        expect(try place.eval(table, "--data", "idx"), .badData, "4 features", "12 × 10")
        try place.folder.write("a,b,c,d,label\n1,2,3,4,2\n1,2,3,4,3\n1,2,3,4,7\n", to: "beyond.csv")
        expect(
            try place.eval(table, "--data", "beyond.csv"), .badData, "beyond.csv:3:9",
            "the label 3 is beyond the classes of the model", "2 of 3 rows", "a model of 8 classes")
        expect(
            try place.eval(model, "--data", "pictures", "--height", "9"), .badData, "12 × 10 pixels", "9 × 10 pixels")
        try FileManager.default.removeItem(atPath: place.folder.path("pictures/train/class1"))
        try FileManager.default.removeItem(atPath: place.folder.path("pictures/test/class1"))
        expect(
            try place.eval(model, "--data", "pictures"), .badData, "the data has no class 'class1'",
            "the data has 2 classes, the model 3")
        // One of another name: by number it would be another class.
        try Self.grey.writeFolder(place.folder, "pictures", train: 40, test: 25)
        for part in ["train", "test"] {
            try FileManager.default.moveItem(
                atPath: place.folder.path("pictures/\(part)/class0"),
                toPath: place.folder.path("pictures/\(part)/zero"))
        }
        expect(
            try place.eval(model, "--data", "pictures"), .badData, "the model knows no class 'zero'", "'class0'",
            "config.json")
        for part in ["train", "test"] {
            try FileManager.default.removeItem(atPath: place.folder.path("pictures/\(part)/zero"))
        }
        try Self.grey.writeFolder(place.folder, "pictures", train: 40, test: 25)
        // Parts that the data does not have.
        let seen = try place.train(
            "seen", Self.cases["upper"]!.data, teacher: Self.cnn.0, student: Self.cases["upper"]!.student, device: "cpu"
        )
        #expect(seen.count == 3)
        let sees = place.folder.path("seen/student/seed-0/final/preprocessor_config.json")
        let kept = try String(contentsOfFile: sees, encoding: .utf8)
        for (range, exit, word) in [
            ("0, 12", ExitCode.badData, "have 12 rows"), ("6, 0", .badData, "sees.rows"), ("0", .badData, "sees.rows"),
            ("0, 5", .badData, "of it the model sees rows 0 to 5"),
        ] {
            let text = kept.replacing(/"rows": \[[^\]]*\]/, with: "\"rows\": [\(range)]")
            #expect(text != kept)
            try text.write(toFile: sees, atomically: true, encoding: .utf8)
            expect(try place.eval("seen/student/seed-0/final", "--data", "idx"), exit, word)
        }
        try kept.replacing("\"rows\"", with: "\"row\"").write(toFile: sees, atomically: true, encoding: .utf8)
        expect(try place.eval("seen/student/seed-0/final", "--data", "idx"), .badData, "row", "rows")
        // What the model does not say.
        let config = place.folder.path(model + "/preprocessor_config.json")
        let good = try String(contentsOfFile: config, encoding: .utf8)
        try FileManager.default.removeItem(atPath: config)
        expect(try place.eval(model, "--data", "pictures"), .usage, "normalised", "--mean", "--deviation")
        try place.folder.write(good.replacing("image_std", with: "image_sdt"), to: model + "/preprocessor_config.json")
        expect(try place.eval(model, "--data", "pictures"), .usage, "normalised")
        try place.folder.write(
            good.replacing("\"image_std\": [", with: "\"image_std\": [0,"), to: model + "/preprocessor_config.json")
        expect(try place.eval(model, "--data", "pictures"), .badData, "preprocessor_config.json", "image_std[0]")
        try place.folder.write("{", to: model + "/preprocessor_config.json")
        expect(try place.eval(model, "--data", "pictures"), .badData, "preprocessor_config.json")
        try place.folder.write(good, to: model + "/preprocessor_config.json")
        // Options.
        expect(
            try place.eval(model, "--data", "pictures", "--mean", "0.1,0.2", "--deviation", "1,1"), .usage, "2 means")
        expect(try place.eval(model, "--data", "pictures", "--mean", "0.1"), .usage, "--deviation")
        expect(try place.eval(model, "--data", "pictures", "--mean", "x", "--deviation", "1"), .usage, "--mean")
        expect(try place.eval(model, "--data", "pictures", "--scale", "2"), .usage, "--scale", "csv")
        expect(try place.eval(model, "--data", "idx", "--test-every", "2"), .usage, "--test-every", "csv, images")
        expect(try place.eval(model, "--data", "idx", "--labels", "fine"), .usage, "--labels", "cifar100")
        expect(try place.eval(table, "--data", "rows.csv", "--split", "train"), .usage, "--test-every")
        expect(try place.eval(model, "--data", "pictures/test", "--split", "test"), .usage, "--split", "--test-every")
        // Nothing there, nothing known there, a wrong kind.
        expect(try place.eval(model, "--data", "none"), .missingInput, "none")
        try place.folder.write("x", to: "odd/readme.txt")
        expect(try place.eval(model, "--data", "odd"), .badData, "cannot tell", "--kind")
        expect(try place.eval(model, "--data", "idx", "--kind", "cifar10"), .missingInput, "data_batch_1.bin")
        try place.folder.write("x", to: "idx/test.bin")
        expect(try place.eval(model, "--data", "idx"), .badData, "idx and cifar100", "--kind")
        #expect(try place.eval(model, "--data", "idx", "--kind", "idx").exit == 0)
        // Class folders without parts: all of them.
        #expect(try place.eval(model, "--data", "pictures/test").exit == 0)
        try place.folder.write("no picture", to: "pictures/test/class0/9999.png")
        expect(try place.eval(model, "--data", "pictures"), .badData, "9999.png")
        expect(try place.eval(model, "--data", "pictures", "--memory", "0"), .badData, "9999.png")
    }
}
