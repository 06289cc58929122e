import Foundation
import RetortRuntime
import RetortSupport

/// PyTorch beside us: the interpreter that has it, the scripts that time it, and the kind of device that is a fair peer of ours.
struct PyTorchPeer: Sendable {
    /// As scripts/pytorch/device.py has it; `cuda` is ROCm's name too.
    enum Kind: String, Sendable {
        case cpu, cuda

        /// A GPU beside a GPU; CPU devices of OpenCL beside the CPU.
        init(beside device: Device) { self = device.isGPU ? .cuda : .cpu }
    }

    /// A path; a bare name such as "python3" is looked for where a shell would.
    let python: String
    /// The folder of gemm.py, conv.py, kd_rows.py, kd_head.py, mlp_step.py, resnet_step.py, lm_step.py, lm_decode.py, device.py.
    let scripts: String
    let kind: Kind

    init(python: String, scripts: String, kind: Kind) {
        self.python = python.contains("/") ? python : Self.found(python) ?? python
        self.scripts = scripts
        self.kind = kind
    }

    private static func found(_ name: String) -> String? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
            .map { "\($0)/\(name)" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    /// The end of a comparison's name.
    var place: String { kind == .cpu ? "on the CPU" : "on the GPU" }

    /// Goals of time were set for the CPU; a GPU's peer has none yet.
    func goal(_ onCPU: Double?) -> Double? { kind == .cpu ? onCPU : nil }

    /// Settings of the peer that are worth a comparison of their own: glibc's allocator has no part in what a GPU does.
    var allocators: [(words: String, options: [String])] {
        [("", [])] + (kind == .cpu ? [(", allocator tuned", ["--tuned"])] : [])
    }

    /// A script as a child that takes turns.
    func engine(_ script: String, _ shape: String, _ more: [String] = []) -> ComparisonPlan.Engine {
        .init(
            program: python,
            arguments: ["\(scripts)/\(script)", "--shape", shape, "--rounds", "0", "--device", kind.rawValue] + more)
    }

    /// Whether all of it is there, asked before anything is measured.
    /// - Throws: exit 66 for a missing interpreter or script, or one that cannot import torch; 69 when PyTorch lacks the device.
    func check(beside device: String) throws {
        for path in [python, scripts + "/device.py"] where !FileManager.default.fileExists(atPath: path) {
            throw RetortError.missingInput(
                "\(path.quoted(limit: 200)) is not there",
                help: "--pytorch takes a Python interpreter that has torch; run from the repository's folder")
        }
        let (status, words) = try ask(["\(scripts)/device.py", "--device", kind.rawValue])
        if status == ExitCode.device.rawValue {
            throw RetortError.device(
                "PyTorch of \(python.quoted(limit: 200)) has no GPU to compare \(device) with", why: words,
                help: "name an interpreter whose PyTorch is built for this machine's GPU (CUDA or ROCm), "
                    + "or compare on the CPU with --device cpu")
        }
        guard status == 0 else {
            throw RetortError.missingInput(
                "\(python.quoted(limit: 200)) has no PyTorch that runs", why: words,
                help: "--pytorch takes a Python interpreter that has torch (scripts/pytorch/README.md)")
        }
    }

    /// The exit code of one question, and the last line of what was said on stderr.
    private func ask(_ arguments: [String]) throws -> (status: Int32, words: String) {
        let (process, errors) = (Process(), Pipe())
        process.executableURL = URL(fileURLWithPath: python)
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = errors
        do { try process.run() } catch {
            throw RetortError.missingInput(
                "cannot start \(python.quoted(limit: 200))", why: "\(error.localizedDescription)")
        }
        let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, text.split(separator: "\n").last.map(String.init) ?? "")
    }
}
