import Foundation
import RetortSupport
import Testing

@testable import RetortConformance

/// Whether the libraries for pictures are installed; any other error is for the tests to show.
private let hasPictureLibraries = BenchPicture.allCases.allSatisfy { picture -> Bool in
    do {
        _ = try PictureFolder(picture, count: 1).decode(0..<1)
        return true
    } catch { return (error as? RetortError)?.exit != .device }
}

@Suite("bench: pictures", .enabled(if: hasPictureLibraries, "libpng or TurboJPEG is not installed"))
struct PictureRowTests {
    /// What is timed gives the picture that was put in.
    @Test(arguments: BenchPicture.allCases) func filesHoldThePicture(_ picture: BenchPicture) throws {
        let pixels = try PictureFolder(picture, count: 2).decode(0..<2)
        #expect(pixels.count == 2 * 3072 && Array(pixels.prefix(3072)) == Array(pixels.suffix(3072)))
        #expect(picture.error(of: pixels) <= picture.tolerance)
        #expect(picture == .jpeg || Array(pixels.prefix(3072)) == BenchPicture.planes)
        // Another picture, or part of one, is wrong.
        #expect(picture.error(of: pixels.map { 255 - $0 }) > picture.tolerance)
        #expect(picture.error(of: Array(pixels.dropLast())) == .infinity && picture.error(of: []) == .infinity)
    }

    @Test func foldersAreRemoved() throws {
        let temporary = FileManager.default.temporaryDirectory.path
        /// Those of this test: no other has as many files.
        func folders() throws -> Set<String> {
            Set(
                try FileManager.default.contentsOfDirectory(atPath: temporary).filter {
                    FileManager.default.fileExists(atPath: "\(temporary)/\($0)/pictures/70.jpeg")
                })
        }
        let before = try folders()
        var folder: PictureFolder? = try PictureFolder(.jpeg, count: 71)
        #expect(folder?.count == 71)
        let made = try withExtendedLifetime(folder) { try folders().subtracting(before) }
        #expect(!made.isEmpty)
        folder = nil
        #expect(try folders().isDisjoint(with: made))
    }

    @Test(arguments: BenchPicture.allCases) func rowsTellWhetherAStepWouldWait(_ picture: BenchPicture) throws {
        let quiet = QuietWait(budget: 0) { 0 }
        // A step of a hundred seconds, and one of a nanosecond.
        for (step, isMet) in [(1e8, true), (1e-3, false)] {
            let row = try PictureRows.row(picture, step: step, count: 64, minimumTime: 0, quiet)
            #expect(row.kernel == "pictures_\(picture.rawValue)" && row.shape == "64x3x32x32" && row.isRight)
            #expect(row.more["step_images_per_second"] == 64e6 / step)
            let speed = try #require(row.more["images_per_second"])
            #expect(abs(speed * row.time.median / 64e6 - 1) < 1e-9)
            let verdict = try #require(row.verdict)
            #expect(verdict.isMet == isMet && verdict.goal == 1)
            #expect(abs(verdict.value * 64e6 / step / speed - 1) < 1e-9)
        }
    }
}
