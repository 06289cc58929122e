import ArgumentParser
import RetortDistillation
import RetortSupport

struct Validate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check recipes without reading data or models.",
        discussion: """
            A recipe is read as `retort train` reads it before it starts: keys, values, values that need each other, overrides. What only data and
            models tell is said by `retort plan`. Of a single recipe, what each arm minimises is printed too.

            --schema prints a JSON schema of all recipes, with which an editor completes keys and marks mistakes while one is written. A first line
            `# yaml-language-server: $schema=recipe.schema.json` in a recipe names the file.
            """)

    @Argument(
        help: "Recipes, YAML files; and behind the first, values that replace those of all of them: train.epochs=10.",
        completion: .file(extensions: ["yaml", "yml"]))
    var recipes: [String] = []
    @Flag(help: "Print the JSON schema of recipes, for editors.")
    var schema = false
    @Flag(help: "Print one JSON object on stdout.")
    var json = false

    func validate() throws {
        if schema, !recipes.isEmpty { throw ValidationError("--schema stands alone") }
        if !schema, recipes.isEmpty { throw ValidationError("say which recipe, or --schema") }
    }

    func run() throws {
        let out = TextOutput.standardOutput
        if schema { return out.writeLine(RecipeJSONSchema.json.text(.pretty)) }
        // A folder may have an equals sign in its name, a key no slash.
        func isOverride(_ word: String) -> Bool { word.firstIndex(of: "=").map { !word[..<$0].contains("/") } ?? false }
        let others = recipes.dropFirst()
        let overrides = others.filter(isOverride)
        let paths = [recipes[0]] + others.filter { !isOverride($0) }
        let checks = try paths.map { try RecipeCheck($0, overrides: overrides) }
        if json {
            out.writeLine(JSON.object([(key: "recipes", value: .array(checks.map(\.json)))]).text())
        } else {
            for summary in checks.compactMap(\.summary) { out.writeLine(summary) }
            if checks.count == 1 { for line in checks[0].contracts + checks[0].remarks { out.writeLine("  " + line) } }
        }
        // All that are refused are told; the last one's code is the program's.
        let errors = checks.compactMap(\.error)
        for error in errors.dropLast() { TextOutput.standardError.writeLine(error.description) }
        if let last = errors.last { throw last }
    }
}
