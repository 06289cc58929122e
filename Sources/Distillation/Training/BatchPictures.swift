import Dispatch
import RetortData
import RetortSupport

/// What the host makes of batches of pictures: those that are decoded when they are wanted, and views that RandAugment changes. Batches of
/// such are made ahead, by a thread of their own; what the device can do by itself, crop and flip of what it holds, it does.
struct BatchPictures: Sendable {
    private let source: ExampleSet
    /// Whether they are wanted as they are, for the device to crop and flip.
    private let keepsPlain: Bool
    private let changes: [(view: ExampleView, augmentation: PictureAugmentation)]
    private let moment: DeviceRows.Moment

    /// Pictures as they are.
    init(plain source: ExampleSet) {
        self.source = source
        keepsPlain = true
        changes = []
        moment = .none
    }

    /// nil where nothing is left to the host.
    /// - Parameters:
    ///   - source: all pictures.
    ///   - views: those wanted, each once.
    ///   - held: whether the device has all pictures.
    ///   - moment: its seed and pass tell how pictures are changed.
    init?(
        _ source: ExampleSet, views: [(view: ExampleView, augmentation: PictureAugmentation)], held: Bool,
        at moment: DeviceRows.Moment
    ) {
        self.source = source
        changes = views.filter { $0.augmentation.randAugment != nil }
        keepsPlain = !held && changes.count < views.count
        self.moment = moment
        if changes.isEmpty, !keepsPlain { return nil }
    }

    /// `[channels, height, width]`.
    var shape: [Int] { source.sample }

    /// How often a picture is there: as it is and in each of the views that are changed here.
    var parts: Int { changes.count + (keepsPlain ? 1 : 0) }

    /// Which part a view is, and whether it has been changed already; nil where the device holds its pictures. No view: pictures as they are.
    func part(of view: ExampleView?) -> (index: Int, isChanged: Bool)? {
        if let place = changes.firstIndex(where: { $0.view == view }) { return (place + (keepsPlain ? 1 : 0), true) }
        return keepsPlain ? (0, false) : nil
    }

    /// Pictures by number, several at a time, on the calling thread and others.
    /// - Returns: `[parts, numbers, channels, height, width]`.
    /// - Throws: `RetortError` of the first file that cannot be decoded.
    func callAsFunction(_ numbers: [Int]) throws -> [UInt8] {
        let plain = try source.pixels(of: numbers)
        guard !changes.isEmpty, !numbers.isEmpty else { return plain }
        let size = shape
        let (bytes, count) = (size.reduce(1, *), numbers.count)
        let pieces = changes.count * count
        let kept = keepsPlain ? count : 0
        return try Allocation.array(count: (kept + pieces) * bytes, of: "\(kept + pieces) pictures") {
            (pixels: UnsafeMutableBufferPointer<UInt8>) throws(RetortError) in
            if keepsPlain { _ = pixels.update(fromContentsOf: plain) }
            nonisolated(unsafe) let result = pixels
            DispatchQueue.concurrentPerform(iterations: pieces) { piece in
                let place = piece % count
                let change = changes[piece / count]
                var picture = PictureBytes(
                    Array(plain[(place * bytes)..<((place + 1) * bytes)]), channels: size[0], height: size[1],
                    width: size[2])
                change.augmentation.apply(to: &picture, numbers[place], change.view, at: moment)
                let start = (kept + piece) * bytes
                _ = UnsafeMutableBufferPointer(rebasing: result[start..<(start + bytes)]).update(
                    fromContentsOf: picture.pixels)
            }
        }
    }
}
