import RetortSupport

/// One loss of a language model's arm with its factor over the epochs.
struct LanguageArmTerm: Sendable {
    let objective: any LanguageObjective
    let texts: TermTexts
    private(set) var places: TermPlaces
    let reduction: TokenReduction
    let ramp: Ramp
    /// The names of the teachers that it looks at, in the recipe's order: one, or for a loss that takes all, all.
    let teachers: [String]
    /// Whether the recipe says which of several it is.
    private let saysWhich: Bool

    init(
        _ objective: any LanguageObjective, on texts: TermTexts = .step, at places: TermPlaces = .next,
        reduction: TokenReduction = .tokenMean, ramp: Ramp = .constant, teachers: [String] = [Role.teacher],
        saysWhich: Bool = false
    ) {
        self.objective = objective
        self.texts = texts
        self.places = places
        self.reduction = reduction
        self.ramp = ramp
        self.teachers = objective.needsTeacher ? teachers : []
        self.saysWhich = saysWhich
    }

    /// - Parameters:
    ///   - teachers: those of the recipe.
    ///   - scheme: of the arm.
    ///   - isMasked: of an encoder's, which says places under `on`, not texts.
    /// - Throws: `RetortError` 78 for a loss that does not say which of several teachers it looks at, or says one that is not there, and for a
    ///   value with a teacher's entropy that it does not have.
    init(
        _ recipe: RecipeNode, teachers: [String] = [Role.teacher], _ scheme: LanguageScheme = .offline,
        isMasked: Bool = false
    ) throws {
        let objective = LanguageObjectiveRegistry.make(recipe)
        try DivergenceTerm.checkEntropy(of: objective, recipe)
        let taught = try Self.teachers(of: objective, recipe, among: teachers, scheme)
        try TeacherCombination.checkWeights(of: recipe, teachers: taught.count)
        let word = recipe["on"]?.text ?? ""
        self.init(
            objective, on: isMasked ? .step : TermTexts(rawValue: word) ?? .step,
            at: isMasked ? TermPlaces(rawValue: word) ?? .masked : .next, reduction: TokenReduction(recipe),
            ramp: try Ramp(recipe.required("ramp")),
            teachers: taught,
            saysWhich: recipe["from"] != nil)
    }

    /// The same loss at other places.
    func at(_ places: TermPlaces) -> LanguageArmTerm {
        var term = self
        term.places = places
        return term
    }

    /// Whether it compares the student with what it was at first.
    var looksAtStart: Bool { teachers == [Role.start] }

    private static func teachers(
        of objective: any LanguageObjective, _ node: RecipeNode, among names: [String], _ scheme: LanguageScheme
    ) throws -> [String] {
        let word = node.required("loss").text
        let all = names + (scheme.bringsTeacher ? [Role.ownTeacher] : [])
        if let preference = objective as? any PreferenceObjective, preference.needsTeacher,
            preference.reference == .start || preference.reference == nil && node["from"] == nil && all.isEmpty
        {
            guard let from = node["from"] else { return [Role.start] }
            throw RetortError.recipe(
                "the loss \(word) is given a teacher with `from`, and looks at the student's start", at: from.location,
                help: "keep one of `from` and `reference: start`")
        }
        if let from = node["from"] {
            guard objective.needsTeacher, !objective.takesAllTeachers else {
                throw RetortError.recipe(
                    "the loss \(word) cannot be given a teacher with `from`", at: from.location,
                    why: objective.takesAllTeachers ? "it looks at all of them" : "it looks at none",
                    help: "remove `from`")
            }
            guard all.contains(from.text) else {
                throw RetortError.noTeacher(from, among: all)
            }
            return [from.text]
        }
        guard objective.needsTeacher else { return [] }
        if objective.takesAllTeachers { return names.isEmpty ? all : names }
        if scheme.bringsTeacher { return [Role.ownTeacher] }
        guard names.count <= 1 else {
            throw RetortError.recipe(
                "the loss \(word) looks at one teacher, and the recipe has \(names.count)", at: node.location,
                help: "add `from: ` and one of \(names.joined(separator: ", ")), or use the loss ensemble")
        }
        return names
    }

    /// Who r is in a loss beside a reference.
    private var referenceWords: String {
        guard objective is any PreferenceObjective, let name = teachers.first else { return "" }
        if looksAtStart { return ", r the student as it was at first" }
        return ", r the teacher" + (name == Role.ownTeacher ? " \(name)" : "")
    }

    var contract: String {
        let what =
            switch texts {
            case .step: places.words
            case .data: "valid tokens of the data"
            case .plain: "tokens of the plain text"
            }
        // A loss that is no mean over these tokens has no such mask.
        let own = objective.contract(over: what)
        let reduced =
            own.contains("mean over \(what)") ? reduction.stated(in: own, over: what) + ", " + places.mask : own
        return reduced + referenceWords + (saysWhich ? ", teacher \(teachers.joined())" : "") + ramp.contract
    }
}
