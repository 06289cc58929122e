import RetortKernels

/// How fast a device is, by a few short measurements: what an estimate of time goes by.
struct DeviceRates: Sendable {
    /// fp32 operations per second of a large product; a multiply-add counts two.
    let product: Double
    /// The device's ceilings.
    let roof: Roof
    /// Whether the host goes on while the device works.
    private let isAsynchronous: Bool

    /// Side of the matrices that are multiplied.
    private static let side = 1024

    /// Takes about a second, and 64 MiB of the device.
    /// - Throws: `KernelError`.
    init(measuring device: ComputeDevice) throws {
        roof = try Roof(device, bytes: 32 << 20)
        let side = Self.side
        let (a, b, c) = (
            try device.empty([side, side]), try device.empty([side, side]), try device.empty([side, side])
        )
        for view in [a, b] { try run(Fill(1), .init(y: view), on: device) }
        let clock = ContinuousClock()
        var best = Double.infinity
        for round in 0..<5 {
            let time = try clock.measure {
                try run(Matmul(), .init(a: a, b: b, c: .write(c)), on: device)
                try device.synchronize()
            }
            if round > 0 { best = min(best, time.seconds) }
        }
        product = 2 * Double(side * side * side) / best
        if case .openCL = device { isAsynchronous = true } else { isAsynchronous = false }
    }

    /// Seconds of device and host together.
    func together(device: Double, host: Double) -> Double { isAsynchronous ? max(device, host) : device + host }

    /// What an operation takes at least: its arithmetic, its bytes or its launch, whichever is longest.
    func seconds(_ operation: PlannedDevice.Operation) -> Double {
        let isProduct = operation.name == "matmul" || operation.name.hasPrefix("conv")
        let arithmetic = operation.cost.flops / (isProduct ? product : roof.arithmetic)
        return operation.times * max(arithmetic, operation.cost.bytes / roof.copyBandwidth, roof.launch)
    }
}
