import RetortRuntime
import RetortSupport

/// A recipe that can be run: the kind of its data decides which family it belongs to.
public protocol RunnableRecipe: Sendable {
    /// The validated text with every default filled in.
    var node: RecipeNode { get }
    /// What each arm's student minimises and how, in the recipe's order: a line for each loss, then for what else there is to say.
    var contracts: [(arm: String, lines: [String])] { get }
    /// What stands in the recipe and counts for nothing, a line each.
    var remarks: [String] { get }
    /// Reads the data, refuses what does not fit and opens the run directory.
    /// - Throws: `RetortError` for the data (65, 66), the recipe (78) or the output (73, 74).
    func start(on device: Device, output: String?, progress: Progress) throws -> any RecipeRun
    /// What a run would take of the device. Reads the data and trains nothing; no more is asked of the device than a few short
    /// measurements need.
    /// - Throws: `RetortError` for the data (65, 66) and the recipe (78), as `start`.
    func plan(on device: Device) throws -> RunPlan
}

extension RunnableRecipe {
    public var remarks: [String] { [] }
}

/// A run of a recipe that has been opened.
public protocol RecipeRun {
    /// The run directory.
    var path: String { get }
    /// Trains everything.
    /// - Throws: `RetortError` 75 when a signal asked to stop (what is finished is saved), 86 when training diverges.
    func run() throws -> RunResults
}
