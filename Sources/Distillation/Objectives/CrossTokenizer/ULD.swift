import RetortKernels
import RetortModels
import RetortRuntime

/// Universal logit distillation: teacher and student of any two vocabularies (Boizard et al. 2024, arXiv:2402.12030). Both distributions are
/// sorted, so that no token has to be another's: Σ |q₍ₖ₎ − p₍ₖ₎|.
///
/// `align: bytes` compares what both predict at the same place of the text; `order` the n-th token of the one with the n-th of the other, as the
/// paper has it. The paper adds a cross entropy and weighs this one 1.5.
public struct ULDObjective: LanguageObjective {
    public static let section = RecipeSection(
        "uld", "Sorted distributions of any two vocabularies (universal logit distillation).",
        [
            RecipeField(
                "align", .choice(TokenAlignment.allCases.map(\.rawValue)), .defaulted(TokenAlignment.bytes.rawValue),
                "which tokens are compared: those that write the same, or the n-th of both")
        ] + GroupedDistributions.fields)
    private let alignment: TokenAlignment
    private let groups: GroupedDistributions

    public init(_ recipe: RecipeNode) {
        alignment = TokenAlignment(rawValue: recipe.required("align").text) ?? .bytes
        groups = GroupedDistributions(recipe)
    }

    public var needsTeacher: Bool { true }
    public static var reductions: [TokenReduction] { TokenReduction.allCases.filter { $0 != .elementMean } }
    public var reading: TokenAlignment? { alignment }
    public func contract(over what: String) -> String {
        "\(groups.weight.short)·Σ|sorted q − sorted p|, \(alignment.contract), \(groups.contract), mean over \(what)"
    }

    public func term(_ context: LanguageTermContext) -> any LanguageTerm { Term(groups) }

    private final class Term: LanguageTerm {
        private let groups: GroupedDistributions
        init(_ groups: GroupedDistributions) { self.groups = groups }
        func loss(_ input: LanguageInput) throws -> Tensor {
            try groups.loss(input) { student, teacher, _ in try student.sortedDistance(to: teacher) }
        }
    }
}

/// Which tokens of two tokenizers are compared.
public enum TokenAlignment: String, Sendable, CaseIterable {
    case bytes, order

    var contract: String { self == .bytes ? "tokens that write the same bytes" : "the n-th tokens of both" }
}
