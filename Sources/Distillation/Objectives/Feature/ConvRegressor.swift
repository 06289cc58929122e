import RetortRuntime

/// Maps the student's feature map to the shape of the teacher's, as mdistiller's and RepDistiller's ConvReg: a 1×1 convolution for equal sizes, 3×3 with
/// stride 2 for twice the size, else a kernel as large as the difference; batch norm and, when asked, ReLU behind it. Theirs
/// also have a transposed convolution for half the size, which is not here.
final class ConvRegressor: Module {
    let children: [any Module]
    var isTraining = true
    private let convolution: Convolution2d
    private let norm: BatchNorm2d?
    private let relu: Bool

    /// nil for a student's map smaller than the teacher's.
    init?(_ name: String, from student: MapShape, to teacher: MapShape, norm hasNorm: Bool = true, relu: Bool) {
        guard student.height >= teacher.height, student.width >= teacher.width else { return nil }
        let halves = student.height == 2 * teacher.height && student.width == 2 * teacher.width
        convolution = Convolution2d(
            name + ".conv", inputs: student.channels, outputs: teacher.channels,
            kernel: halves
                ? .init(3) : .init(1 + student.height - teacher.height, 1 + student.width - teacher.width),
            geometry: halves ? .init(stride: 2, padding: 1) : .init(), activation: relu && !hasNorm ? .relu : .none)
        norm = hasNorm ? BatchNorm2d(name + ".bn", channels: teacher.channels) : nil
        self.relu = relu
        children = [convolution] + (norm.map { [$0] } ?? [])
    }

    func callAsFunction(_ x: Tensor) throws -> Tensor {
        let y = try convolution(x)
        return try norm.map { try $0(y, relu: relu) } ?? y
    }
}
