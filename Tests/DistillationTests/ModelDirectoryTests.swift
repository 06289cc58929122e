import Foundation
import RetortData
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@Suite("Model directory")
struct ModelDirectoryTests {
    private static let config =
        #"{"architectures": ["MLP"], "model_type": "mlp", "layers": [3, 2], "hidden_act": "relu"}"#

    /// A directory whose weights the caller chooses.
    private func write(_ tensors: [(name: String, shape: [Int], values: [Float])], config: String = config) throws
        -> ScratchFolder
    {
        let folder = try ScratchFolder()
        try folder.write(config, to: "config.json")
        let writer = try SafeTensorsWriter(
            path: folder.path("model.safetensors"),
            tensors: tensors.map { .init(name: $0.name, type: .float32, shape: $0.shape) })
        for tensor in tensors { try writer.write(tensor.values) }
        try writer.commit()
        return folder
    }

    private static let weight = (name: "layers.0.weight", shape: [2, 3], values: [1, 2, 3, 4, 5, 6] as [Float])
    private static let bias = (name: "layers.0.bias", shape: [2], values: [7, 8] as [Float])

    @Test("what is saved comes back bit for bit", arguments: TestBackend.fast)
    func roundTrip(_ backend: TestBackend) throws {
        let device = try backend.device()
        let folder = try ScratchFolder()
        let model = MLP([5, 17, 3])
        _ = try model.materialize(on: device, seed: 42)
        // Numbers that a careless path would change.
        let odd: [Float] = [-0.0, .leastNonzeroMagnitude, -.leastNormalMagnitude, .greatestFiniteMagnitude, 1 / 3]
        let weight = model.layers[0].weight
        try weight.assign(odd + (try weight.values().dropFirst(odd.count)))
        try ModelDirectory.save(model, to: folder.path("new/final"))

        let (loaded, arena) = try ModelDirectory.load(folder.path("new/final"), on: device)
        #expect(
            loaded.parameters.map(\.name) == ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"])
        #expect(arena.count == model.parameterCount && loaded.inputs == 5 && loaded.classes == 3)
        for (a, b) in zip(model.parameters, loaded.parameters) {
            #expect(try a.values().map(\.bitPattern) == b.values().map(\.bitPattern), "\(a.name)")
        }
        #expect(try weight.values().prefix(2).map(\.bitPattern) == odd.prefix(2).map(\.bitPattern))
        // Saving again gives the same bytes.
        try ModelDirectory.save(loaded, to: folder.path("again"))
        #expect(try contents(of: folder.path("again")) == contents(of: folder.path("new/final")))
        #expect(try Set(contents(of: folder.path("again")).keys) == ["config.json", "model.safetensors"])
    }

    @Test("a good directory made by hand")
    func byHand() throws {
        let folder = try write([Self.weight, Self.bias])
        let (model, _) = try ModelDirectory.load(folder.path, on: try TestBackend.cpu.device())
        let x = try Tensor([1, 0, -1], [1, 3], on: try TestBackend.cpu.device())
        #expect(try model(x).values() == [5, 6])
    }

    @Test("weights that lie")
    func badWeights() throws {
        let cases: [(what: String, says: String, tensors: [(name: String, shape: [Int], values: [Float])])] = [
            (
                "transposed", "layers.0.weight has shape [3, 2]",
                [(Self.weight.name, [3, 2], Self.weight.values), Self.bias]
            ),
            ("missing", "'layers.0.bias'", [Self.weight]),
            ("extra", "'layers.1.bias'", [Self.weight, Self.bias, (name: "layers.1.bias", shape: [1], values: [0])]),
            ("NaN", "layers.0.bias holds NaN", [Self.weight, (Self.bias.name, [2], [.nan, 1])]),
            (
                "infinity", "layers.0.bias holds NaN or infinity",
                [Self.weight, (Self.bias.name, [2], [1, -.infinity])]
            ),
        ]
        for (what, says, tensors) in cases {
            let folder = try write(tensors)
            let error = thrown(RetortError.self) {
                _ = try ModelDirectory.load(folder.path, on: try TestBackend.cpu.device())
            }
            #expect(error?.exit == .badData, "\(what)")
            #expect(error?.what.contains(says) == true, "\(what): \(error?.what ?? "")")
            #expect(error?.location?.file == folder.path("model.safetensors"), "\(what)")
        }
    }

    @Test(
        "configurations that lie",
        arguments: [
            "", "{", "[]", "{}", #"{"model_type": "mlp"}"#, #"{"model_type": "llama", "layers": [3, 2]}"#,
            #"{"model_type": "mlp", "layers": [3]}"#, #"{"model_type": "mlp", "layers": [3, 0]}"#,
            #"{"model_type": "mlp", "layers": [3, -2]}"#, #"{"model_type": "mlp", "layers": [3, 2.5]}"#,
            #"{"model_type": "mlp", "layers": "3, 2"}"#,
            #"{"model_type": "mlp", "layers": [16777216, 16777216, 16777216]}"#,
            #"{"model_type": "mlp", "layers": [3, 9223372036854775808]}"#,
            #"{"model_type": "mlp", "layers": [3, 2], "hidden_act": "gelu"}"#,
        ])
    func badConfig(_ config: String) throws {
        let folder = try write([Self.weight, Self.bias], config: config)
        let error = thrown(RetortError.self) {
            _ = try ModelDirectory.load(folder.path, on: try TestBackend.cpu.device())
        }
        #expect(error?.exit == .badData, "\(error?.description ?? "")")
    }

    @Test("files that are not there")
    func missing() throws {
        let device = try TestBackend.cpu.device()
        let folder = try write([Self.weight, Self.bias])
        #expect(
            thrown(RetortError.self) { _ = try ModelDirectory.load(folder.path("none"), on: device) }?.exit
                == .missingInput)
        try FileManager.default.removeItem(atPath: folder.path("model.safetensors"))
        #expect(
            thrown(RetortError.self) { _ = try ModelDirectory.load(folder.path, on: device) }?.exit == .missingInput)
        try folder.write("not a model", to: "model.safetensors")
        #expect(thrown(RetortError.self) { _ = try ModelDirectory.load(folder.path, on: device) }?.exit == .badData)
        try FileManager.default.removeItem(atPath: folder.path("config.json"))
        #expect(
            thrown(RetortError.self) { _ = try ModelDirectory.load(folder.path, on: device) }?.exit == .missingInput)
    }
}
