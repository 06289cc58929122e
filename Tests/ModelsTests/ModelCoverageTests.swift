import Foundation
import TestSupport
import Testing

@testable import RetortModels

@Suite("Model goldens")
struct ModelCoverageTests {
    /// A folder that no list names would never be looked at.
    @Test("every reference model is in a test")
    func goldensCover() throws {
        let pairs = ["kd_cnn_hinton", "kd_lm_hinton", "kd_lm_gjsd"]
        let tested = DecoderGoldenTests.names + EncoderGoldenTests.names + ["resnet8", "resnet20", "vit_cls"] + pairs
        let suffix = ".expected.json"
        let there = try FileManager.default.contentsOfDirectory(atPath: Project.golden("models")).filter {
            $0.hasSuffix(suffix)
        }.map { String($0.dropLast(suffix.count)) }
        #expect(Set(there) == Set(tested))
    }

    @Test("every architecture of texts has a reference model")
    func architectures() throws {
        let types = try (DecoderGoldenTests.names + EncoderGoldenTests.names).map { name in
            try ModelDirectory.configuration(Project.golden("models/\(name)/config.json")).member("model_type").string()
        }
        #expect(
            Set(types)
                == Set(
                    LanguageModelRegistry.all.flatMap { $0.modelTypes }
                        + EncoderModelRegistry.all.flatMap { $0.modelTypes }))
    }
}
