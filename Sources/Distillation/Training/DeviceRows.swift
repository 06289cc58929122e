import RetortData
import RetortKernels
import RetortRuntime

/// Labelled rows on a device.
public struct DeviceRows {
    /// `[rows, features]`.
    public let features: View
    /// Int32 `[rows]`.
    public let labels: View
    public var rows: Int { features.shape[0] }
    /// Shape of one example.
    public var sample: [Int] { Array(features.shape.dropFirst()) }

    public init(_ data: TabularDataset, on device: Device) throws {
        features = try device.compute.view(data.features, [data.rows, data.columns])
        labels = try device.compute.view(data.labels, [data.rows], .i32)
    }

    /// Some rows by number: features `[ids, columns]` and their labels, int32 `[ids]`.
    public func batch(_ ids: View, on device: Device) throws -> (x: Tensor, labels: View) {
        let compute = device.compute
        let x = try compute.empty([ids.count, features.shape[1]])
        try run(Gather(), .init(table: features, ids: ids, y: x), on: compute)
        let chosen = try compute.empty([ids.count, 1], .i32)
        try run(Gather(), .init(table: labels.reshaped([rows, 1]), ids: ids, y: chosen), on: compute)
        return (Tensor(view: x, on: device), chosen.reshaped([ids.count]))
    }

    /// Rows in order, as they are when a model is measured: `[range, …sample]`.
    public func examples(_ range: Range<Int>, on device: Device) throws -> Tensor {
        Tensor(view: features.slice(range), on: device)
    }

    /// - Throws: `KernelError` for a row that is not there.
    public func batch(_ ids: [Int32], on device: Device) throws -> (x: Tensor, labels: View) {
        if let wrong = ids.first(where: { $0 < 0 || Int($0) >= rows }) {
            throw KernelError(.operands, "row \(wrong) of \(rows) rows")
        }
        return try batch(try device.compute.view(ids, [ids.count], .i32), on: device)
    }
}
