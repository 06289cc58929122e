import Foundation
import RetortSupport
import TestSupport
import Testing

/// `retort plan` as a program.
@Suite("retort plan")
struct PlanCommandTests {
    @Test("one JSON object, the same peak as the run's, and no run directory")
    func json() throws {
        let folder = try ScratchFolder()
        let recipe = Project.root + "/recipes/digits.yaml"
        let few = ["seeds=[0]", "teacher.train.epochs=2", "train.epochs=2", "--device", "cpu", "--json"]
        let child = try Child.retort(["plan", recipe] + few, in: folder.path(""))
        #expect(child.exit == 0 && child.stderr.isEmpty, "\(child.stderr)")
        #expect(try contents(of: folder.path("")).isEmpty)
        let run = try Child.retort(["train", recipe] + few + ["--output", "run", "--quiet"], in: folder.path(""))
        #expect(run.exit == 0, "\(run.stderr)")
        func peaks(_ text: String, _ peak: (JSONCursor) throws -> Double) throws -> [String: Double] {
            let rows = try JSONCursor(try JSON.parse(text, file: "stdout"), file: "stdout").member("rows").elements()
            return Dictionary(uniqueKeysWithValues: try rows.map { (try $0.member("role").string(), try peak($0)) })
        }
        let planned = try peaks(child.stdout) { try $0.member("peak_bytes").double() }
        let measured = try peaks(run.stdout) { try $0.member("metrics").member("peak_bytes").member("mean").double() }
        #expect(planned.count == 3 && planned == measured)
    }

    @Test("what does not fit is shown and then refused with 69; bad overrides with 78 and a missing recipe with 66")
    func refusals() throws {
        let large = try Child.retort([
            "plan", "recipes/digits.yaml", "student.model.layers=[64, 200000, 200000, 10]", "--device", "cpu",
        ])
        #expect(large.exit == 69, "\(large.stderr)")
        #expect(large.stdout.contains("40 015 000 010") || large.stdout.contains("peak memory"), "\(large.stdout)")
        #expect(large.stderr.contains("does not fit") && large.stderr.contains("train.micro-batch"), "\(large.stderr)")
        let unknown = try Child.retort(["plan", "recipes/digits.yaml", "train.bach=3", "--device", "cpu"])
        #expect(unknown.exit == 78 && unknown.stderr.contains("batch"), "\(unknown.stderr)")
        #expect(try Child.retort(["plan", "nothing.yaml", "--device", "cpu"]).exit == 66)
        #expect(try Child.retort(["plan", "recipes/digits.yaml", "--device", "opencl:99"]).exit == 69)
    }
}
