import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport

/// Reference results of one model: Tests/Fixtures/golden/models/<name>.expected.* (see golden/README.md).
struct GoldenModel {
    let name: String
    let json: JSONCursor
    let tensors: SafeTensors

    init(_ name: String) throws {
        self.name = name
        let path = Project.golden("models/\(name).expected")
        json = JSONCursor(try JSON.read(path + ".json"), file: path + ".json")
        tensors = try SafeTensors(path: path + ".safetensors")
    }

    var weights: String { Project.golden("models/\(name)/model.safetensors") }

    func floats(_ key: String) throws -> [Float] { try tensors.floats(key) }
    func shape(_ key: String) throws -> [Int] { try tensors.tensor(key).shape }
    func labels() throws -> [Int32] { try tensors.int64s("labels").map(Int32.init) }

    func tensor(_ key: String, on device: Device) throws -> Tensor {
        try Tensor(floats(key), Dimensions(shape(key)), on: device)
    }

    /// The error a float32 implementation may have: 8 times the reference's own, and a rounding of its largest number.
    func tolerance(_ key: String) throws -> Double {
        let error = try json.member("f32_err").member(key)
        return 8 * (try error.member("max_abs_err").double()) + 2e-6 * (try error.member("ref_max_abs").double())
    }

    /// Losses before each optimizer step, the last after all.
    func trainingLosses() throws -> [Double] {
        try json.member("train").member("losses").elements().map { try $0.double() }
    }
}
