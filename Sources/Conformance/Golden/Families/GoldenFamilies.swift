/// Every family that can be checked, by the suite's name. A suite without a line here is skipped, and listed as such.
enum GoldenFamilies {
    static let notBuilt = "not built yet"

    static let all: [String: any GoldenFamily] = [
        "ops/activations": activations,
        "ops/batchnorm": batchNorm,
        "ops/conv2d": conv2d,
        "ops/cross_entropy": crossEntropy,
        "ops/elementwise": elementwise,
        "ops/embedding": embedding,
        "ops/gemm": gemm,
        "ops/kl_div": klDivergence,
        "ops/layernorm": layerNorm,
        "ops/linear": linear,
        "ops/matmul": matmul,
        "ops/pooling": pooling,
        "ops/reductions": reductions,
        "ops/simple_losses": simpleLosses,
        "ops/softmax": softmax,
        "losses/dkd": decoupled,
        "losses/dml": mutual,
        "losses/federated": federated,
        "losses/gjsd": generalizedJSD,
        "losses/hinton_kd": hinton,
        "losses/logit_variants": logitVariants,
        "losses/multi_teacher": multiTeacher,
        "losses/relational": relational,
        "losses/rkd": relationalKD,
        "losses/token_divergence": tokenDivergence,
        "misc/number_formats": NumberFormatFamily(),
        "misc/optimizers": optimizers,
        "misc/schedules": ScheduleFamily(),
    ]
}
