/// The comparisons of language models: with PyTorch and transformers, and with what reading alone takes.
extension ComparisonPlan {
    static func transformers(_ peer: PyTorchPeer, device: String) -> [ComparisonPlan] {
        func plan(
            _ kernel: String, _ sizes: [Int], tokens: Int, goal: Double,
            memoryGoal: Comparison.Memory.Goal? = nil, words: String = "", options: [String] = []
        ) -> ComparisonPlan {
            let shape = sizes.map(String.init).joined(separator: "x")
            return ComparisonPlan(
                name: "\(kernel), \(device) / transformers \(peer.place)\(words)", shape: shape,
                ours: .ours(kernel, shape, device), theirs: peer.engine("\(kernel).py", shape, options),
                goal: peer.goal(goal), memoryGoal: memoryGoal, tokens: tokens)
        }
        let (step, decode) = (LanguageStepCase.shape, DecodeCase.shape)
        return peer.allocators.map { words, options in
            plan(
                "lm_step", step, tokens: step[0] * step[1], goal: 1.5, memoryGoal: .share(0.7), words: words,
                options: options)
        } + [plan("lm_decode", decode, tokens: decode[1], goal: 2)]
    }

    /// Decoding against reading the weights once a token, loading against reading the file: the ratio is the share of that ceiling. Loading
    /// may take 0.1 GB more memory of the process than the file's bytes, which a second copy of its weights would exceed.
    static func readCeiling(device: String) -> [ComparisonPlan] {
        func plan(
            _ ours: String, _ theirs: String, _ sizes: [Int], _ what: String, tokens: Int? = nil, goal: Double,
            memoryGoal: Comparison.Memory.Goal? = nil
        ) -> ComparisonPlan {
            let shape = sizes.map(String.init).joined(separator: "x")
            return ComparisonPlan(
                name: "\(ours), \(device) / \(what)", shape: shape, ours: .ours(ours, shape, device),
                theirs: .ours(theirs, shape, device), goal: goal, memoryGoal: memoryGoal, tokens: tokens)
        }
        return [
            plan(
                "lm_decode", "lm_read", DecodeCase.shape, "a read of the weights a token", tokens: DecodeCase.shape[1],
                goal: 0.6),
            plan("lm_load", "lm_file", LoadCase.shape, "a read of the file", goal: 0.8, memoryGoal: .excess(1e8)),
        ]
    }

    /// Reduced precision against fp32, with the same shapes: below 1 it is slower.
    static func reducedPrecision(device: String) -> [ComparisonPlan] {
        let step = LanguageStepCase.shape
        return [
            ("lm_step", step, step[0] * step[1]), ("lm_decode", DecodeCase.shape, DecodeCase.shape[1]),
        ].map { kernel, sizes, tokens in
            let shape = sizes.map(String.init).joined(separator: "x")
            return ComparisonPlan(
                name: "\(kernel) in bf16, \(device) / in f32", shape: shape,
                ours: .ours(kernel + "_bf16", shape, device), theirs: .ours(kernel, shape, device), goal: nil,
                tokens: tokens)
        }
    }
}
