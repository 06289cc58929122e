import Foundation
import Testing

@testable import RetortKernels

@Suite("Kernel sources")
struct KernelSourcesTests {
    @Test("the embedded table equals the folder")
    func tableEqualsFolder() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("kernels")
        let onDisk = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { $0.hasSuffix(".cl") || $0.hasSuffix(".clh") }
        #expect(Set(onDisk) == Set(KernelSources.all.keys))
        for (name, text) in KernelSources.all {
            #expect(try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8) == text, "\(name)")
        }
    }
}
