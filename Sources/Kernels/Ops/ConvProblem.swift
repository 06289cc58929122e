/// A convolution as its kernels see it: the ints of CONV_FIELDS in kernels/conv.cl, where they are explained. Counts of channels and outputs
/// are those of one group.
struct ConvProblem {
    /// One direction of a gather: output j reads source elements first + step · j + tapStep · a for the taps a, and goes to
    /// target + targetStep · j.
    struct Axis: Equatable {
        var count: Int
        var source: Int
        var target: Int
        var first = 0
        var step = 1
        var taps = 1
        var tapStep = 1
        var targetFirst = 0
        var targetStep = 1
        /// Source elements lie this far apart, zeros between them.
        var spread = 1
        /// Which element of the kernel tap 0 is, and from one tap to the next.
        var kernelFirst = 0
        var kernelStep = 1

        /// Every element maps to the element at the same place.
        var isIdentity: Bool {
            taps == 1 && step == 1 && first == 0 && targetFirst == 0 && targetStep == 1 && count == source
                && count == target
        }

        /// Rows of every `step`-th element that taps meet, and how far the taps of one such phase reach.
        var phases: Int { max(1, min(taps, step / greatestCommonDivisor(step, tapStep))) }
        var shift: Int { taps == 0 ? 0 : (taps - 1) * abs(tapStep) / step }

        /// Zeros that the first (last) row of a plane of `count + shift` elements begins (ends) with, in every phase.
        var zeros: (before: Int, after: Int) {
            let start = first - (tapStep < 0 ? (taps - 1) * -tapStep : 0)
            let length = count + shift
            let source = (source - 1) * spread + 1
            var (before, after) = (length, length)
            for phase in 0..<phases {
                let at = start + (tapStep < 0 ? 0 : phase * tapStep % step)
                let begin = at < 0 ? (-at + step - 1) / step : 0
                let end = at < source ? (source - at + step - 1) / step : 0
                before = min(before, begin)
                after = min(after, max(0, length - max(begin, end)))
            }
            return (before, after)
        }

        /// Elements from one row of a plane to the next, where the end of one shares its zeros with the beginning of the next.
        var pitch: Int {
            let zeros = zeros
            return max(count, 1, count + shift - min(zeros.before, zeros.after, shift))
        }
    }

    var images: Int
    var groups: Int
    var channels: Int
    var outputs: Int
    var y: Axis
    var x: Axis
    /// Elements from one group, output, channel, row and element of the kernel to the next.
    var weightStrides: (group: Int, output: Int, channel: Int, y: Int, x: Int)
    var hasBias = false
    var relu = false
    var accumulate = false

    var depth: Int { channels * y.taps * x.taps }
    var pixels: Int { images * y.count * x.count }
    /// Outputs of all groups.
    var allOutputs: Int { groups * outputs }

    /// y from x and the weights.
    static func forward(_ geometry: Conv2dGeometry, x: View, weight: View, y: View) -> ConvProblem {
        let (xs, ws, ys) = (x.shape, weight.shape, y.shape)
        func axis(_ d: Int, _ stride: Int, _ padding: Int, _ dilation: Int) -> Axis {
            Axis(
                count: ys[d], source: xs[d], target: ys[d], first: -padding, step: stride, taps: ws[d],
                tapStep: dilation)
        }
        let pitch = ws[0] > 1 ? weight.strides[0] : ws[1] * ws[2] * ws[3]
        let outputs = ws[0] / geometry.groups
        return ConvProblem(
            images: xs[0], groups: geometry.groups, channels: ws[1], outputs: outputs,
            y: axis(2, geometry.stride.vertical, geometry.padding.vertical, geometry.dilation.vertical),
            x: axis(3, geometry.stride.horizontal, geometry.padding.horizontal, geometry.dilation.horizontal),
            weightStrides: (outputs * pitch, pitch, ws[2] * ws[3], ws[3], 1)
        ).flattened
    }

    /// dx from dy and the weights: one gather for each residue of the input position by the stride; or, `spread`, one gather from dy with
    /// stride − 1 zeros between neighbours.
    static func backwardInput(
        _ geometry: Conv2dGeometry, dy: View, weight: View, dx: Output, spread: Bool = false
    ) -> [ConvProblem] {
        let (xs, ws, ys) = (dx.view.shape, weight.shape, dy.shape)
        func axes(_ d: Int, _ stride: Int, _ padding: Int, _ dilation: Int) -> [Axis] {
            if spread {
                return [
                    Axis(
                        count: xs[d], source: ys[d], target: xs[d], first: padding, taps: ws[d], tapStep: -dilation,
                        spread: stride)
                ]
            }
            return (0..<stride).compactMap { residue in
                // Positions i with (i + padding) mod stride = residue; taps with dilation · tap mod stride = residue.
                let first = ((residue - padding) % stride + stride) % stride
                guard first < xs[d] else { return nil }
                let kernelStep = stride / greatestCommonDivisor(stride, dilation)
                let tap = (0..<min(ws[d], kernelStep)).first { $0 * dilation % stride == residue }
                return Axis(
                    count: (xs[d] - first + stride - 1) / stride, source: ys[d], target: xs[d],
                    first: tap.map { (first + padding - $0 * dilation) / stride } ?? 0,
                    taps: tap.map { (ws[d] - 1 - $0) / kernelStep + 1 } ?? 0,
                    tapStep: -(kernelStep * dilation / stride), targetFirst: first, targetStep: stride,
                    kernelFirst: tap ?? 0, kernelStep: kernelStep)
            }
        }
        let pitch = ws[0] > 1 ? weight.strides[0] : ws[1] * ws[2] * ws[3]
        let outputs = ws[0] / geometry.groups
        let columns = axes(3, geometry.stride.horizontal, geometry.padding.horizontal, geometry.dilation.horizontal)
        return axes(2, geometry.stride.vertical, geometry.padding.vertical, geometry.dilation.vertical).flatMap { y in
            columns.map { x in
                ConvProblem(
                    images: xs[0], groups: geometry.groups, channels: outputs, outputs: ws[1], y: y, x: x,
                    weightStrides: (outputs * pitch, ws[2] * ws[3], pitch, ws[3], 1),
                    accumulate: dx.mode == .accumulate
                ).flattened
            }
        }
    }

    /// Whether any product goes into the results.
    var isEmpty: Bool { depth == 0 }

    /// A kernel of one element that leaves images as they are sees them as one row.
    private var flattened: ConvProblem {
        guard y.isIdentity, x.isIdentity else { return self }
        var flat = self
        let count = y.count * x.count
        flat.x = Axis(
            count: count, source: count, target: count, kernelFirst: x.kernelFirst, kernelStep: x.kernelStep)
        flat.y = Axis(count: 1, source: 1, target: 1, kernelFirst: y.kernelFirst, kernelStep: y.kernelStep)
        return flat
    }

    /// The ints of CONV_FIELDS, in its order.
    func fields(_ plan: ConvPlan) -> [Int32] {
        let first = y.kernelFirst * weightStrides.y + x.kernelFirst * weightStrides.x
        let numbers = [
            images, groups, channels, outputs, y.source, x.source, y.target, x.target, y.count, x.count, y.first,
            x.first, y.step, x.step, y.taps, x.taps, y.tapStep, x.tapStep, y.targetFirst, x.targetFirst, y.targetStep,
            x.targetStep, y.spread, x.spread, first, weightStrides.group, weightStrides.output, weightStrides.channel,
            y.kernelStep * weightStrides.y, x.kernelStep * weightStrides.x, hasBias ? 1 : 0, relu ? 1 : 0,
            accumulate ? 1 : 0, plan.blockImages, plan.stripRows, y.phases, x.phases, y.shift, x.shift, plan.pitch,
            plan.imageRows, plan.plane, plan.inPlace ? 1 : 0, plan.parts, plan.weightRows, plan.blockGroups,
            plan.blockChannels,
            plan.chunks,
        ]
        return numbers.map(Int32.init)
    }
}

extension Conv2dBackwardInput {
    /// The gathers that dx takes. Positions that no element of the kernel reaches are left out, after `clear` has zeroed what is not
    /// added to.
    /// - Parameter maySpread: whether the kernels can put zeros between elements of dy.
    func gathers(_ o: Operands, maySpread: Bool, clear: (View) throws -> Void) throws -> [ConvProblem] {
        // One output for each channel and few products: stores one by one would cost more than they do.
        let few = o.weight.shape[1] == 1 && o.weight.shape[0] <= ConvProblem.mostOfDepthwiseGroup * geometry.groups
        let strides = (geometry.stride.vertical, geometry.stride.horizontal)
        let spread = maySpread && few && strides != (1, 1) && max(strides.0, strides.1) <= 2
        let all = ConvProblem.backwardInput(geometry, dy: o.dy, weight: o.weight, dx: o.dx, spread: spread)
        let useful = all.filter { !$0.isEmpty }
        if useful.count < all.count, o.dx.mode == .write { try clear(o.dx.view) }
        return useful
    }
}

func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int { b == 0 ? abs(a) : greatestCommonDivisor(b, a % b) }
