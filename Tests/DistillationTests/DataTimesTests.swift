import Foundation
import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport
import Synchronization
import TestSupport
import Testing

@testable import RetortDistillation

/// What `--profile` says of the data: how long training waited for it, made batches of it, and decoded beside it.
@Suite("Times of the data")
struct DataTimesTests {
    /// A training that does nothing but take batches from a source that needs 100 ms for each of three.
    /// - Parameter keepsUp: whether the training takes a batch only when it is there.
    private func slowSource(_ device: Device, keepsUp: Bool, times: DataTimes?) throws {
        let made = Counter()
        let stream = try PictureStream(
            picture: [1, 2, 2], order: (0..<6).map(Int32.init), batch: 2, times: times, on: device.compute
        ) { numbers in
            usleep(100_000)
            made.count.withLock { $0 += 1 }
            return [UInt8](repeating: 7, count: numbers.count * 4)
        }
        for batch in 0..<3 {
            while keepsUp, made.count.withLock({ $0 }) <= batch { usleep(1000) }
            // The rest of what the other thread does with it.
            if keepsUp { usleep(30_000) }
            #expect(try stream.next()?.pictures.shape == [2, 1, 2, 2])
        }
        #expect(try stream.next() == nil)
    }

    /// Batches that the source has made.
    private final class Counter: Sendable {
        let count = Mutex(0)
    }

    @Test("a source that is slow is waited for, one that keeps up is not", arguments: TestBackend.fast)
    func waiting(_ backend: TestBackend) throws {
        let device = try backend.device()
        func sums(keepsUp: Bool) throws -> DataTimes.Sums {
            let times = DataTimes()
            try times.counting(.training) { try slowSource(device, keepsUp: keepsUp, times: times) }
            return times.sums
        }
        let slow = try sums(keepsUp: false)
        #expect(slow.loading >= .milliseconds(300) && slow.waiting >= .milliseconds(150), "\(slow)")
        #expect(slow.training >= slow.waiting && slow.preparing == .zero, "\(slow)")
        let fast = try sums(keepsUp: true)
        #expect(fast.loading >= .milliseconds(300) && fast.waiting < .milliseconds(150), "\(fast)")
        // Measuring a model is no training; and nobody has to want to know.
        let times = DataTimes()
        try slowSource(device, keepsUp: false, times: times)
        #expect(times.sums == DataTimes.Sums())
        try slowSource(device, keepsUp: false, times: nil)
    }

    @Test("work that fails counts, and its error comes through")
    func failing() {
        struct Broken: Error {}
        let times = DataTimes()
        #expect(throws: Broken.self) {
            try times.counting(.training) {
                try times.counting(.preparing) {
                    usleep(2000)
                    throw Broken()
                }
            }
        }
        #expect(times.sums.preparing >= .milliseconds(2) && times.sums.training >= times.sums.preparing)
        _ = times.counting(.preparing) { usleep(1000) }
        #expect(times.sums.preparing <= times.sums.training, "the pass has ended")
    }

    @Test("only a device that is profiled keeps them")
    func devices() throws {
        #expect(try Device.select("cpu").dataTimes == nil)
        #expect(try Device.select("cpu", profiler: Profiler()).dataTimes != nil)
    }

    @Test("what is printed")
    func line() {
        var sums = DataTimes.Sums()
        #expect(dataLine(sums).isEmpty)
        (sums.training, sums.preparing) = (.seconds(20), .milliseconds(300))
        #expect(dataLine(sums) == "data: training took 20.0 s, of it 300.0 ms (1.5 %) making batches\n")
        (sums.waiting, sums.loading) = (.milliseconds(20), .milliseconds(800))
        #expect(
            dataLine(sums) == "data: training took 20.0 s, of it 20.0 ms (0.1 %) waiting for pictures, "
                + "300.0 ms (1.5 %) making batches; decoding or changing them beside it took 800.0 ms (4.0 %)\n")
    }

    /// The times of a run of a recipe beside its data.
    private func sums(_ recipe: String, _ overrides: [String] = [], in folder: ScratchFolder) throws -> DataTimes.Sums {
        let times = DataTimes()
        let device = Device(try TestBackend.cpu.device().compute, dataTimes: times)
        let run = try readRecipe(try folder.write(recipe, to: "r.yaml"), overrides: overrides).start(
            on: device, output: folder.path("run"), progress: Progress(quiet: true))
        _ = try run.run()
        return times.sums
    }

    @Test("a run on pictures from files: all four, and parts are no more than the whole")
    func pictures() throws {
        let folder = try ScratchFolder()
        try SamplePictures(channels: 3, height: 10, width: 8).writeFolder(folder, "data", train: 30, test: 12)
        let recipe = """
            data: {kind: images, path: data, height: 10, width: 8, memory: 0, augment: {crop: 1, flip: 0.5}}
            teacher: {model: {kind: cnn, channels: [5]}, train: {epochs: 2}}
            student: {model: {kind: cnn, channels: [3]}}
            arms: {student: {objective: [{loss: hinton}]}}
            train: {epochs: 2, batch: 8, optimizer: {kind: adam, lr: 0.01}}

            """
        let sums = try sums(recipe, in: folder)
        #expect([sums.training, sums.waiting, sums.preparing, sums.loading].allSatisfy { $0 > .zero }, "\(sums)")
        #expect(sums.waiting + sums.preparing < sums.training, "\(sums)")
    }

    @Test("a language model's batches are made by the training itself")
    func language() throws {
        let folder = try ScratchFolder()
        try SampleTokens.write(to: folder)
        let sums = try sums(SmallLanguage.recipe, ["seeds=[0]"], in: folder)
        #expect(sums.preparing > .zero && sums.preparing < sums.training, "\(sums)")
        #expect(sums.waiting == .zero && sums.loading == .zero, "\(sums)")
    }
}
