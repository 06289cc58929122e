import RetortData
import RetortModels
import RetortSupport

/// Where the text of a language model's recipe comes from.
struct LanguageSource: Sendable {
    let path: String
    private let node: RecipeNode

    /// What training and measuring look at.
    struct Examples: Sendable {
        let train: any TokenExamples
        let test: any TokenExamples
    }

    static let sections = [
        RecipeSection(
            "tokens", "Rows of token ids, all of one length, in a safetensors file.",
            [
                RecipeField(
                    "path", .text, .required, "the file; relative to the recipe, else to the working directory"),
                RecipeField("train", .text, .defaulted("train"), "the tensor to learn from, [rows, tokens]"),
                RecipeField("test", .text, .defaulted("test"), "the tensor to measure on"),
            ])
    ]

    init(_ node: RecipeNode, path: String) {
        self.node = node
        self.path = path
    }

    func contentHash() throws -> String { try ContentHash.hexadecimal(ofFile: path) }

    /// Reads the examples.
    /// - Throws: `RetortError` 65, 66, 74.
    func load() throws -> Examples {
        let file = try SafeTensors(path: path)
        return Examples(
            train: try TokenRows(file, node.required("train").text),
            test: try TokenRows(file, node.required("test").text))
    }
}
