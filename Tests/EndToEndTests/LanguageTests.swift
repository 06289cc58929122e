import Foundation
import RetortSupport
import TestSupport
import Testing

/// The language-model table of the reference (golden/e2e/lm.json) through the program: a trained Llama of 260 thousand weights teaches one
/// of 40 thousand, five losses, three seeds. Minutes a device, so with RETORT_SLOW=1 only; wants RETORT_DATA with models/stories260K.
@Suite("Language models, end to end", .enabled(if: Project.runsSlowTests))
struct LanguageTests {
    private static let data = ProcessInfo.processInfo.environment["RETORT_DATA"]
    private static let devices = ["cpu"] + (TestBackend.available.contains(.vector) ? ["opencl:0"] : [])
    private static let losses = [
        "student-alone": "ce", "forward-kl": "fkl", "hinton": "hinton_T2_a0.9", "jsd": "jsd", "reverse-kl": "rkl",
    ]
    private static let columns = [
        ("cross_entropy", "valid_ce", 1.0), ("kl_to_teacher", "valid_fkl", 1),
        ("reverse_kl_to_teacher", "valid_rkl", 1),
        ("agreement", "top1_agreement_percent", 100),
    ]

    @Test(
        "five losses in the published order and place", .enabled(if: data != nil, "RETORT_DATA is not set"),
        arguments: devices)
    func table(_ device: String) throws {
        let folder = try ScratchFolder()
        let child = try Child.retort(
            [
                "train", "recipes/language/stories.yaml", "data.path=" + Project.golden("e2e/lm_samples.safetensors"),
                "data.test=valid", "teacher.path=\(Self.data ?? "")/models/stories260K", "--device", device, "--json",
                "--output", folder.path("run"),
            ])
        #expect(child.exit == 0, "\(child.stderr)")
        let rows = try JSONCursor(try JSON.parse(child.stdout, file: "stdout"), file: "stdout").member("rows")
            .elements()
        let path = Project.golden("e2e/lm.json")
        let reference = JSONCursor(try JSON.read(path), file: path)
        var entropies: [String: Double] = [:]
        for row in rows {
            let role = try row.member("role").string()
            func mean(_ key: String) throws -> Double { try row.member("metrics").member(key).member("mean").double() }
            entropies[role] = try mean("cross_entropy")
            guard let loss = Self.losses[role] else {
                let teacher = try reference.member("teacher_valid").member("ce").double()
                #expect(abs(try mean("cross_entropy") - teacher) < 1e-5)
                continue
            }
            for (key, column, unit) in Self.columns {
                let published = try reference.member("results").member(loss).member(column).string()
                let parts = published.components(separatedBy: " +- ").compactMap(Double.init)
                let ours = try mean(key) * unit
                print("\(role) on \(device): \(key) \(ours), reference \(published)")
                #expect(abs(ours - parts[0]) < 4 * parts[1], "\(role): \(key) \(ours), \(published)")
            }
        }
        let order = ["student-alone", "hinton", "jsd", "reverse-kl"].compactMap { entropies[$0] }
        #expect(order.count == 4 && order == order.sorted())
        #expect(try #require(entropies["forward-kl"]) < #require(entropies["hinton"]))
    }
}
