import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport
import Synchronization

/// Batches of pictures from files, in a given order, each decoded and brought to the device by a thread of its own while the batches
/// before it are worked on. Which picture is in which batch does not depend on how fast that goes.
///
/// A batch lives in one of a few places on the device that are used in turn. The one that has been given out stays as it is until
/// `next` is called again.
final class PictureStream {
    /// Pictures on the device.
    struct Batch {
        /// Bytes `[parts · count, channels, height, width]`.
        let pictures: View
        /// 0, 1, 2, …: int32 `[count]`.
        let places: View

        /// Bytes `[count, channels, height, width]`: the pictures in one of the forms that the host makes.
        func part(_ index: Int) -> View { pictures.slice((index * places.count)..<((index + 1) * places.count)) }
    }

    private struct Made: Sendable {
        let place: Int
        let pictures: View
    }

    /// What the thread and the user share: the places, and behind which work each is free. Emptied when the thread has ended, whoever
    /// still holds it then.
    private final class Places: Sendable {
        let all: Mutex<[(view: View, free: Fence)]>
        init(_ all: [(view: View, free: Fence)]) { self.all = Mutex(all) }
    }

    private let prefetcher: Prefetcher<Made>
    private let places: Places
    private let compute: ComputeDevice
    private let numbers: View
    private let parts: Int
    private let times: DataTimes?
    private var current: Int?

    /// - Parameters:
    ///   - pictures: makes them.
    ///   - order: numbers of pictures, in the order wanted.
    ///   - batch: pictures of each batch; the last may have fewer.
    ///   - depth: batches that wait on the device at most.
    ///   - times: where it is kept how long making them takes, and how long it is waited for.
    /// - Throws: `KernelError` when the device has no room for `depth + 1` batches.
    convenience init(
        _ pictures: BatchPictures, order: [Int32], batch: Int, depth: Int = 2, times: DataTimes? = nil,
        on compute: ComputeDevice
    ) throws {
        try self.init(
            picture: Dimensions(pictures.shape), parts: pictures.parts, order: order, batch: batch, depth: depth,
            times: times, on: compute
        ) { try pictures($0) }
    }

    /// - Parameters:
    ///   - shape: of a picture, `[channels, height, width]`.
    ///   - parts: forms in which each picture is made.
    ///   - decode: pictures by number, `[parts, numbers, channels, height, width]`; called from the stream's own thread.
    init(
        picture shape: Dimensions, parts: Int = 1, order: [Int32], batch: Int, depth: Int = 2,
        times: DataTimes? = nil, on compute: ComputeDevice, decode: @escaping @Sendable ([Int]) throws -> [UInt8]
    ) throws {
        self.compute = compute
        self.parts = parts
        self.times = times
        let largest = min(batch, order.count)
        numbers = try compute.view((0..<largest).map(Int32.init), [largest], .i32)
        // One more than wait: the one that is worked on. A place is filled again two calls of `next` after it was given out.
        let views = try (0...depth).map { _ in try compute.empty([parts * largest] + shape, .u8, for: .data) }
        // Memory that was something else's a moment ago may still be in use by what is enqueued.
        let places = Places(try views.map { ($0, try compute.fence()) })
        self.places = places
        let count = views.count
        let transfer = try Transfer(to: compute)
        prefetcher = Prefetcher(depth: depth) { index in
            let start = index * batch
            guard start < order.count else { return nil }
            let numbers = order[start..<min(order.count, start + batch)].map(Int.init)
            let pixels = try times.counting(.loading) { try decode(numbers) }
            let place = index % count
            let (view, fence) = places.all.withLock { $0[place] }
            let pictures = view.slice(0..<(parts * numbers.count))
            try pixels.withUnsafeBytes { try transfer.write($0, to: pictures, after: fence) }
            return Made(place: place, pictures: pictures)
        }
    }

    // The memory of the places may be given to others only when nothing is written to it any more.
    deinit {
        prefetcher.cancel()
        places.all.withLock { $0 = [] }
    }

    /// The next batch; nil after the last. What reads the one before must have been enqueued.
    /// - Throws: in place of the batch, why it could not be made: `RetortError` of the file, `KernelError` of the device.
    func next() throws -> Batch? {
        if let current {
            let fence = try compute.fence()
            places.all.withLock { $0[current].free = fence }
        }
        let made = try times.counting(.waiting) { try prefetcher.next() }
        current = made?.place
        return made.map { Batch(pictures: $0.pictures, places: numbers.slice(0..<($0.pictures.shape[0] / parts))) }
    }
}
