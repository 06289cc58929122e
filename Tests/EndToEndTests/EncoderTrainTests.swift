import Foundation
import RetortSupport
import TestSupport
import Testing

/// Encoders of texts from the command line: trained by a recipe, then used and measured.
@Suite("retort train with encoders")
struct EncoderTrainTests {
    private func folder() throws -> ScratchFolder {
        let folder = try ScratchFolder()
        let letters = try folder.writeLetterTeacher()
        let rows = (0..<40).map { row in
            let word = (0..<3).map { letters[(row * 5 + $0 * 7) % 26] }.joined()
            return "{\"query\": \"\(word) \(letters[row % 26])\", \"passages\": \"\(word)\", \"class\": \(row % 2)}\n"
        }
        try folder.write(rows.joined(), to: "rows.jsonl")
        return folder
    }

    private let shared = """
        student: {model: {kind: bert, hidden: 16, intermediate: 32, layers: 1, heads: 2, positions: 32}}
        train: {steps: 10, batch: 8, optimizer: {kind: adamw, lr: 0.01}}
        """

    @Test("vectors: train, embed with what came out, go on with a run that was stopped")
    func sentences() throws {
        let folder = try folder()
        try folder.write(
            """
            data: {kind: sentences, path: rows.jsonl, columns: [query], test: {every: 4}}
            teacher: {path: teacher}
            arms: {student: {objective: [{loss: embedding-cosine}]}}
            \(shared)
            """, to: "r.yaml")
        let train = ["train", folder.path("r.yaml"), "--device", "cpu", "--output", folder.path("run")]
        let stopped = try Child.retort(train + ["train.steps=100000"], stopAfter: "student: minimise")
        #expect(stopped.exit == 75, "\(stopped.stderr)")
        let run = try Child.retort(
            ["train", folder.path("r.yaml"), "--device", "cpu", "--output", folder.path("other"), "--json"])
        #expect(run.exit == 0, "\(run.stderr)")
        let rows = try JSONCursor(JSON.parse(Array(run.stdout.utf8), file: "stdout"), file: "stdout").member("rows")
        #expect(try rows.elements().map { try $0.member("role").string() } == ["teacher", "untrained", "student"])
        let metrics = try rows.elements()[2].member("metrics")
        for key in ["spearman_to_teacher", "cosine_to_teacher", "retrieval_at_1", "parameters"] {
            #expect(try metrics.member(key).member("mean").double().isFinite, "\(key)")
        }
        let embed = try Child.retort([
            "embed", folder.path("other/student/seed-0/final"), "--text", "ab c", "--device", "cpu",
        ])
        #expect(embed.exit == 0 && embed.stdout.contains("\"embedding\""), "\(embed.stderr)")
    }

    @Test("masked tokens: train, plan, then eval what came out")
    func masked() throws {
        let folder = try folder()
        try folder.write(
            """
            data: {kind: masked-texts, path: rows.jsonl, columns: [query], test: {every: 4}, max-length: 8, tokenizer: teacher}
            arms: {student: {objective: [{loss: cross-entropy}]}}
            \(shared)
            """, to: "r.yaml")
        let plan = try Child.retort(["plan", folder.path("r.yaml"), "--device", "cpu"])
        #expect(plan.exit == 0 && plan.stdout.contains("student"), "\(plan.stderr)")
        let run = try Child.retort(
            ["train", folder.path("r.yaml"), "--device", "cpu", "--output", folder.path("run"), "--json"])
        #expect(run.exit == 0, "\(run.stderr)")
        func entropy(_ text: String) throws -> Double {
            try JSONCursor(JSON.parse(Array(text.utf8), file: "stdout"), file: "stdout").member("rows").elements()[0]
                .member("metrics").member("cross_entropy").member("mean").double()
        }
        let model = folder.path("run/student/seed-0/final")
        let measure = [
            "eval", model, "--data", folder.path("rows.jsonl"), "--masked", "--fields", "text=query", "--max-length",
            "8", "--test-every", "4", "--device", "cpu", "--json",
        ]
        let eval = try Child.retort(measure)
        #expect(eval.exit == 0, "\(eval.stderr)")
        #expect(try entropy(eval.stdout) == entropy(run.stdout))
        #expect(try Child.retort(measure.filter { $0 != "--masked" }).exit == 64)
        #expect(try Child.retort(measure + ["--targets", "everything"]).exit == 64)
        #expect(try Child.retort(["eval", folder.path("teacher"), "--data", "x", "--mask-rate", "0.2"]).exit == 64)
        #expect(try Child.retort(["eval", folder.path("teacher")] + measure.dropFirst(2)).exit == 65)
    }

    @Test("retrieval and classes: train, then eval what came out")
    func others() throws {
        let folder = try folder()
        try folder.write(
            """
            data: {kind: retrieval, path: rows.jsonl, test: {every: 4}}
            arms: {student-alone: {objective: [{loss: info-nce}]}}
            \(shared.replacing("heads: 2, positions: 32}}", with: "heads: 2, positions: 32}, tokenizer: teacher}"))
            """, to: "q.yaml")
        func train(_ output: String) -> [String] {
            ["train", folder.path("q.yaml"), "--device", "cpu", "--output", folder.path(output)]
        }
        let run = try Child.retort(train("q"))
        #expect(run.exit == 0 && run.stdout.contains("MRR@10 %"), "\(run.stderr)")
        let found = [
            "eval", folder.path("q/student-alone/seed-0/final"), "--data", folder.path("rows.jsonl"), "--test-every",
            "4", "--device", "cpu",
        ]
        func metrics(_ arguments: [String]) throws -> JSONCursor {
            let child = try Child.retort(arguments + ["--json"])
            #expect(child.exit == 0, "\(child.stderr)")
            let rows = try JSONCursor(JSON.parse(Array(child.stdout.utf8), file: "stdout"), file: "stdout").member(
                "rows")
            return try #require(try rows.elements().last).member("metrics")
        }
        let (trained, measured) = (try metrics(train("again")), try metrics(found + ["--retrieval"]))
        for key in ["recall@10", "ndcg@10", "mrr@10", "parameters"] {
            #expect(try trained.member(key).value == measured.member(key).value, "\(key)")
        }
        for words in [
            ["--masked", "--retrieval"], ["--retrieval", "--label", "x"], ["--retrieval", "--format", "text"],
        ] {
            #expect(try Child.retort(found + words).exit == 64, "\(words)")
        }
        #expect(try Child.retort(found + ["--retrieval", "data.path=x"]).exit == 64)
        try folder.write(
            """
            data: {kind: labelled-texts, path: rows.jsonl, text: query, label: class, test: {every: 4}}
            teacher: {path: teacher, train: {steps: 5}}
            arms: {student: {objective: [{loss: hinton}]}}
            \(shared)
            """, to: "c.yaml")
        let classes = try Child.retort([
            "train", folder.path("c.yaml"), "--device", "cpu", "--output", folder.path("c"),
        ])
        #expect(classes.exit == 0 && classes.stdout.contains("agreement %"), "\(classes.stderr)")
        let eval = try Child.retort([
            "eval", folder.path("c/student/seed-0/final"), "--data", folder.path("rows.jsonl"), "--fields",
            "text=query,label=class", "--device", "cpu", "--json",
        ])
        #expect(eval.exit == 0 && eval.stdout.contains("\"accuracy\""), "\(eval.stderr)")
    }

    @Test("help has the keys; a word of another family says where it belongs")
    func words() throws {
        let help = try Child.retort(["train", "--help"])
        for word in ["data.kind: sentences", "data.kind: retrieval", "data.kind: labelled-texts", "margin-mse", "pca"] {
            #expect(help.stdout.contains(word), "\(word)")
        }
        let folder = try folder()
        try folder.write(
            """
            data: {kind: sentences, path: rows.jsonl, test: {every: 4}}
            teacher: {path: teacher}
            arms: {student: {objective: [{loss: margin-mse}]}}
            \(shared)
            """, to: "r.yaml")
        let run = try Child.retort(["train", folder.path("r.yaml"), "--device", "cpu"])
        #expect(run.exit == 78 && run.stderr.contains("margin-mse is for data of kind retrieval"), "\(run.stderr)")
    }
}
