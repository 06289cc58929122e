/// Products, convolutions, divergence rows, chunked losses and training steps against PyTorch.
extension ComparisonPlan {
    static func pyTorch(_ groups: Set<BenchGroup>, _ peer: PyTorchPeer, device: String) -> [ComparisonPlan] {
        func plan(
            _ name: String, _ kernel: String, _ script: String, _ sizes: [Int], _ more: [String] = [],
            words: String = "", goal: Double? = nil
        ) -> ComparisonPlan {
            let shape = sizes.map(String.init).joined(separator: "x")
            return ComparisonPlan(
                name: "\(name), \(device) / PyTorch \(peer.place)\(words)", shape: shape,
                ours: .ours(kernel, shape, device), theirs: peer.engine(script, shape, more), goal: peer.goal(goal))
        }
        var plans: [ComparisonPlan] = []
        if groups.contains(.gemm) {
            let products =
                GemmCases.compared.map { GemmProduct(sizes: $0) } + (peer.kind == .cuda ? GPUProducts.compared : [])
            plans += products.map {
                plan(
                    $0.worker, $0.worker, "gemm.py", $0.sizes, ["--dtype", "\($0.dtype)", "--layout", "\($0.layout)"],
                    goal: 1.6)
            }
        }
        if groups.contains(.conv) {
            for layer in ConvCases.compared {
                plans += [
                    ("conv2d", "forward"), ("conv2d_backward_input", "input"), ("conv2d_backward_weight", "weight"),
                ]
                .map { plan($0, $0, "conv.py", layer.sizes, ["--pass", $1]) }
            }
        }
        if groups.contains(.kd) {
            for sizes in DivergenceCases.shapes {
                let isNarrow = sizes[1] < 1000
                for (words, options) in isNarrow ? [("", [])] : peer.allocators {
                    plans.append(
                        plan(
                            "kd_rows", "kd_rows", "kd_rows.py", sizes, options, words: words,
                            goal: isNarrow ? 2 : options.isEmpty ? 20 : 5))
                }
            }
        }
        if groups.contains(.chunked) {
            for sizes in ChunkedCases.shapes {
                for (words, options) in peer.allocators {
                    var head = plan("kd_chunked", "kd_chunked", "kd_head.py", sizes, options, words: words, goal: 2.5)
                    head.memoryGoal = .share(0.1)
                    plans.append(head)
                }
            }
        }
        if groups.contains(.step) {
            // As many steps between two waits for the device as ours takes.
            var residual = plan(
                "resnet_step", "resnet_step", "resnet_step.py", [64], ["--calls", "\(ResNetStepCase.stepsPerEpoch)"],
                goal: device == "cpu" ? 1.2 : 1)
            residual.memoryGoal = .share(1)
            plans += [
                plan(
                    "kd_step", "mlp_step", "mlp_step.py", [128], ["--calls", "\(StepCase.stepsPerEpoch)"], goal: 1.5),
                residual,
            ]
        }
        if groups.contains(.language) { plans += transformers(peer, device: device) }
        return plans
    }
}
