import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Which of a student's blocks is compared with which of its teacher's.
struct LayerMap: Sendable {
    private enum Rule: String, CaseIterable { case uniform, last }
    private let rule: String
    private let student: [Int]?
    private let teacher: [Int]?
    let location: RetortError.Location?

    init(_ recipe: RecipeNode) {
        rule = recipe.required("layers").text
        student = recipe["student-layers"]?.list.map(\.integer)
        teacher = recipe["teacher-layers"]?.list.map(\.integer)
        location = (recipe["student-layers"] ?? recipe["teacher-layers"])?.location ?? recipe.location
    }

    static func fields(_ rule: String) -> [RecipeField] {
        func own(_ who: String) -> RecipeField {
            RecipeField(
                "\(who)-layers", .list(of: .integer(0...4095), count: 1...4096), .optional,
                "blocks of the \(who), counted from 0, instead of that rule")
        }
        return [
            RecipeField(
                "layers", .choice(Rule.allCases.map(\.rawValue)), .defaulted(rule),
                "every block of the student with the one as far up in the teacher (TinyBERT), or the last of both"),
            own("student"), own("teacher"),
        ]
    }

    var contract: String {
        guard student != nil || teacher != nil else { return rule == "last" ? "at the last block" : "at every block" }
        func words(_ layers: [Int]?) -> String { layers.map { "\($0)" } ?? rule }
        return "at blocks \(words(student)) of the student and \(words(teacher)) of the teacher"
    }

    /// Pairs of blocks.
    /// - Throws: `RetortError` 78 for blocks that are not there, and for lists that are not of one length.
    func pairs(_ context: LanguageTermContext) throws -> [(student: Int, teacher: Int)] {
        guard let other = context.teacher else { throw RetortError.internalBug("a layer map without a teacher") }
        let (own, theirs) = (context.student.layerCount, other.layerCount)
        let students = student ?? (rule == "last" ? [own - 1] : Array(0..<own))
        // TinyBERT: the block that ends the same share of the teacher.
        let teachers = teacher ?? (rule == "last" ? [theirs - 1] : students.map { ($0 + 1) * theirs / own - 1 })
        guard students.count == teachers.count else {
            throw RetortError.recipe(
                "\(students.count) blocks of the student and \(teachers.count) of the teacher", at: location,
                why: "they are compared one by one", help: "give as many of both")
        }
        for (who, layers, count) in [("student", students, own), ("teacher", teachers, theirs)] {
            if let wrong = layers.first(where: { !(0..<count).contains($0) }) {
                throw RetortError.recipe(
                    "the \(who) has no block \(wrong)", at: location, why: "it has \(count), counted from 0")
            }
        }
        return Array(zip(students, teachers))
    }
}

extension LanguageInput {
    /// Signals of both models.
    func signals(_ student: String, _ teacher: String) throws -> (student: Tensor, teacher: Tensor) {
        guard let own = self.student[student], let theirs = taught[teacher] else {
            throw RetortError.internalBug("the signals \(student) and \(teacher) were not kept")
        }
        return (own, theirs)
    }

    /// `tokenWeights` as a tensor.
    func weightsOfTokens(_ shape: Dimensions) -> Tensor {
        Tensor(view: tokenWeights.reshaped(shape), on: Device(hidden.device))
    }
}
