import RetortData
import RetortRuntime
import RetortSupport

/// Learning rates step by step. The suite has a form of its own: no tensors, one list of rates for each schedule.
struct ScheduleFamily: GoldenFamily {
    /// Both sides compute in float64, some of the references by repeated multiplication: relative to the largest rate.
    private static let tolerance = 1e-12

    func run(_ name: String, of suite: GoldenSuite, _ tensors: SafeTensors?, on device: Device) throws
        -> GoldenResult.Outcome
    {
        let list = try suite.root.member("schedules").elements()
        guard let entry = try list.first(where: { try $0.member("name").string() == name }) else {
            throw suite.root.failure("there is no schedule \(name)")
        }
        try entry.expectKeys(["name", "base_lr", "warmup_steps", "total_steps", "kwargs", "source", "lr_used_at_step"])
        let expected = try entry.member("lr_used_at_step").elements().map { try GoldenNumber.read($0) }
        guard let largest = expected.map(abs).max() else {
            return .failed([GoldenFailure(message: "nothing was compared")])
        }

        let options = GoldenParameters(try entry.optional("kwargs"))
        let schedule = try Self.schedule(name, entry, options)
        if let unknown = try options.unknown().first {
            return .failed([GoldenFailure(message: "the parameter \(unknown.quoted(limit: 200)) is not known")])
        }
        let base = try entry.member("base_lr").double()
        let failure = GoldenTolerance(bound: Self.tolerance * largest).mismatch(
            expected.indices.map { schedule.rate($0, base: base) }, expected, shape: [expected.count],
            tensor: "lr_used_at_step")
        return failure.map { .failed([$0]) } ?? .passed(comparisons: 1)
    }

    private static func schedule(_ name: String, _ entry: JSONCursor, _ options: GoldenParameters) throws -> Schedule {
        let steps = GoldenParameters(entry)
        func warmup() throws -> Int { try steps.integer("warmup_steps") }
        func total() throws -> Int { try steps.integer("total_steps") }
        switch name {
        case "constant": return .constant
        case "constant_with_warmup": return .constantWithWarmup(warmup: try warmup())
        case "linear": return .linear(warmup: try warmup(), total: try total())
        case "cosine": return .cosine(warmup: try warmup(), total: try total())
        case "cosine_with_restarts":
            return .cosineWithRestarts(
                warmup: try warmup(), total: try total(), cycles: try options.integer("num_cycles"))
        case "cosine_with_min_lr":
            return .cosineWithMinimum(
                warmup: try warmup(), total: try total(), minimumRate: try options.number("min_lr_rate"))
        case "polynomial": return .polynomial(warmup: try warmup(), total: try total())
        case "inverse_sqrt": return .inverseSquareRoot(warmup: try warmup())
        case "torch_step": return .step(every: try options.integer("step_size"), gamma: try options.number("gamma"))
        case "torch_multistep":
            return .multiStep(
                milestones: try options.numbers("milestones").map { Int($0) }, gamma: try options.number("gamma"))
        case "torch_cosine_annealing":
            return .cosineAnnealing(period: try options.integer("T_max"), minimum: try options.number("eta_min"))
        case "torch_exponential": return .exponential(gamma: try options.number("gamma"))
        case "torch_onecycle":
            return .oneCycle(
                maximum: try options.number("max_lr"), total: try options.integer("total_steps"),
                warmupShare: try options.number("pct_start"), initialDivisor: try options.number("div_factor"),
                finalDivisor: try options.number("final_div_factor"))
        default: throw GoldenParameters.unknownValue("name", name)
        }
    }
}
