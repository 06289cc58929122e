import Foundation
import RetortSupport

/// Reads and validates a recipe file of any family.
/// - Throws: `RetortError` 66 when it is not there, 78 when it is wrong.
public func readRecipe(_ path: String, overrides: [String] = []) throws -> any RunnableRecipe {
    let node = try RecipeReader.read(path: path, overrides: overrides)
    let url = URL(fileURLWithPath: path)
    let (name, folder) = (url.deletingPathExtension().lastPathComponent, url.deletingLastPathComponent().path)
    return switch RecipeFamily(dataKind: node.required("data").required("kind").text) {
    case .classification: try Recipe(node, name: name, folder: folder)
    case .recommender: try RecommenderRecipe(node, name: name, folder: folder)
    case .language, .masked: try LanguageRecipe(node, name: name, folder: folder)
    case .sentences, .retrieval, .labelledTexts: try EncoderRecipe(node, name: name, folder: folder)
    }
}

/// Paths as a recipe means them: from its own folder, else from the working directory.
struct RecipePaths {
    let folder: String

    func resolve(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        let beside = folder + "/" + path
        return FileManager.default.fileExists(atPath: beside) ? beside : path
    }

    /// The stored recipe must mean the same from anywhere, so its paths are absolute.
    static func absolute(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }

    /// Where a recipe of any family may name data.
    fileprivate static let ofData = [
        ["data", "path"], ["data", "test", "path"], ["data", "plain", "path"], ["data", "unlabelled"],
    ]
}

extension RunnableRecipe {
    /// Asked before data are read, so that the answer has the recipe's line and all places that were looked at.
    /// - Throws: `RetortError` 66 for a file or a folder of `data` that is not there.
    func checkData() throws {
        for place in RecipePaths.ofData {
            guard let path = place.reduce(node, { $0?[$1] }), case .text(let text) = path.value,
                !FileManager.default.fileExists(atPath: text)
            else { continue }
            let written = path.written ?? text
            let folder = URL(fileURLWithPath: node.location?.file ?? "").deletingLastPathComponent().path
            let own = RecipePaths.absolute(written.hasPrefix("/") ? written : folder + "/" + written)
            throw RetortError.missingInput(
                "cannot find \(written.quoted(limit: 200)), the recipe's \(place.joined(separator: "."))",
                at: path.location,
                why: "there is nothing at \(own)" + (own == text ? "" : "\nand nothing at \(text)"),
                help: "A path begins in the recipe's folder or, where it leads nowhere, in the working directory.")
        }
    }
}
