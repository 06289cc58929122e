import RetortRuntime

/// A convolution without bias and the batch normalisation behind it: what vision networks are built of.
final class ConvolutionNorm: Module {
    let convolution: Convolution2d
    let norm: BatchNorm2d
    var isTraining = true

    /// - Parameters:
    ///   - convolution, norm: names of both in the checkpoint: "conv1" and "bn1".
    ///   - initializer: of the weight; nil is PyTorch's default.
    init(
        _ convolution: String, _ norm: String, inputs: Int, outputs: Int, kernel: Int, stride: Int = 1, groups: Int = 1,
        bias: Bool = false, initializer: Initializer? = nil
    ) {
        self.convolution = Convolution2d(
            convolution, inputs: inputs, outputs: outputs, kernel: kernel, stride: stride, padding: kernel / 2,
            groups: groups, bias: bias, initializer: initializer)
        self.norm = BatchNorm2d(norm, channels: outputs)
    }

    var children: [any Module] { [convolution, norm] }

    /// relu(norm(convolution(x)) + residual), each of the last two only when asked for.
    func callAsFunction(_ x: Tensor, residual: Tensor? = nil, relu: Bool = true) throws -> Tensor {
        try norm(try convolution(x), residual: residual, relu: relu)
    }
}

extension Initializer {
    /// He et al. 2015 (arXiv:1502.01852) by outputs: normal with deviation √(2 / (kernel² · outputs)).
    static func kaiming(outputs: Int, kernel: Int) -> Initializer {
        .kaimingNormal(fanOut: kernel * kernel * outputs)
    }
}

extension Tensor {
    /// The mean over both spatial dimensions: `[rows, channels, height, width]` → `[rows, channels]`.
    func globalAveragePool() throws -> Tensor {
        try adaptiveAveragePool2d(height: 1, width: 1).reshaped([shape[0], shape[1]])
    }

    /// Channels dealt out like cards: `[rows, groups · n, h, w]` seen as groups × n becomes n × groups
    /// (Zhang et al. 2018, ShuffleNet, arXiv:1707.01083).
    func shuffledChannels(groups: Int) throws -> Tensor {
        let (rows, channels) = (shape[0], shape[1])
        let pixels = shape[2] * shape[3]
        return try reshaped([rows, groups, channels / groups, pixels]).permuted([0, 2, 1, 3]).reshaped(shape)
    }

    /// Class activation maps of a network that ends in a mean over positions and a linear layer (Zhou et al. 2016,
    /// arXiv:1512.04150): the layer applied at each position, without its bias. `[rows, features, h, w]` →
    /// `[rows, classes, h, w]`.
    func classActivationMaps(_ classifier: Linear) throws -> Tensor {
        let (rows, features) = (shape[0], shape[1])
        let maps = try classifier.weight.tensor.matmul(reshaped([rows, features, shape[2] * shape[3]]))
        return try maps.reshaped([rows, maps.shape[1], shape[2], shape[3]])
    }
}

extension ClassificationTask {
    /// Channels, height and width of an image.
    /// - Throws: `ModelError` when the examples are no images.
    func image() throws -> (channels: Int, height: Int, width: Int) {
        guard sample.count == 3 else {
            throw ModelError("kind", "model takes images, but an example of the data has shape \(sample)")
        }
        return (sample[0], sample[1], sample[2])
    }

    /// The task itself.
    /// - Throws: `ModelError` where config.json says nothing of it.
    static func required(_ task: ClassificationTask?) throws -> ClassificationTask {
        guard let task else { throw ModelError("input_shape", "input_shape and num_classes are missing") }
        return task
    }
}
