import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Largest and mean values of windows, and means of as many windows as asked for.
    static let pooling = TensorFamily { trial in
        let kind = try trial.parameters.word("kind")
        let x = try trial.tensor("x")
        if kind == "adaptive_avg" {
            let output = try trial.parameters.numbers("output").map { Int($0) }
            guard output.count == 2 else {
                throw RetortError.badData("the parameter output is not a height and a width")
            }
            return trial.give("y", try x.adaptiveAveragePool2d(height: output[0], width: output[1]))
        }
        func pair(_ name: String) throws -> (height: Int, width: Int) {
            let side = try trial.parameters.integer(name)
            return (side, side)
        }
        let (kernel, stride, padding) = (try pair("kernel"), try pair("stride"), try pair("padding"))
        switch kind {
        case "max": trial.give("y", try x.maxPool2d(kernel: kernel, stride: stride, padding: padding))
        case "avg":
            let counts = try trial.parameters.flag("count_include_pad", default: true)
            trial.give(
                "y",
                try x.averagePool2d(kernel: kernel, stride: stride, padding: padding, countIncludesPadding: counts))
        default: throw GoldenParameters.unknownValue("kind", kind)
        }
    }
}
