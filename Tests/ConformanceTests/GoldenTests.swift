import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortConformance

/// The committed goldens on every backend of this machine.
@Suite("Goldens")
struct GoldenTests {
    static let families: Set<String> = [
        "ops/activations", "ops/attention", "ops/batchnorm", "ops/conv2d", "ops/cross_entropy", "ops/elementwise",
        "ops/embedding",
        "ops/gemm", "ops/kl_div", "ops/layernorm", "ops/linear", "ops/matmul", "ops/pooling", "ops/reductions",
        "ops/rmsnorm", "ops/rope", "ops/simple_losses", "ops/softmax", "losses/at", "losses/cat_kd", "losses/crd",
        "losses/dkd", "losses/dml",
        "losses/federated", "losses/fitnet", "losses/fsp", "losses/gjsd", "losses/hinton_kd", "losses/lm_kd",
        "losses/logit_variants",
        "losses/multi_teacher", "losses/preference", "losses/preference_logps", "losses/relational",
        "losses/review_ofd", "losses/rkd", "losses/rl",
        "losses/bert_features", "losses/distilbert", "losses/minilm", "losses/topk_kd", "losses/uld",
        "losses/token_divergence",
        "misc/number_formats", "misc/optimizers", "misc/sampling", "misc/schedules",
    ]
    static let notBuilt: [String: Set<String>] = [
        "misc/optimizers": ["rmsprop", "adagrad"],
        "losses/bert_features": ["att_mse", "att_ce", "att_ce_mask", "mmd", "fsp_text"],
        "losses/rl": ["gae", "value_clip", "grpo_sequence", "grpo_token", "rloo", "reward_bt", "kl_estimators"],
    ]
    /// What a CPU runs slowly with the GPU's kernels.
    static let large: Set<String> = ["ops/matmul"]

    static func fixtures() throws -> GoldenFolder { try GoldenFolder(Project.root + "/Tests/Fixtures/golden") }

    @Test("every committed family has a runner, and every runner a family")
    func families() throws {
        #expect(Set(try Self.fixtures().suites.map(\.name)) == Self.families)
        #expect(Set(GoldenFamilies.all.keys) == Self.families)
    }

    @Test("reference results", arguments: TestBackend.available)
    func agree(_ backend: TestBackend) throws {
        let target = GoldenBackend(try backend.device())
        let folder = try Self.fixtures()
        let names = folder.suites.map(\.name).filter { backend != .simt || !Self.large.contains($0) }
        for name in names {
            let results = try GoldenRun(folder, suite: name, on: [target]).run()
            #expect(GoldenCount(results).passed > 0, "\(name)")
            for result in results {
                switch result.outcome {
                case .passed(let comparisons): #expect(comparisons > 0)
                case .failed(let failures):
                    Issue.record("\(name) \(result.name): \(failures)\n\(GoldenReport.repeatCommand(result))")
                case .skipped(let reason):
                    let others = Self.notBuilt[name] ?? []
                    #expect(others.contains(result.name), "\(name) \(result.name)")
                    #expect(reason == GoldenFamilies.notBuilt)
                }
            }
        }
    }
}
