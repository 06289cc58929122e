import RetortKernels
import RetortRuntime

/// Convolutions of real networks: forward, input gradient, weight gradient.
enum ConvCases {
    /// One layer; padding is half the kernel, as these networks have it.
    struct Layer {
        let n, channels, size, outputs, kernel, stride, groups: Int

        init(_ n: Int, _ channels: Int, _ size: Int, _ outputs: Int, kernel: Int, stride: Int = 1, groups: Int = 1) {
            (self.n, self.channels, self.size, self.outputs) = (n, channels, size, outputs)
            (self.kernel, self.stride, self.groups) = (kernel, stride, groups)
        }

        /// - Parameter sizes: as `sizes` gives them; nil for an image that is not square, or groups that do not divide the channels.
        init?(_ sizes: [Int]) {
            let groups = sizes.count == 8 ? sizes[7] : 1
            guard sizes.count == 7 || sizes.count == 8, sizes[2] == sizes[3], sizes[1] % groups == 0,
                sizes[4] % groups == 0
            else { return nil }
            self.init(sizes[0], sizes[1], sizes[2], sizes[4], kernel: sizes[5], stride: sizes[6], groups: groups)
        }

        /// n, channels, height, width, outputs, kernel, stride, and groups where there are several.
        var sizes: [Int] {
            [n, channels, size, size, outputs, kernel, stride] + (groups == 1 ? [] : [groups])
        }
        var geometry: Conv2dGeometry { Conv2dGeometry(stride: stride, padding: kernel / 2, groups: groups) }
        var x: Dimensions { [n, channels, size, size] }
        var weight: Dimensions { [outputs, channels / groups, kernel, kernel] }
        var y: Dimensions {
            let side = (size + 2 * (kernel / 2) - kernel) / stride + 1
            return [n, outputs, side, side]
        }
    }

    /// ResNet-20 and ResNet-18 with the 1x1 convolutions of their shortcuts, a MobileNet's inverted residual; batch 64.
    static let layers: [Layer] = [
        Layer(64, 3, 32, 16, kernel: 3), Layer(64, 16, 32, 16, kernel: 3), Layer(64, 16, 32, 32, kernel: 3, stride: 2),
        Layer(64, 16, 32, 32, kernel: 1, stride: 2), Layer(64, 32, 16, 32, kernel: 3),
        Layer(64, 32, 16, 64, kernel: 3, stride: 2), Layer(64, 32, 16, 64, kernel: 1, stride: 2),
        Layer(64, 64, 8, 64, kernel: 3),
        Layer(64, 3, 224, 64, kernel: 7, stride: 2), Layer(64, 64, 56, 64, kernel: 3),
        Layer(64, 64, 56, 128, kernel: 3, stride: 2), Layer(64, 64, 56, 128, kernel: 1, stride: 2),
        Layer(64, 128, 28, 128, kernel: 3), Layer(64, 128, 28, 256, kernel: 3, stride: 2),
        Layer(64, 128, 28, 256, kernel: 1, stride: 2), Layer(64, 256, 14, 256, kernel: 3),
        Layer(64, 256, 14, 512, kernel: 3, stride: 2), Layer(64, 256, 14, 512, kernel: 1, stride: 2),
        Layer(64, 512, 7, 512, kernel: 3),
        Layer(64, 32, 16, 192, kernel: 1), Layer(64, 192, 16, 32, kernel: 1),
        Layer(64, 192, 16, 192, kernel: 3, groups: 192), Layer(64, 192, 16, 192, kernel: 3, stride: 2, groups: 192),
    ]

    /// Layers that are compared with PyTorch.
    static let compared = layers

    static var all: [BenchCase] { layers.flatMap { [forward($0), backwardInput($0), backwardWeight($0)] } }

    /// A pass by its kernel's name.
    static func pass(_ kernel: String, _ layer: Layer) -> BenchCase {
        switch kernel {
        case "conv2d_backward_input": backwardInput(layer)
        case "conv2d_backward_weight": backwardWeight(layer)
        default: forward(layer)
        }
    }

    private static func forward(_ layer: Layer) -> BenchCase {
        BenchCase(.conv, "conv2d", layer.sizes) { device, random in
            let compute = device.compute
            let (x, weight) = (try random.view(layer.x, on: compute), try random.view(layer.weight, on: compute))
            let y = try compute.empty(layer.y)
            let (op, operands) = (Conv2d(layer.geometry), Conv2d.Operands(x: x, weight: weight, y: .write(y)))
            return BenchSet(
                on: compute, cost: op.cost(operands), outputs: [y],
                tolerance: tolerance([layer.channels / layer.groups, layer.kernel, layer.kernel]),
                run: { try run(op, operands, on: compute) },
                reference: { _ in
                    let (a, b): ([Float], [Float]) = (try compute.read(x), try compute.read(weight))
                    return try error(y, on: compute) { layer.output($0, a, b) }
                })
        }
    }

    private static func backwardInput(_ layer: Layer) -> BenchCase {
        BenchCase(.conv, "conv2d_backward_input", layer.sizes) { device, random in
            let compute = device.compute
            let (dy, weight) = (try random.view(layer.y, on: compute), try random.view(layer.weight, on: compute))
            let dx = try compute.empty(layer.x)
            let op = Conv2dBackwardInput(layer.geometry)
            let operands = Conv2dBackwardInput.Operands(dy: dy, weight: weight, dx: .write(dx))
            return BenchSet(
                on: compute, cost: op.cost(operands), outputs: [dx],
                tolerance: tolerance([layer.outputs / layer.groups, layer.kernel, layer.kernel]),
                run: { try run(op, operands, on: compute) },
                reference: { _ in
                    let (a, b): ([Float], [Float]) = (try compute.read(dy), try compute.read(weight))
                    return try error(dx, on: compute) { layer.inputGradient($0, a, b) }
                })
        }
    }

    private static func backwardWeight(_ layer: Layer) -> BenchCase {
        BenchCase(.conv, "conv2d_backward_weight", layer.sizes) { device, random in
            let compute = device.compute
            let (x, dy) = (try random.view(layer.x, on: compute), try random.view(layer.y, on: compute))
            let dWeight = try compute.empty(layer.weight)
            let op = Conv2dBackwardWeight(layer.geometry)
            let operands = Conv2dBackwardWeight.Operands(x: x, dy: dy, dWeight: .write(dWeight))
            return BenchSet(
                on: compute, cost: op.cost(operands), outputs: [dWeight],
                tolerance: tolerance([layer.n, layer.y[2], layer.y[3]]),
                run: { try run(op, operands, on: compute) },
                reference: { _ in
                    let (a, b): ([Float], [Float]) = (try compute.read(x), try compute.read(dy))
                    return try error(dWeight, on: compute) { layer.weightGradient($0, a, b) }
                })
        }
    }

    private static func tolerance(_ sizes: ArraySlice<Int>) -> Double { GemmCases.tolerance(sizes.reduce(1, *)) }

    /// Forty-one elements from first to last against float64.
    private static func error(
        _ result: View, on device: ComputeDevice, expected: ([Int]) -> Double
    ) throws -> Double {
        let values: [Float] = try device.read(result)
        var scale = ErrorScale()
        for i in Set((0...40).map { $0 * (values.count - 1) / 40 }) {
            var rest = i
            let place = result.shape.reversed().map { size in
                defer { rest /= size }
                return rest % size
            }
            scale.add(values[i], expected(place.reversed()))
        }
        return scale.error
    }
}

extension ConvCases.Layer {
    private func at(_ values: [Float], _ shape: Dimensions, _ a: Int, _ b: Int, _ c: Int, _ d: Int) -> Double {
        Double(values[((a * shape[1] + b) * shape[2] + c) * shape[3] + d])
    }

    /// Image position that output `i` and kernel element `k` meet, where it is inside.
    private func place(_ i: Int, _ k: Int) -> Int? {
        let place = i * stride - kernel / 2 + k
        return (0..<size).contains(place) ? place : nil
    }

    /// First channel of the group of an output.
    private func channel(_ output: Int) -> Int { output / (outputs / groups) * weight[1] }

    func output(_ p: [Int], _ xs: [Float], _ ws: [Float]) -> Double {
        var sum = 0.0
        for c in 0..<weight[1] {
            for a in 0..<kernel {
                for b in 0..<kernel {
                    guard let row = place(p[2], a), let column = place(p[3], b) else { continue }
                    sum += at(xs, x, p[0], channel(p[1]) + c, row, column) * at(ws, weight, p[1], c, a, b)
                }
            }
        }
        return sum
    }

    func inputGradient(_ p: [Int], _ dys: [Float], _ ws: [Float]) -> Double {
        var sum = 0.0
        for o in 0..<outputs where (channel(o)..<(channel(o) + weight[1])).contains(p[1]) {
            for a in 0..<kernel {
                for b in 0..<kernel {
                    for (i, j) in [((p[2] + kernel / 2 - a), (p[3] + kernel / 2 - b))]
                    where i >= 0 && j >= 0 && i % stride == 0 && j % stride == 0 && i / stride < y[2]
                        && j / stride < y[3]
                    {
                        sum += at(dys, y, p[0], o, i / stride, j / stride) * at(ws, weight, o, p[1] - channel(o), a, b)
                    }
                }
            }
        }
        return sum
    }

    func weightGradient(_ p: [Int], _ xs: [Float], _ dys: [Float]) -> Double {
        var sum = 0.0
        for image in 0..<n {
            for i in 0..<y[2] {
                guard let row = place(i, p[2]) else { continue }
                for j in 0..<y[3] {
                    guard let column = place(j, p[3]) else { continue }
                    sum += at(xs, x, image, channel(p[0]) + p[1], row, column) * at(dys, y, image, p[0], i, j)
                }
            }
        }
        return sum
    }
}
