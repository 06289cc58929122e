import Foundation

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
}
