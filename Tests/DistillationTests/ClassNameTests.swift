import RetortData
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Models know what their classes are called, and data that have names are matched by these.
@Suite("Class names")
struct ClassNameTests {
    private static let pictures = SamplePictures(channels: 1, height: 6, width: 5)
    private static let names = ["class0", "class1", "class2"]
    /// No class stays where it is.
    private static let order = [2, 0, 1]

    /// Pictures in folders, and models of the same random weights.
    private struct Place {
        let folder: ScratchFolder
        let device: Device

        init(_ backend: TestBackend) throws {
            folder = try ScratchFolder()
            device = try backend.device()
            try ClassNameTests.pictures.writeFolder(folder, "data", train: 3, test: 30)
        }

        func save(_ name: String, _ classes: [String]?, order: [Int] = [0, 1, 2]) throws {
            let model = MLP([30, 3])
            _ = try model.materialize(on: device, seed: 3)
            try model.reorderClasses(order)
            let images = ImagePreprocessing(mean: [0.3], deviation: [0.2], height: 6, width: 5)
            try ModelDirectory.save(
                model, preprocessing: .images(images), classes: classes.map { ClassNames($0) }, to: folder.path(name))
        }

        func measure(_ model: String, teacher: String) throws -> RunResults {
            try evaluate(
                model: folder.path(model), teacher: folder.path(teacher), on: EvaluationData(folder.path("data")),
                device: device)
        }

        func teacher(_ name: String) throws -> any Model {
            let recipe = try Recipe.parse(
                """
                data: {kind: images, path: none, height: 6, width: 5, channels: 1}
                teacher: {path: \(name)}
                student: {model: {kind: mlp, layers: [30, 3]}}
                arms: {student: {objective: [{loss: hinton}]}}
                train: {epochs: 1, batch: 8, optimizer: {kind: sgd, lr: 0.1}}
                """, name: "names")
            return try TrainingRun.load(
                teacher: folder.path(name), for: ClassificationTask(sample: [1, 6, 5], classes: 3), of: recipe.data,
                recipe.data.kind.stated(ClassNameTests.names), on: device)
        }
    }

    @Test("a model whose classes stand in another order gives the same answers by name", arguments: TestBackend.fast)
    func byName(_ backend: TestBackend) throws {
        let place = try Place(backend)
        try place.save("own", Self.names)
        try place.save("other", Self.order.map { Self.names[$0] }, order: Self.order)
        try place.save("unnamed", nil, order: Self.order)

        let results = try place.measure("other", teacher: "own")
        #expect(results.arms[1].spread(.agreement)?.mean == 1)
        #expect(results.arms[1].spread(.accuracy) == results.arms[0].spread(.accuracy))
        let divergence = try #require(results.arms[1].spread(.klToTeacher)).mean
        #expect(abs(divergence) < 1e-6)
        #expect(try place.measure("own", teacher: "other").arms[1].spread(.agreement)?.mean == 1)
        // Without names classes go by their numbers, as they always did.
        #expect(try place.measure("unnamed", teacher: "own").arms[1].spread(.agreement)?.mean == 0)

        let (own, other) = (try place.teacher("own"), try place.teacher("other"))
        for (a, b) in zip(own.parameters, other.parameters) { #expect(try a.values() == b.values(), "\(a.name)") }
        let unnamed = try place.teacher("unnamed")
        #expect(try unnamed.parameters[1].values() == Self.order.map { try own.parameters[1].values()[$0] })
    }

    @Test("a class that only the model or only the data has is named")
    func others() throws {
        let place = try Place(.cpu)
        try place.save("own", Self.names)
        try place.save("other", ["class0", "klass1", "class2"])
        try place.save("twice", ["class0", "class1", "class1"])
        func refused(_ words: [String], _ body: () throws -> Void) {
            let error = thrown(RetortError.self, body)
            #expect(error?.exit == .badData && error?.location?.file.hasSuffix("/config.json") == true)
            for word in words { #expect(error?.description.contains(word) == true, "\(word): \(error as Any)") }
        }
        refused(["the model knows no class 'class1'", "'klass1'"]) { _ = try place.measure("other", teacher: "own") }
        refused(["the teacher knows no class 'class1'", "'klass1'"]) { _ = try place.measure("own", teacher: "other") }
        refused(["the teacher knows no class 'class1'", "'klass1'"]) { _ = try place.teacher("other") }
        refused(["knows no class 'class2'"]) { _ = try place.teacher("twice") }
    }

    @Test("pictures of one class are refused: there is nothing to tell apart")
    func oneClass() throws {
        let folder = try ScratchFolder()
        let one = SamplePictures(channels: 1, height: 6, width: 5, classes: 1)
        try one.writeFolder(folder, "data", train: 3, test: 2)
        let recipe = try Recipe.parse(
            """
            data: {kind: images, path: \(folder.path("data")), height: 6, width: 5, channels: 1}
            teacher: {model: {kind: mlp, layers: [30, 1]}}
            student: {model: {kind: mlp, layers: [30, 1]}}
            arms: {student: {objective: [{loss: hinton}]}}
            train: {epochs: 1, batch: 8, optimizer: {kind: sgd, lr: 0.1}}
            """, name: "one")
        let error = thrown(RetortError.self) { _ = try recipe.data.load() }
        #expect(error?.exit == .badData && error?.what == "the pictures are of one class")
        #expect(error?.location?.file == folder.path("data"))
    }

    @Test("config.json has them as Hugging Face writes them, and is read strictly")
    func files() throws {
        let place = try Place(.cpu)
        try place.save("own", Self.names)
        let config = try JSON.read(place.folder.path("own/config.json"))
        #expect(config["id2label"] == ["0": "class0", "1": "class1", "2": "class2"])
        #expect(config["label2id"] == ["class0": 0, "class1": 1, "class2": 2])
        #expect(try ClassNames(in: place.folder.path("own"), classes: 3)?.names == Self.names)
        try place.save("unnamed", nil)
        #expect(try JSON.read(place.folder.path("unnamed/config.json"))["id2label"] == nil)
        #expect(try ClassNames(in: place.folder.path("unnamed"), classes: 3) == nil)

        func read(_ labels: JSON) throws -> ClassNames? {
            guard case .object(var members) = config else { return nil }
            members.set("id2label", labels)
            try place.folder.write(JSON.object(members).text(), to: "changed/config.json")
            return try ClassNames(in: place.folder.path("changed"), classes: 3)
        }
        // Hugging Face's own when nobody has named the classes.
        #expect(try read(["0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"]) == nil)
        #expect(try read(["2": "z", "0": "x", "1": "y"])?.names == ["x", "y", "z"])
        for wrong: JSON in [
            ["0": "x", "1": "y"], ["0": "x", "1": "y", "3": "z"], ["0": "x", "1": "y", "2": 2], ["a"],
            ["0": "x", "1": "y", "one": "z"],
        ] {
            #expect(thrown(RetortError.self) { _ = try read(wrong) }?.exit == .badData, "\(wrong.text())")
        }
        // What only counts has no names; a folder always has.
        #expect(ClassNames(unlessNumbers: ["0", "1", "2"]) == nil && ClassNames(unlessNumbers: ["1", "0"]) != nil)
        #expect(DataSource.Kind.idx.stated(["a"]) == nil && DataSource.Kind.cifar10.stated(["a"]) != nil)
    }
}
