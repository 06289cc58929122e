import RetortDistillation
import RetortSupport
import TestSupport
import Testing

/// `retort validate` as a program.
@Suite("retort validate")
struct ValidateTests {
    @Test("a recipe in one line, and what its arms minimise; nothing is written")
    func text() throws {
        let folder = try ScratchFolder()
        let child = try Child.retort(["validate", Project.recipe("digits.yaml"), "seeds=[0]"], in: folder.path)
        #expect(child.exit == 0 && child.stderr == "", "\(child.stderr)")
        let lines = child.stdout.split(separator: "\n")
        #expect(lines.count == 3, "\(child.stdout)")
        #expect(lines.first?.hasSuffix("digits.yaml: a classification recipe, 2 arms, 1 seed: valid") == true)
        #expect(lines.last?.hasPrefix("  student: ") == true && child.stdout.contains("0.9·T²·KL"), "\(child.stdout)")
        #expect(try contents(of: folder.path).isEmpty)
        let help = try Child.retort(["validate", "--help"])
        #expect(help.exit == 0 && help.stdout.contains("USAGE: retort validate") && help.stdout.contains("--schema"))
    }

    @Test("neither data nor models need to be there")
    func noData() throws {
        let recipe = Project.recipe("language/dpo.yaml")
        let child = try Child.retort(["validate", recipe, "data.path=nowhere", "student.path=nowhere"])
        #expect(child.exit == 0 && child.stdout.contains("a language-model recipe"), "\(child.stderr)")
    }

    @Test("several recipes with overrides for all; one object with --json")
    func several() throws {
        let names = ["digits.yaml", "methods.yaml"].map(Project.recipe)
        let child = try Child.retort(["validate"] + names + ["seeds=[7]", "--json"])
        #expect(child.exit == 0 && child.stderr == "", "\(child.stderr)")
        let root = JSONCursor(try JSON.parse(child.stdout, file: "stdout"), file: "stdout")
        let recipes = try root.member("recipes").elements()
        #expect(try recipes.map { try $0.member("path").string() } == names)
        for recipe in recipes {
            #expect(recipe.value["valid"] == .bool(true) && recipe.value["family"] == .string("classification"))
            #expect(recipe.value["seeds"] == .array([7]))
        }
        let arms = try recipes[0].member("arms").elements()
        #expect(try arms.map { try $0.member("name").string() } == ["student-alone", "student"])
        let table = try Child.retort(["validate"] + names)
        #expect(table.exit == 0 && table.stdout.split(separator: "\n").count == 2, "\(table.stdout)")
    }

    @Test("what is wrong is told with its place and the exit code of `retort train`")
    func refusals() throws {
        let folder = try ScratchFolder()
        func validate(_ words: String...) throws -> Child { try Child.retort(["validate"] + words, in: folder.path) }
        try folder.write("data: {kind: cvs}\n", to: "wrong.yaml")
        let wrong = try validate("wrong.yaml")
        #expect(wrong.exit == ExitCode.recipe.rawValue && wrong.stdout == "", "\(wrong.stdout)")
        #expect(
            wrong.stderr.contains("data.kind is 'cvs'") && wrong.stderr.contains("wrong.yaml:1:14"), "\(wrong.stderr)")
        let good = Project.recipe("digits.yaml")
        let unknown = try validate(good, "train.bach=3")
        #expect(unknown.exit == ExitCode.recipe.rawValue && unknown.stderr.contains("batch"), "\(unknown.stderr)")
        // Keys that need each other are no matter of types.
        let together = try validate(good, "seeds=[1, 1]")
        #expect(together.exit == ExitCode.recipe.rawValue && together.stderr.contains("twice"), "\(together.stderr)")
        #expect(try validate("none.yaml").exit == ExitCode.missingInput.rawValue)
        for words in [[], ["--schema", good], [good, "=3"], [good, "seeds=[0"]] {
            let child = try Child.retort(["validate"] + words, in: folder.path)
            #expect(child.exit == ExitCode.usage.rawValue && child.stdout == "", "\(words): \(child.stderr)")
        }
    }

    @Test("of several recipes all that are refused are told, and the others pass")
    func someRefused() throws {
        let folder = try ScratchFolder()
        try folder.write("data: {kind: cvs}\n", to: "wrong.yaml")
        let words = ["validate", "wrong.yaml", Project.recipe("digits.yaml"), "none.yaml"]
        let child = try Child.retort(words, in: folder.path)
        #expect(child.exit == ExitCode.missingInput.rawValue)
        #expect(child.stdout.contains("digits.yaml: a classification recipe"), "\(child.stdout)")
        #expect(child.stderr.contains("'cvs'") && child.stderr.contains("none.yaml"), "\(child.stderr)")
        let object = try Child.retort(words + ["--json"], in: folder.path)
        #expect(object.exit == ExitCode.missingInput.rawValue)
        let root = JSONCursor(try JSON.parse(object.stdout, file: "stdout"), file: "stdout")
        let recipes = try root.member("recipes").elements().map(\.value)
        let verdicts: [JSON?] = [.bool(false), .bool(true), .bool(false)]
        #expect(recipes.map { $0["valid"] } == verdicts)
        let (first, last) = (recipes.first?["error"], recipes.last?["error"])
        #expect(first?["exit"] == .int(78) && first?["line"] == .int(1), "\(object.stdout)")
        #expect(last?["exit"] == .int(66), "\(object.stdout)")
    }

    @Test("--schema prints the JSON schema")
    func schema() throws {
        let child = try Child.retort(["validate", "--schema"])
        #expect(child.exit == 0 && child.stderr == "", "\(child.stderr)")
        #expect(try JSON.parse(child.stdout, file: "stdout") == RecipeJSONSchema.json)
    }
}
