import RetortKernels

/// The parameters of a model laid out in one flat array, with their gradients in a second of the same layout: one launch for the
/// optimizer, one for the norm, one stream for a checkpoint.
///
/// A parameter of two or more dimensions is kept as a matrix of its first dimension by all others (`[out, in]`,
/// `[out, in·kh·kw]`), its rows padded to `rowAlignment` elements so that vector and matrix units load them whole; each parameter
/// begins on 512 bytes. Padding holds zeros for ever: it starts so, and its gradient stays zero. Matrices come first, so that weight
/// decay can leave out biases and the weights of norms by stopping where they begin.
///
/// Reduced precision is of matrices only: those of a frozen model may be stored in bf16 alone; those that are trained stay fp32 and get a
/// bf16 copy of the same layout, which forward and backward read (`Module.withReducedPrecision`).
public final class ParameterArena {
    static let rowAlignment = 16
    static let parameterAlignment = 128

    public let parameters: [Parameter]
    public let device: ComputeDevice
    /// All values, all gradients: `[elements]` each; of frozen ones there are no gradients. Where the matrices are bf16 they are not among
    /// these.
    public let values: View
    public let gradients: View
    /// Elements of the flat arrays that belong to parameters of two or more dimensions: the first ones.
    public let matrixElements: Int
    /// Matrices in bf16 `[matrixElements]`: all there is of frozen ones, the copy of trained ones.
    private var reduced: View?
    private let isTrained: Bool

    /// Places the parameters on a device.
    /// - `seed`: draws their initial values; nil leaves them undefined, for those that come from a file and are assigned next.
    /// - `trains`: false freezes them and spares the memory of their gradients.
    /// - `dtype`: what the matrices of frozen parameters are stored as, f32 or bf16; those that are trained are f32.
    public init(
        _ parameters: [Parameter], on device: ComputeDevice, seed: UInt64?, trains: Bool = true, dtype: DType = .f32
    ) throws {
        precondition(dtype == .f32 || dtype == .bf16 && !trains, "parameters that are trained are f32, not \(dtype)")
        var offsets = [Int](repeating: 0, count: parameters.count)
        var total = 0
        func place(where wanted: (Parameter) -> Bool) {
            for (index, parameter) in parameters.enumerated() where wanted(parameter) {
                offsets[index] = total
                total += (Self.rows(parameter) * Self.pitch(parameter)).roundedUp(to: Self.parameterAlignment)
            }
        }
        place { $0.shape.count >= 2 }
        matrixElements = total
        if dtype == .bf16 { total = 0 }
        place { $0.shape.count < 2 }
        self.parameters = parameters
        self.device = device
        isTrained = trains
        reduced = dtype == .bf16 ? try device.empty([matrixElements], .bf16, for: .parameters) : nil
        values = try device.empty([max(total, 1)], for: .parameters)
        gradients = try device.empty([trains ? max(total, 1) : 1], for: .gradients)
        try run(Fill(0), .init(y: gradients), on: device)

        for (parameter, offset) in zip(parameters, offsets) {
            let home = parameter.shape.count >= 2 ? reduced ?? values : values
            parameter.place(
                value: Self.window(home, offset, parameter),
                gradient: trains ? Self.window(gradients, offset, parameter) : nil, on: device)
        }
        try clearPadding(offsets)
        // Numbers that nothing will hold are not drawn.
        guard let seed, device.plan == nil else { return }
        for parameter in parameters { try parameter.initialize(seed: seed) }
    }

    /// Zeroes what lies between the parameters; a matrix with padded rows as a whole. The rest is written once only, when it is assigned.
    private func clearPadding(_ offsets: [Int]) throws {
        if parameters.allSatisfy({ $0.count == 0 }) { try run(Fill(0), .init(y: values), on: device) }
        if let reduced { try Self.zero(reduced, on: device) }
        for (parameter, offset) in zip(parameters, offsets) where reduced == nil || parameter.shape.count < 2 {
            let used = Self.rows(parameter) * Self.pitch(parameter)
            let isPadded = Self.pitch(parameter) > Self.columns(parameter)
            let padding = (offset + (isPadded ? 0 : used))..<(offset + used.roundedUp(to: Self.parameterAlignment))
            if !padding.isEmpty { try run(Fill(0), .init(y: values.slice(padding)), on: device) }
        }
    }

    /// 0 is the same bits in every format: two bf16 numbers are cleared as one of fp32.
    private static func zero(_ reduced: View, on device: ComputeDevice) throws {
        try run(Fill(0), .init(y: View(storage: reduced.storage, shape: [reduced.count / 2])), on: device)
    }

    /// Gives the matrices of trained parameters a copy in bf16.
    public func keepWorkingCopy() throws {
        guard isTrained, reduced == nil, matrixElements > 0 else { return }
        let copy = try device.empty([matrixElements], .bf16, for: .parameters)
        for parameter in parameters where parameter.shape.count >= 2 {
            let value = parameter.value
            parameter.place(
                working: View(
                    storage: copy.storage, offset: value.offset - values.offset, shape: value.shape,
                    strides: value.strides, dtype: .bf16))
        }
        reduced = copy
        try refreshWorkingCopy()
    }

    /// Makes that copy what the parameters are now; nothing where there is none.
    public func refreshWorkingCopy() throws {
        guard isTrained, let reduced else { return }
        try run(Convert(), .init(x: values.slice(0..<matrixElements), y: reduced), on: device)
    }

    /// Takes that copy away: for what is trained no longer.
    public func dropWorkingCopy() {
        guard isTrained, reduced != nil else { return }
        reduced = nil
        for parameter in parameters { parameter.place(working: nil) }
    }

    /// Number of its numbers, without padding.
    public var count: Int { parameters.reduce(0) { $0 + $1.count } }

    /// Starts a new step: gradients count as absent, the first write of each replaces.
    public func clearGradients() { parameters.forEach { $0.clearGradient() } }

    /// Zeroes the gradients that backward did not reach, so that the flat array is what the optimizer may read.
    func completeGradients() throws {
        for parameter in parameters where !parameter.hasGradient {
            try run(Fill(0), .init(y: Self.matrix(parameter.gradient)), on: device)
        }
    }

    /// A parameter's window as the matrix it is kept as: its first dimension by all others.
    private static func matrix(_ window: View) -> View {
        guard window.rank > 2 else { return window }
        let columns = window.shape.dropFirst().product
        return View(
            storage: window.storage, offset: window.offset, shape: [window.shape[0], columns],
            strides: [window.strides[0], 1])
    }

    /// The part of a flat array of this layout (gradients, an optimizer's state) that belongs to one of the parameters.
    public func window(of parameter: Parameter, in flat: View) -> View {
        View(
            storage: flat.storage, offset: flat.offset + parameter.value.offset - values.offset, shape: parameter.shape,
            strides: parameter.value.strides)
    }

    private static func rows(_ parameter: Parameter) -> Int { parameter.shape.count < 2 ? 1 : parameter.shape[0] }

    private static func columns(_ parameter: Parameter) -> Int {
        parameter.shape.count < 2 ? parameter.count : parameter.shape.dropFirst().product
    }

    private static func pitch(_ parameter: Parameter) -> Int {
        let columns = columns(parameter)
        return parameter.shape.count < 2 ? columns : columns.roundedUp(to: rowAlignment)
    }

    private static func window(_ flat: View, _ offset: Int, _ parameter: Parameter) -> View {
        var strides = View.contiguousStrides(parameter.shape)
        if parameter.shape.count >= 2 { strides[0] = pitch(parameter) }
        return View(storage: flat.storage, offset: offset, shape: parameter.shape, strides: strides, dtype: flat.dtype)
    }
}

extension Int {
    func roundedUp(to multiple: Int) -> Int { (self + multiple - 1) / multiple * multiple }
}
