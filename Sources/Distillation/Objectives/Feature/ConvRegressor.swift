import RetortRuntime

/// Maps the student's feature map to the shape of the teacher's, as mdistiller's and RepDistiller's ConvReg: a 3×3 convolution with stride 2 for
/// twice the size, a 4×4 transposed one with stride 2 for half of it, else a convolution with a kernel as large as the difference (1×1 for equal
/// sizes); batch norm and, when asked, ReLU behind it.
final class ConvRegressor: Module {
    /// Why some maps have no regressor.
    static let limits = "the student's map must be as large as the teacher's, larger, or exactly half as high and wide"

    let children: [any Module]
    var isTraining = true
    private let convolution: Convolution
    private let norm: BatchNorm2d?
    private let relu: Bool

    /// nil where the student's map is smaller than the teacher's and not half of it: `limits`.
    init?(_ name: String, from student: MapShape, to teacher: MapShape, norm hasNorm: Bool = true, relu: Bool) {
        guard let convolution = Convolution(name + ".conv", from: student, to: teacher) else { return nil }
        self.convolution = convolution
        norm = hasNorm ? BatchNorm2d(name + ".bn", channels: teacher.channels) : nil
        self.relu = relu
        children = [convolution.module] + (norm.map { [$0] } ?? [])
    }

    func callAsFunction(_ x: Tensor) throws -> Tensor {
        let y = try convolution(x)
        if let norm { return try norm(y, relu: relu) }
        return relu ? try y.relu() : y
    }

    private enum Convolution {
        case plain(Convolution2d)
        case transposed(TransposedConvolution2d)

        init?(_ name: String, from student: MapShape, to teacher: MapShape) {
            let (inputs, outputs) = (student.channels, teacher.channels)
            if student.size == teacher.size.map({ 2 * $0 }) {
                self = .plain(
                    Convolution2d(name, inputs: inputs, outputs: outputs, kernel: 3, stride: 2, padding: 1))
            } else if teacher.size == student.size.map({ 2 * $0 }) {
                self = .transposed(
                    TransposedConvolution2d(
                        name, inputs: inputs, outputs: outputs, kernel: .init(4),
                        geometry: .init(stride: 2, padding: 1)))
            } else if student.height >= teacher.height, student.width >= teacher.width {
                self = .plain(
                    Convolution2d(
                        name, inputs: inputs, outputs: outputs,
                        kernel: .init(1 + student.height - teacher.height, 1 + student.width - teacher.width),
                        geometry: .init()))
            } else {
                return nil
            }
        }

        var module: any Module {
            switch self {
            case .plain(let convolution): convolution
            case .transposed(let convolution): convolution
            }
        }

        func callAsFunction(_ x: Tensor) throws -> Tensor {
            switch self {
            case .plain(let convolution): try convolution(x)
            case .transposed(let convolution): try convolution(x)
            }
        }
    }
}
