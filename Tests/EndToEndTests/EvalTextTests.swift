import Foundation
import RetortSupport
import TestSupport
import Testing

/// `retort eval` of language models and encoders as a user runs it.
@Suite("Evaluation on text, from the command line")
struct EvalTextTests {
    private static let train = """
        data: {kind: text, path: text.jsonl, fields: {prompt: question, completion: answer}, test: {every: 3}, tokenizer: TOKENIZER, separator: " "}
        teacher: {model: {kind: llama, hidden: 16, intermediate: 32, layers: 1, heads: 2, positions: 64}, train: {epochs: 2}}
        student: {model: {kind: gpt2, hidden: 8, layers: 1, heads: 2, positions: 64}}
        arms: {student: {objective: [{loss: hinton}]}}
        train: {epochs: 2, batch: 3, optimizer: {kind: adamw, lr: 0.01}}
        """
    private static let devices = ["cpu"] + (TestBackend.hasOpenCL ? ["opencl:0"] : [])
    private static let words = [
        "--data", "text.jsonl", "--fields", "prompt=question,completion=answer", "--separator", " ",
    ]
    private static let (student, teacher) = ("run/student/seed-0/final", "run/teacher/seed-0/final")

    private func place() throws -> ScratchFolder {
        let folder = try ScratchFolder()
        let lines = (1...9).map { "{\"question\": \"How many after \($0)?\", \"answer\": \"It is \($0 + 1).\"}\n" }
        try folder.write(lines.joined(), to: "text.jsonl")
        let tokenizer = Project.root + "/Tests/Fixtures/tokenizers/stories260K"
        try folder.write(Self.train.replacing("TOKENIZER", with: tokenizer), to: "text.yaml")
        return folder
    }

    private func trained(_ device: String) throws -> (ScratchFolder, [JSON]) {
        let folder = try place()
        let run = try Child.retort(
            ["train", "text.yaml", "--device", device, "--output", "run", "--json", "--quiet"], in: folder.path)
        #expect(run.exit == 0, "\(run.stderr)")
        return (folder, try rows(run))
    }

    private func rows(_ child: Child) throws -> [JSON] { try object(child).member("rows").elements().map(\.value) }

    private func object(_ child: Child) throws -> JSONCursor {
        JSONCursor(try JSON.parse(child.stdout, file: "stdout"), file: "stdout")
    }

    @Test("the run's numbers, divergences by entropy, answers with a file of predictions", arguments: devices)
    func languageModel(_ device: String) throws {
        let (folder, trained) = try trained(device)
        func eval(_ words: [String]) throws -> Child {
            try Child.retort(["eval", Self.student] + Self.words + words + ["--device", device], in: folder.path)
        }
        let child = try eval(["--teacher", Self.teacher, "--test-every", "3", "--json"])
        #expect(child.exit == 0, "\(child.stderr)")
        let measured = try rows(child)
        try #require(measured.count == 2 && trained.count == 2)
        for key in ["accuracy", "cross_entropy", "perplexity", "agreement", "kl_to_teacher", "reverse_kl_to_teacher"] {
            #expect(measured[1]["metrics"]?[key] == trained[1]["metrics"]?[key], "\(key)")
            #expect(measured[0]["metrics"]?[key] == trained[0]["metrics"]?[key], "teacher \(key)")
            #expect(trained[1]["metrics"]?[key] != nil)
        }
        let bins = try object(child).member("entropy_bins").elements()
        let tokens = try bins.reduce(0) { try $0 + $1.member("tokens").int() }
        #expect(try bins.count == 5 && tokens == object(child).member("tokens").int() && bins[4].value["to"] == .null)
        #expect(try object(child).member("examples").int() == 3)
        let table = try eval(["--teacher", Self.teacher])
        for word in ["perplexity", "reverse KL (nats)", "teacher's entropy (nats)", "4 – ∞", "9 examples"] {
            #expect(table.stdout.contains(word), "\(word) in \(table.stdout)")
        }
        #expect(table.stderr.contains("text: 9 examples"))

        let answers = try eval([
            "--generate", "--max-new-tokens", "6", "--answer", "last-number", "--predictions", "out.jsonl", "--limit",
            "4", "--json", "--quiet",
        ])
        #expect(answers.exit == 0 && answers.stderr == "", "\(answers.stderr)")
        let metrics = try #require(try rows(answers).first?["metrics"])
        for key in ["rouge_l", "exact_match", "token_f1", "unanswered"] { #expect(metrics[key] != nil, "\(key)") }
        let lines = try String(contentsOfFile: folder.path("out.jsonl"), encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 4)
        for (index, line) in lines.enumerated() {
            let row = try JSON.parse(Array(line.utf8), file: "out.jsonl")
            #expect(row["expected"] == .string("\(index + 2)") && row["place"] == .string("text.jsonl:\(index + 1):1"))
        }
        #expect(try eval(["--generate", "--predictions", "out.jsonl"]).exit == 73)
        // A question that no model of them can read.
        let long = String(repeating: "long ", count: 2000)
        try folder.write(
            "{\"prompt\": \"a\", \"completion\": \"1\"}\n{\"prompt\": \"\(long)\", \"completion\": \"2\"}\n",
            to: "long.jsonl")
        func ask(_ policy: String) throws -> Child {
            try Child.retort(
                [
                    "eval", Self.student, "--data", "long.jsonl", "--generate", "--max-new-tokens", "2",
                    "--on-bad-line", policy,
                    "--device", "cpu",
                ], in: folder.path)
        }
        let skipped = try ask("skip")
        #expect(skipped.exit == 0 && skipped.stderr.contains("long.jsonl:2:1: the prompt has"), "\(skipped.stderr)")
        #expect(skipped.stdout.contains("1 prompt"), "\(skipped.stdout)")
        #expect(try ask("error").exit == 65)
    }

    @Test("encoders: a table for classes, correlations for sentences")
    func encoders() throws {
        let folder = try ScratchFolder()
        for file in ["config.json", "model.safetensors"] {
            try folder.folder("bert")
            try FileManager.default.copyItem(
                atPath: Project.golden("models/bert_cls/" + file), toPath: folder.path("bert/" + file))
        }
        let letters = "abcdefghijklmnopqrstuvwxyz".map(String.init)
        try folder.write(
            (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters).joined(separator: "\n"), to: "bert/vocab.txt")
        try folder.write("text,class\na,0\nb,2\nc d,LABEL_1\n", to: "rows.csv")
        func eval(_ words: String...) throws -> Child {
            try Child.retort(["eval", "bert", "--device", "cpu"] + words, in: folder.path)
        }
        let child = try eval("--data", "rows.csv", "--label", "class", "--json")
        #expect(child.exit == 0, "\(child.stderr)")
        #expect(try object(child).member("classes").value == ["LABEL_0", "LABEL_1", "LABEL_2"])
        #expect(try object(child).member("confusion").elements().count == 3)
        #expect(try rows(child)[0]["metrics"]?["macro_f1"] != nil)
        #expect(try eval("--data", "rows.csv", "--label", "class").stdout.contains("is \\ taken for"))
        let each = try eval("--data", "rows.csv", "--label", "class", "--test-every", "2", "--json")
        #expect(try each.exit == 0 && object(each).member("examples").int() == 2, "\(each.stderr)")
        func exit(_ code: Int32, _ word: String, _ child: Child) {
            #expect(child.exit == code && child.stderr.contains(word) && child.stdout == "", "\(child.stderr)")
        }
        let rounded = try eval("--data", "rows.csv", "--label", "class", "--dtype", "bf16", "--json")
        #expect(try rounded.exit == 0 && rows(rounded)[0]["metrics"]?["accuracy"] != nil, "\(rounded.stderr)")
        exit(65, "rows.csv:1:1", try eval("--data", "rows.csv"))
        exit(66, "none.csv", try eval("--data", "none.csv"))
        exit(64, "--format", try eval("--data", "rows.csv", "--format", "text"))
        exit(64, "--split", try eval("--data", "rows.csv", "--split", "test"))
        exit(64, "--generate", try eval("--data", "rows.csv", "--generate"))
        exit(64, "sentence1", try eval("--data", "rows.csv", "--fields", "sentence1=text"))
        // Without its head it is an encoder of sentences.
        let config = try String(contentsOfFile: folder.path("bert/config.json"), encoding: .utf8)
        try folder.write(
            config.replacing("BertForSequenceClassification", with: "BertModel"), to: "bert/config.json")
        try folder.write("s,t,n\na,b,1\na,c d,3\na,a,5\n", to: "pairs.csv")
        let pairs = try eval("--data", "pairs.csv", "--fields", "sentence1=s,sentence2=t,score=n", "--json")
        #expect(pairs.exit == 0, "\(pairs.stderr)")
        #expect(try rows(pairs)[0]["metrics"]?["spearman"]?["mean"] != nil && object(pairs).member("pairs").int() == 3)
        exit(64, "label", try eval("--data", "pairs.csv", "--label", "n"))
    }

    @Test("what does not fit is refused, with the place and the exit code")
    func refusals() throws {
        let (folder, _) = try trained("cpu")
        func exit(_ code: Int32, _ word: String, _ words: String...) throws {
            let child = try Child.retort(["eval"] + words + ["--device", "cpu"], in: folder.path)
            #expect(child.exit == code && child.stderr.contains(word) && child.stdout == "", "\(words) \(child.stderr)")
        }
        try exit(66, "nowhere", "nowhere", "--data", "text.jsonl")
        try exit(66, "none.jsonl", Self.student, "--data", "none.jsonl")
        try exit(65, "text.jsonl:1:1", Self.student, "--data", "text.jsonl")
        try exit(64, "--height", Self.student, "--data", "text.jsonl", "--height", "3")
        try exit(64, "--fields", Self.student, "--data", "text.jsonl", "--fields", "prompt")
        try exit(64, "--answer", Self.student, "--data", "text.jsonl", "--answer", "choice")
        try exit(64, "--pattern", Self.student, "--data", "text.jsonl", "--generate", "--answer", "regex")
        try exit(64, "--targets", Self.student, "--data", "text.jsonl", "--generate", "--targets", "everything")
        try exit(64, "--top-k", Self.student, "--data", "text.jsonl", "--generate", "--top-k", "3")
        try exit(64, "--limit", Self.student, "--data", "text.jsonl", "--limit", "0")
        try exit(64, "--format", Self.student, "--data", "text.jsonl", "--format", "parquet")
        try folder.write("{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": 1}\n", to: "bad.jsonl")
        try exit(65, "bad.jsonl:2:", Self.student, "--data", "bad.jsonl")
        try exit(
            64, "(a", Self.student, "--data", "bad.jsonl", "--on-bad-line", "skip", "--generate", "--answer", "regex",
            "--pattern", "(a")
        try folder.write("{\"model_type\": \"mlp\"}", to: "table/config.json")
        try exit(64, "--dtype", "table", "--data", "text.jsonl", "--dtype", "bf16")
        try folder.write("{\"model_type\": \"unheard\"}", to: "odd/config.json")
        try exit(65, "odd/config.json:1:16", "odd", "--data", "text.jsonl")
        let long = String(repeating: "long ", count: 200)
        try folder.write(
            "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"b\", \"completion\": \"\(long)\"}\n",
            to: "long.jsonl")
        try exit(65, "--truncation drop leaves them out", Self.student, "--data", "long.jsonl")
        let left = try Child.retort(
            ["eval", Self.student, "--data", "long.jsonl", "--truncation", "drop", "--device", "cpu", "--json"],
            in: folder.path)
        #expect(try left.exit == 0 && object(left).member("examples").int() == 1, "\(left.stderr)")
        try exit(65, "no tensor", Self.student, "--data", Project.golden("e2e/lm_samples.safetensors"))
    }
}
