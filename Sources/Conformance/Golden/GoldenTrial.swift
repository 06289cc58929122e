import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport

/// One case on one device: hands out its inputs and parameters, takes what was computed from them, and compares it with
/// the reference. Nothing is ignored: an input or a parameter that no one asked for and a result that no one computed
/// fail the case.
final class GoldenTrial {
    let parameters: GoldenParameters
    let device: Device
    private let golden: GoldenCase
    private let tensors: SafeTensors
    /// Inputs whose gradients are compared.
    private let differentiated: Set<String>
    private var asked: Set<String> = []
    private var leaves: [String: Parameter] = [:]
    private var results: [String: Computed] = [:]
    /// Error bounds by "out/y" or "grad/x".
    private var tolerances: [String: GoldenTolerance]

    private enum Computed {
        case tensor(Tensor)
        case numbers([Float], shape: Dimensions)
        case integers([Int], shape: Dimensions)
    }

    init(_ golden: GoldenCase, _ tensors: SafeTensors, on device: Device, constants: Set<String>) {
        self.golden = golden
        self.tensors = tensors
        self.device = device
        tolerances = golden.tolerances
        parameters = GoldenParameters(golden.parameters)
        differentiated = Set(golden.gradients.keys).subtracting(constants)
    }

    // MARK: What a family asks for

    func has(_ input: String) -> Bool { golden.inputs[input] != nil }

    /// The results the reference holds.
    var outputNames: [String] { golden.outputs.keys.sorted() }

    func shape(_ input: String) throws -> Dimensions { try entry(input).shape }

    /// A float input; a leaf of the tape when its gradient is compared.
    func tensor(_ name: String) throws -> Tensor {
        let (values, shape) = try numbers(name)
        guard differentiated.contains(name) else { return try Tensor(values, shape, on: device) }
        let (tensor, leaf) = try Tensor.variable(values, shape, on: device)
        leaves[name] = leaf
        return tensor
    }

    func tensor(ifPresent name: String) throws -> Tensor? { has(name) ? try tensor(name) : nil }

    /// A float input on the host.
    func numbers(_ name: String) throws -> (values: [Float], shape: Dimensions) {
        let entry = try entry(name)
        guard entry.type == "F32" else { throw RetortError.badData("the input \(name) is \(entry.type), not F32") }
        try check(entry)
        return (try tensors.floats(entry.tensor), entry.shape)
    }

    /// Class labels or row ids, on the host.
    func labels(_ name: String) throws -> [Int32] {
        let entry = try entry(name)
        guard entry.type == "I64" else { throw RetortError.badData("the input \(name) is \(entry.type), not I64") }
        try check(entry)
        return try tensors.int64s(entry.tensor).map { label in
            guard let small = Int32(exactly: label) else {
                throw RetortError.badData("the label \(label) is beyond 32 bits")
            }
            return small
        }
    }

    /// Labels as the kernels take them.
    func view(_ labels: [Int32]) throws -> View { try device.compute.view(labels, [labels.count], .i32) }

    // MARK: What a family computed

    func give(_ name: String, _ tensor: Tensor) { results[name] = .tensor(tensor) }
    func give(_ name: String, _ values: [Float], shape: Dimensions) { results[name] = .numbers(values, shape: shape) }

    /// Indices, compared exactly.
    func give(_ name: String, indices: View) throws {
        let values = try device.compute.read(indices, as: Int32.self)
        results[name] = .integers(values.map(Int.init), shape: indices.shape)
    }

    /// Widens what a gradient may be off: an input's gradient that is 0 by cancellation has a tolerance of 0, which only the same order
    /// of operations meets.
    func allow(_ gradient: String, atLeast bound: Double) {
        guard let own = tolerances["grad/" + gradient] else { return }
        tolerances["grad/" + gradient] = GoldenTolerance(bound: max(own.bound, bound))
    }

    /// `total` is a sum whose terms are the elements of `part`: it may be off by as much as they may be together,
    /// `share` times one element. A sum's own bound is often smaller, where errors of the reference's terms happened to
    /// cancel.
    func allow(_ total: String, asSumOf part: String, share: Double) {
        guard let own = tolerances["out/" + total], let element = tolerances["out/" + part] else { return }
        tolerances["out/" + total] = GoldenTolerance(bound: max(own.bound, share * element.bound))
    }

    // MARK: The verdict

    /// Compares everything. Returns the names compared ("out/y") and what is wrong.
    func verdict() throws -> (compared: Set<String>, failures: [GoldenFailure]) {
        var compared: Set<String> = []
        var failures: [GoldenFailure] = []
        for name in try parameters.unknown() {
            failures.append(GoldenFailure(message: "the parameter \(name.quoted(limit: 200)) is not known"))
        }
        for name in golden.inputs.keys.sorted() where !asked.contains(name) {
            failures.append(GoldenFailure(message: "the input \(name.quoted(limit: 200)) is not known"))
        }
        for name in results.keys.sorted() where golden.outputs[name] == nil {
            failures.append(
                GoldenFailure(tensor: "out/" + name, message: "was computed, but the case has no such output"))
        }
        for name in golden.tolerances.keys.sorted() where !golden.expected.contains(name) {
            failures.append(GoldenFailure(tensor: name, message: "has an error bound, but the case has no such result"))
        }
        for name in outputNames where results[name] == nil {
            failures.append(GoldenFailure(tensor: "out/" + name, message: "was not computed"))
        }
        guard failures.isEmpty else { return (compared, failures) }

        for name in outputNames {
            failures += try compareOutput(name)
            compared.formUnion(["out/" + name] + (golden.scalars[name] == nil ? [] : ["scalars/" + name]))
        }
        guard !differentiated.isEmpty else { return (compared, failures) }
        try backward()
        for name in differentiated.sorted() {
            failures += try compareGradient(name)
            compared.insert("grad/" + name)
        }
        return (compared, failures)
    }

    private func compareOutput(_ name: String) throws -> [GoldenFailure] {
        guard let entry = golden.outputs[name], let result = results[name] else { return [] }
        let label = "out/" + name
        try check(entry)
        switch result {
        case .integers(let values, let shape):
            guard entry.type == "I64" else {
                return [GoldenFailure(tensor: label, message: "is \(entry.type), not I64")]
            }
            guard Self.alike(shape, entry.shape) else { return [wrongShape(label, shape, entry.shape)] }
            let expected = try tensors.int64s(entry.tensor).map(Double.init)
            return [GoldenTolerance(bound: 0).mismatch(values.map(Double.init), expected, shape: shape, tensor: label)]
                .compactMap { $0 }
        case .numbers(let values, let shape): return try compareNumbers(name, values, shape, entry)
        case .tensor(let tensor): return try compareNumbers(name, try tensor.values(), tensor.shape, entry)
        }
    }

    private func compareNumbers(_ name: String, _ values: [Float], _ shape: Dimensions, _ entry: GoldenCase.Entry)
        throws
        -> [GoldenFailure]
    {
        let label = "out/" + name
        var failures = try compare(label, values, shape, entry)
        if let scalar = golden.scalars[name] {
            guard values.count == 1, let value = values.first, let tolerance = tolerances[label] else {
                return failures + [
                    GoldenFailure(tensor: "scalars/" + name, message: "is given for a result of shape \(shape)")
                ]
            }
            failures += [tolerance.mismatch([Double(value)], [scalar], shape: [], tensor: "scalars/" + name)].compactMap
            { $0 }
        }
        return failures
    }

    private func compareGradient(_ name: String) throws -> [GoldenFailure] {
        guard let entry = golden.gradients[name] else { return [] }
        let label = "grad/" + name
        guard let leaf = leaves[name], leaf.hasGradient else {
            return [GoldenFailure(tensor: label, message: "was not computed")]
        }
        try check(entry)
        return try compare(label, try leaf.gradientValues(), leaf.shape, entry)
    }

    private func compare(_ label: String, _ values: [Float], _ shape: Dimensions, _ entry: GoldenCase.Entry) throws
        -> [GoldenFailure]
    {
        guard entry.type == "F32" else { return [GoldenFailure(tensor: label, message: "is \(entry.type), not F32")] }
        guard Self.alike(shape, entry.shape) else { return [wrongShape(label, shape, entry.shape)] }
        guard let tolerance = tolerances[label] else {
            return [GoldenFailure(tensor: label, message: "has no entry in f32_err")]
        }
        let expected = try tensors.floats(entry.tensor).map(Double.init)
        return [tolerance.mismatch(values.map(Double.init), expected, shape: shape, tensor: label)].compactMap { $0 }
    }

    /// Gradients of the scalar `loss` where there is one, else of Σ <output, upstream>.
    private func backward() throws {
        if golden.outputs["loss"]?.shape == [] { return try onTape("loss").backward() }
        guard !golden.upstream.isEmpty else {
            throw RetortError.badData("gradients without a loss or upstream gradients")
        }
        try Tensor.backward(
            golden.upstream.sorted { $0.key < $1.key }.map { name, entry in
                try check(entry)
                let output = try onTape(name)
                guard Self.alike(output.shape, entry.shape) else {
                    throw RetortError.badData("cot/\(name) does not fit its output")
                }
                return (output, try Tensor(tensors.floats(entry.tensor), output.shape, on: device))
            })
    }

    private func onTape(_ name: String) throws -> Tensor {
        guard case .tensor(let tensor) = results[name], tensor.needsGradient else {
            throw RetortError.badData("out/\(name) does not depend on any input whose gradient is wanted")
        }
        return tensor
    }

    private func entry(_ input: String) throws -> GoldenCase.Entry {
        asked.insert(input)
        guard let entry = golden.inputs[input] else { throw RetortError.badData("the input \(input) is missing") }
        return entry
    }

    /// The JSON and the safetensors file must tell the same story.
    private func check(_ entry: GoldenCase.Entry) throws {
        let stored = try tensors.tensor(entry.tensor)
        guard stored.shape == Array(entry.shape), stored.type.rawValue == entry.type else {
            throw RetortError.badData(
                "the tensor \(entry.tensor.quoted(limit: 200)) is \(stored.type.rawValue) \(stored.shape), "
                    + "the case says \(entry.type) \(entry.shape)"
            )
        }
    }

    /// The reference stores some single numbers as [1] and others as [].
    private static func alike(_ a: Dimensions, _ b: Dimensions) -> Bool { (a == [1] ? [] : a) == (b == [1] ? [] : b) }

    private func wrongShape(_ label: String, _ shape: Dimensions, _ expected: Dimensions) -> GoldenFailure {
        GoldenFailure(tensor: label, message: "has shape \(shape), expected \(expected)")
    }
}
