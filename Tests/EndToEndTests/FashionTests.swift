import Foundation
import RetortSupport
import TestSupport
import Testing

/// Fashion-MNIST through the program: our means against the published ones of the reference (golden/e2e/cnn.json), by the same rule as
/// the digits. Minutes a device, so with RETORT_SLOW=1 only; wants RETORT_DATA with fashion-mnist/ in it.
@Suite("Fashion-MNIST, end to end", .enabled(if: Project.runsSlowTests))
struct FashionTests {
    private static let data = ProcessInfo.processInfo.environment["RETORT_DATA"].map { $0 + "/fashion-mnist" }
    private static let devices = ["cpu"] + (TestBackend.available.contains(.vector) ? ["opencl:0"] : [])

    @Test("all labels: distillation costs", .enabled(if: data != nil, "RETORT_DATA is not set"), arguments: devices)
    func allLabels(_ device: String) throws {
        try compare(
            "fashion-cnn.yaml", device,
            ["teacher": "teacher", "student-alone": "student_hard", "student": "student_kd"])
    }

    @Test(
        "few labels, none: the teacher helps", .enabled(if: data != nil, "RETORT_DATA is not set"), arguments: devices)
    func fewLabels(_ device: String) throws {
        try compare(
            "fashion-cnn-few.yaml", device,
            [
                "teacher": "teacher", "student-alone": "few_hard", "student": "few_kd",
                "student-no-labels": "unlabelled_kd",
            ])
    }

    private func compare(_ recipe: String, _ device: String, _ roles: [String: String]) throws {
        let folder = try ScratchFolder()
        let child = try Child.retort(
            [
                "train", "recipes/" + recipe, "data.path=\(Self.data ?? "")", "--device", device, "--json", "--output",
                folder.path("run"),
            ])
        #expect(child.exit == 0, "\(child.stderr)")
        let rows = try JSONCursor(try JSON.parse(child.stdout, file: "stdout"), file: "stdout").member("rows")
            .elements()
        let path = Project.golden("e2e/cnn.json")
        let reference = JSONCursor(try JSON.read(path), file: path)
        #expect(rows.count == roles.count)
        for row in rows {
            let role = try row.member("role").string()
            let key = try #require(roles[role])
            #expect(try row.member("seeds").int() == 5)
            let mean = 100 * (try row.member("metrics").member("accuracy").member("mean").double())
            let published = try reference.member("accuracy_percent").member(key).elements().map { try $0.double() }
            let target = published.reduce(0, +) / Double(published.count)
            let variance = published.reduce(0) { $0 + ($1 - target) * ($1 - target) } / Double(published.count - 1)
            let allowed = 3.5 * variance.squareRoot() * (1.0 / 5 + 1.0 / Double(published.count)).squareRoot()
            print("\(recipe) on \(device): \(role) \(mean), reference \(target) ± \(allowed)")
            #expect(abs(mean - target) < allowed, "\(role): \(mean), reference \(target) ± \(allowed)")
        }
    }
}
