import RetortKernels
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// y = x ∗ weight + bias, torch.nn.functional.conv2d.
    static let conv2d = TensorFamily { trial in
        func pair(_ name: String) throws -> Conv2dGeometry.Pair {
            let numbers = try trial.parameters.numbers(name).map { Int($0) }
            guard numbers.count == 2 else { throw RetortError.badData("the parameter \(name) is not two numbers") }
            return .init(numbers[0], numbers[1])
        }
        let geometry = Conv2dGeometry(
            stride: try pair("stride"), padding: try pair("padding"), dilation: try pair("dilation"),
            groups: try trial.parameters.integer("groups"))
        let bias = try trial.tensor(ifPresent: "bias")
        trial.give("y", try trial.tensor("x").conv2d(trial.tensor("weight"), bias: bias, geometry: geometry))
    }
}
