import Foundation
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortConformance

/// PyTorch is no dependency: what its scripts are asked, and what is said when it cannot do that.
@Suite("PyTorch beside us") struct PyTorchPeerTests {
    private static func plans(_ kind: PyTorchPeer.Kind) -> [ComparisonPlan] {
        ComparisonPlan.pyTorch(
            Set(BenchGroup.allCases), PyTorchPeer(python: "python", scripts: "scripts", kind: kind), device: "opencl:0")
    }

    /// A GPU with a GPU; CPU devices, OpenCL's too, with the CPU. What OpenCL says of a device is in the list that users see.
    @Test(arguments: TestBackend.available) func likeIsComparedWithLike(_ backend: TestBackend) throws {
        let device = try backend.device()
        let listed = try #require(DeviceList().text.split(separator: "\n").first { $0.hasPrefix(device.description) })
        let isGPU = backend != .cpu && listed.contains("(gpu, ")
        #expect(PyTorchPeer.Kind(beside: device) == (isGPU ? .cuda : .cpu))
    }

    @Test(arguments: [PyTorchPeer.Kind.cpu, .cuda]) func everyScriptIsToldItsDevice(_ kind: PyTorchPeer.Kind) throws {
        let plans = Self.plans(kind)
        for words in plans.map(\.theirs.arguments) {
            let place = try #require(words.firstIndex(of: "--device"))
            #expect(words[place + 1] == kind.rawValue)
            #expect(words.prefix(5).dropFirst().contains("--rounds"))
            #expect(FileManager.default.fileExists(atPath: Project.root + "/scripts/pytorch/" + words[0].dropFirst(8)))
        }
        #expect(plans.allSatisfy { $0.name.contains(kind == .cpu ? "on the CPU" : "on the GPU") })
        #expect(plans.contains { $0.theirs.arguments.contains("--tuned") } == (kind == .cpu))
        #expect(plans.contains { $0.goal != nil } == (kind == .cpu))
    }

    @Test func productsAreThoseOfOurs() throws {
        let layer = try #require(Self.plans(.cuda).first { $0.shape == "8192x1536x576" })
        #expect(layer.ours.arguments.prefix(3) == ["bench-worker", "gemm_nt_bf16", "8192x1536x576"])
        #expect(
            layer.theirs.arguments == [
                "scripts/gemm.py", "--shape", "8192x1536x576", "--rounds", "0", "--device", "cuda", "--dtype", "bf16",
                "--layout", "nt",
            ])
        #expect(!Self.plans(.cpu).contains { $0.theirs.arguments.contains("bf16") })
        #expect(!Self.plans(.cpu).contains { $0.shape == "4096x4096x4096" })
    }

    @Test func interpretersAreFoundByName() {
        func python(_ name: String) -> String { PyTorchPeer(python: name, scripts: "scripts", kind: .cpu).python }
        #expect(python("sh").hasSuffix("/sh"))
        #expect(python("./sh") == "./sh")
        #expect(python("no-such-interpreter") == "no-such-interpreter")
    }

    /// Steps between two waits for the device: what one of ours takes, theirs takes too.
    @Test func asManyStepsARepetition() throws {
        let step = try #require(Self.plans(.cuda).first { $0.name.hasPrefix("kd_step") })
        #expect(step.theirs.arguments.suffix(2) == ["--calls", "8"])
    }

    @Test func whatPyTorchLacksIsSaid() throws {
        let folder = try ScratchFolder()
        func python(_ script: String) throws -> PyTorchPeer {
            let path = try folder.write("#!/bin/sh\n" + script, to: "python")
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
            return PyTorchPeer(python: path, scripts: Project.root + "/scripts/pytorch", kind: .cuda)
        }
        try python("exit 0").check(beside: "opencl:0")
        try python("test \"$2 $3\" = '--device cuda'").check(beside: "opencl:0")
        let noGPU = try #require(throws: RetortError.self) {
            try python("echo warning >&2; echo built for the CPU alone >&2; exit 69").check(beside: "opencl:0")
        }
        #expect(noGPU.exit == .device && noGPU.description.contains("no GPU to compare opencl:0 with"))
        #expect(noGPU.description.contains("built for the CPU alone") && noGPU.description.contains("--device cpu"))
        let noTorch = try #require(throws: RetortError.self) {
            try python("echo \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1").check(beside: "opencl:0")
        }
        #expect(noTorch.exit == .missingInput && noTorch.description.contains("No module named 'torch'"))
        let missing = PyTorchPeer(python: folder.path + "/none", scripts: Project.root, kind: .cpu)
        #expect(throws: RetortError.self) { try missing.check(beside: "cpu") }
    }
}
