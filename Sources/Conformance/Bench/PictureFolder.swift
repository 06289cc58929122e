import Foundation
import RetortData
import RetortSupport

/// A folder of pictures in a temporary directory, all of one class and with the same content; gone with this.
final class PictureFolder {
    private let path: String
    private let files: ImageFiles

    /// Files.
    var count: Int { files.count }

    init(_ picture: BenchPicture, count: Int) throws {
        let path = FileManager.default.temporaryDirectory.path + "/retort-bench-\(UUID().uuidString)"
        do {
            try Folder.createWithParents(path + "/pictures")
            let bytes = picture.bytes
            for number in 0..<count {
                try AtomicFile.write(bytes, to: path + "/pictures/\(number).\(picture.rawValue)")
            }
            let options = ImageFolder.Options(
                height: BenchPicture.side, width: BenchPicture.side, sizing: .exact, test: .none)
            let folder = try ImageFolder(path, options)
            files = ImageFiles(folder.train, of: folder)
        } catch {
            try? FileManager.default.removeItem(atPath: path)
            throw error
        }
        self.path = path
    }

    /// As `ImageFiles.decode`: `[numbers, 3, side, side]`. The folder is there until they are read, also where this is its last use.
    func decode(_ numbers: Range<Int>) throws -> [UInt8] {
        try withExtendedLifetime(self) { try files.decode(numbers) }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
