import Foundation
import RetortData
import RetortSupport

/// A folder of pictures in a temporary directory, all of one class and with the same content; gone with this.
final class PictureFolder {
    private let path: String
    let files: ImageFiles

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

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
