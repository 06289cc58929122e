import Foundation
import RetortSupport
import TestSupport
import Testing

/// The main job, through the program itself: our means against the 20-seed reference of Tests/Fixtures/golden/e2e/digits.json.
///
/// Two means agree when they differ by less than 3.5 · sd_ref · √(1/5 + 1/20), sd_ref the larger published one (DESIGN).
@Suite("Digits, end to end")
struct DigitsTests {
    @Test("few labels: distillation lifts the student", arguments: ["cpu", "opencl:0"])
    func fewLabels(_ device: String) throws {
        guard device == "cpu" || TestBackend.available.contains(.vector) else { return }
        let means = try train(
            "digits.yaml", device, ["teacher": "teacher", "student-alone": "few_hard", "student": "few_kd"])
        #expect(means["student"]! > means["student-alone"]! + 5)
    }

    @Test("all labels: distillation costs", arguments: ["cpu", "opencl:0"])
    func allLabels(_ device: String) throws {
        guard device == "cpu" || TestBackend.available.contains(.vector) else { return }
        let means = try train(
            "digits-full.yaml", device,
            ["teacher": "teacher", "student-alone": "student_hard", "student": "student_kd"])
        #expect(means["student"]! < means["student-alone"]! - 0.5)
    }

    /// Runs a recipe as it is and compares each role with its row of the reference.
    /// - Returns: mean accuracies in percent.
    private func train(_ recipe: String, _ device: String, _ roles: [String: String]) throws -> [String: Double] {
        let folder = try ScratchFolder()
        let child = try Child.retort(
            ["train", "recipes/" + recipe, "--device", device, "--json", "--output", folder.path("run")])
        #expect(child.exit == 0, "\(child.stderr)")
        let rows = try JSONCursor(try JSON.parse(child.stdout, file: "stdout"), file: "stdout").member("rows")
            .elements()
        let path = Project.golden("e2e/digits.json")
        let reference = JSONCursor(try JSON.read(path), file: path)
        var means: [String: Double] = [:]
        for row in rows {
            let role = try row.member("role").string()
            let key = try #require(roles[role])
            #expect(try row.member("seeds").int() == 5)
            let mean = 100 * (try row.member("metrics").member("accuracy").member("mean").double())
            means[role] = mean
            let published = try ["mean_sd_first5", "mean_sd_all"].map { block in
                try reference.member(block).member(key).string().split(separator: " ").compactMap { Double($0) }
            }
            let accuracies = try reference.member("accuracy_percent").member(key).elements().map { try $0.double() }
            #expect(accuracies.count == 20)
            let target = accuracies.reduce(0, +) / 20
            let allowed = 3.5 * max(published[0][1], published[1][1]) * (1.0 / 5 + 1.0 / 20).squareRoot()
            print("\(recipe) on \(device): \(role) \(mean), reference \(target) ± \(allowed)")
            #expect(abs(mean - target) < allowed, "\(role): \(mean), reference \(target) ± \(allowed)")
        }
        #expect(means.count == 3)
        return means
    }
}
