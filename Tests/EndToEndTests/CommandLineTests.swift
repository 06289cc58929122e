import Foundation
import RetortSupport
import TestSupport
import Testing

/// The program as its users meet it: words in, exit code, stdout and stderr out. Issue 2, section 7, and DESIGN's table of exit codes.
@Suite("Command line")
struct CommandLineTests {
    /// Points around three corners, and a recipe that learns them in a fraction of a second.
    private struct Workplace {
        let folder: ScratchFolder
        static let recipe = """
            data: {kind: csv, path: rows.csv, label: label, test: {every: 5}}
            teacher: {model: {kind: mlp, layers: [4, 8, 3]}, train: {epochs: 2}}
            student: {model: {kind: mlp, layers: [4, 3]}}
            arms:
              student-alone: {objective: [{loss: cross-entropy}]}
              student: {objective: [{loss: hinton}]}
            train: {epochs: 3, batch: 8, optimizer: {kind: adam, lr: 0.01}}
            seeds: [0, 1]

            """

        init() throws {
            folder = try ScratchFolder()
            var csv = "a,b,c,d,label\n"
            for row in 0..<90 {
                let label = row % 3
                let values = (0..<4).map { ($0 == label ? 1 : 0) + Double((row * 7 + $0 * 5) % 11) / 12 }
                csv += values.map { "\($0)" }.joined(separator: ",") + ",\(label)\n"
            }
            try folder.write(csv, to: "rows.csv")
            try folder.write(Self.recipe, to: "r.yaml")
        }

        /// The recipe with one piece replaced.
        func write(replacing piece: String, with text: String) throws {
            #expect(Self.recipe.contains(piece))
            try folder.write(Self.recipe.replacing(piece, with: text), to: "r.yaml")
        }

        func train(
            _ words: String..., device: String = "cpu", environment: [String: String?] = [:], stopAfter: String? = nil
        ) throws
            -> Child
        {
            try Child.retort(
                ["train", "r.yaml", "--device", device] + words, environment: environment, in: folder.path,
                stopAfter: stopAfter)
        }
    }

    private static let hasOpenCL = TestBackend.available.contains(.vector)
    private static let openCL: ConditionTrait = .enabled(if: hasOpenCL, "no OpenCL device here")

    /// The child ended with `exit`, said `words` on stderr, nothing on stdout, and did not crash.
    private func expect(
        _ child: Child, _ exit: ExitCode, _ words: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(child.exit == exit.rawValue, "\(child.stderr)", sourceLocation: sourceLocation)
        for word in words {
            #expect(child.stderr.contains(word), "\(word) in: \(child.stderr)", sourceLocation: sourceLocation)
        }
        #expect(child.stdout == "", sourceLocation: sourceLocation)
        #expect(!child.stderr.contains("Fatal error"), sourceLocation: sourceLocation)
    }

    private func rows(_ json: JSON, _ key: String = "rows") throws -> [JSON] {
        try JSONCursor(json, file: "stdout").member(key).elements().map(\.value)
    }

    // MARK: Words

    @Test("verbs, flags and overrides that are not there: 64")
    func usage() throws {
        let place = try Workplace()
        for words in [
            ["train"], ["train", "r.yaml", "--fast"], ["devices", "--jsn"], ["eval"],
            ["train", "r.yaml", "--seed", "x"], ["train", "r.yaml", "--output", ""],
            ["cache", "r.yaml", "--output", ""], ["eval", "m", "--data", "rows.csv", "--test-every", "1"],
            ["bench", "--json", "--csv"],
        ] {
            let child = try Child.retort(words, in: place.folder.path)
            expect(child, .usage, "Usage:")
            for flag in ["--output", "--test-every"] where words.contains(flag) {
                #expect(child.stderr.contains("Error: \(flag) is "), "\(child.stderr)")
            }
        }
        expect(try Child.retort(["fly"]), .usage, "there is no verb 'fly'", "train, plan, eval")
        expect(try Child.retort(["trian", "r.yaml"]), .usage, "there is no verb 'trian'", "'train'")
        // A check of nothing would pass.
        for verb in ["test", "grad", "perf"] {
            let child = try Child.retort(["test-ops", verb, "--device", "cpu", "--sample", "zzz"])
            expect(child, .usage, "no sample contains 'zzz'", "test-ops list")
        }
        #expect(try Child.retort(["help", "train"]).exit == 0)
        for (name, value) in [
            ("RETORT_THREADS", "0"), ("RETORT_THREADS", "2x"), ("RETORT_THREADS", "100000"), ("RETORT_CPU_LEVEL", "v9"),
        ] {
            let child = try Child.retort(
                ["train", "r.yaml", "--device", "cpu"], environment: [name: value], in: place.folder.path)
            expect(child, .device, name, value)
        }
        expect(try place.train("train.epochs"), .usage, "train.epochs", "key.sub=value")
        expect(try place.train("seeds=[0"), .usage, "seeds=[0")
        expect(try place.train("train.epoch=3"), .recipe, "unknown key 'epoch'", "command line", "epochs")
        expect(try place.train("train.epochs=many"), .recipe, "train.epochs is 'many'", "command line")
        expect(try place.train("--seed=-1"), .recipe, "seeds.0 is -1")
    }

    @Test("help of the program and of every verb, version")
    func help() throws {
        let help = try Child.retort(["--help"])
        #expect(help.exit == 0 && help.stdout.contains("SUBCOMMANDS") && help.stderr == "")
        for verb in ["train", "eval", "inspect", "report", "synth", "devices"] {
            #expect(help.stdout.contains(verb))
            let child = try Child.retort([verb, "--help"])
            #expect(child.exit == 0 && child.stdout.contains("USAGE: retort \(verb)"), "\(verb)")
        }
        #expect(try Child.retort(["train", "--help"]).stdout.contains("weight-decay"))
        #expect(try Child.retort(["--version"]).stdout.contains("."))
    }

    @Test("synth interactions: a file a recommender trains on; what exists stays, impossible numbers are refused")
    func synth() throws {
        let folder = try ScratchFolder()
        func synth(_ words: String...) throws -> Child {
            try Child.retort(["synth", "interactions"] + words, in: folder.path)
        }
        let made = try synth("ratings.csv", "--users", "30", "--items", "40", "--per-user", "12", "--seed", "3")
        #expect(made.exit == 0 && made.stdout.contains("ratings in ratings.csv") && made.stderr == "")
        let before = try contents(of: folder.path)
        let text = String(decoding: before["ratings.csv"]!, as: UTF8.self)
        #expect(text.hasPrefix("userId,movieId,rating,timestamp\n1,"))
        expect(try synth("ratings.csv"), .cannotCreate, "exists")
        expect(try synth("x.csv", "--per-user", "30", "--items", "40"), .usage, "--per-user is 30", "half of the items")
        expect(try synth("x.csv", "--seed=-1"), .usage, "--seed is -1")
        expect(try synth("none/x.csv"), .cannotCreate, "none/x.csv")
        expect(try synth(), .usage, "Usage:")
        #expect(try contents(of: folder.path) == before)
        #expect(try Child.retort(["synth", "--help"]).stdout.contains("interactions"))
        #expect(try Child.retort(["synth", "interactions", "--help"]).stdout.contains("--popularity"))

        let recipe = Project.recipe("recommender.yaml")
        let words = [
            "train", recipe, "data.path=ratings.csv", "data.minimum={user: 1, item: 1}", "seeds=[0]", "train.epochs=2",
            "teacher.train.epochs=2", "arms={student-alone: {objective: [{loss: bpr}]}}", "--device", "cpu", "--json",
            "--output", "run",
        ]
        let trained = try Child.retort(words, in: folder.path)
        #expect(trained.exit == 0, "\(trained.stderr)")
        let rows = try rows(JSON.parse(trained.stdout, file: "stdout"))
        #expect(rows.count == 2 && rows.allSatisfy { $0["metrics"]?["ndcg@10"]?["mean"] != nil }, "\(trained.stdout)")
        let seen = try Child.retort(["inspect", "run/teacher/seed-0/final"], in: folder.path)
        #expect(seen.exit == 0 && seen.stdout.contains("user_embedding.weight") && seen.stdout.contains("num_items"))
    }

    // MARK: Recipe and data

    @Test("recipes that cannot be run: 78 with the place")
    func recipe() throws {
        let place = try Workplace()
        try place.write(replacing: "batch: 8", with: "bacth: 8")
        expect(try place.train(), .recipe, "unknown key 'bacth'", "r.yaml:7:", "batch")
        try place.write(replacing: "batch: 8", with: "batch: eight")
        expect(try place.train(), .recipe, "train.batch is 'eight'", "r.yaml:7:", "a whole number")
        try place.write(replacing: "layers: [4, 3]", with: "layers: [5, 3]")
        expect(try place.train(), .recipe, "first width is 5", "4 features", "r.yaml:3:")
        try place.write(replacing: "layers: [4, 8, 3]", with: "layers: [4, 8, 5]")
        expect(try place.train(), .recipe, "last width is 5", "3 classes", "r.yaml:2:")
        try place.write(replacing: "every: 5", with: "every: &n 5")
        expect(try place.train(), .recipe, "anchor", "r.yaml:1:")
        try place.write(replacing: "seeds:", with: "train: {}\nseeds:")
        expect(try place.train(), .recipe, "train", "twice")
        #expect(
            !FileManager.default.fileExists(atPath: place.folder.path("runs")), "a refused recipe leaves no run behind")
    }

    @Test("data that lies: 65 with file:line:column; data that is not there: 66")
    func data() throws {
        let place = try Workplace()
        let good = String(decoding: try contents(of: place.folder.path)["rows.csv"]!, as: UTF8.self)
        let lines = good.split(separator: "\n")
        try place.folder.write(lines[0...2].joined(separator: "\n") + "\n1,2,nan,4,0\n", to: "rows.csv")
        expect(try place.train(), .badData, "rows.csv:4:5", "nan")
        try place.folder.write(lines[0...2].joined(separator: "\n") + "\n1,2,3", to: "rows.csv")
        expect(try place.train(), .badData, "rows.csv:4:")
        try place.folder.write(lines[0...2].joined(separator: "\n") + "\n1,2,3,4,-1\n", to: "rows.csv")
        expect(try place.train(), .badData, "rows.csv:4:9")
        // Labels that a model of the recipe has no class for: the place, how many there are, both ways out. Teacher, student, a peer.
        try place.folder.write(good + "1,2,3,4, 4\n5,6,7,8,3\n", to: "rows.csv")
        for models in [("[4, 8, 3]", "[4, 5]", "the teacher"), ("[4, 8, 5]", "[4, 3]", "the student")] {
            let text = Workplace.recipe.replacing("[4, 8, 3]", with: models.0).replacing("[4, 3]", with: models.1)
            try place.folder.write(text, to: "r.yaml")
            expect(
                try place.train(), .badData, "rows.csv:92:10", "the label 4 is beyond the classes of \(models.2)",
                "\(models.2) has 3 classes, 0 to 2", "2 of 92 rows", "needs 5 outputs")
        }
        let mutual = "{objective: [{loss: forward-kl}], scheme: {kind: mutual, others: [{kind: mlp, layers: [4, 4]}]}}"
        let wide = Workplace.recipe.replacing("[4, 8, 3]", with: "[4, 8, 5]").replacing("[4, 3]", with: "[4, 5]")
        try place.folder.write(wide.replacing("{objective: [{loss: hinton}]}", with: mutual), to: "r.yaml")
        expect(try place.train(), .badData, "rows.csv:92:10", "a student of the arm student has 4 classes, 0 to 3")
        #expect(!FileManager.default.fileExists(atPath: place.folder.path("runs")))
        // A teacher that was trained before, on fewer classes.
        try place.folder.write(good, to: "rows.csv")
        try place.folder.write(Workplace.recipe, to: "r.yaml")
        #expect(try place.train("--output", "before", "seeds=[0]").exit == 0)
        try place.folder.write(good + "1,2,3,4,3\n", to: "rows.csv")
        let taught = Workplace.recipe.replacing(
            "{model: {kind: mlp, layers: [4, 8, 3]}, train: {epochs: 2}}", with: "before/teacher/seed-0/final"
        ).replacing("[4, 3]", with: "[4, 4]")
        try place.folder.write(taught, to: "r.yaml")
        expect(
            try place.train(), .badData, "rows.csv:92:9", "the label 3 is beyond the classes of the teacher",
            "before/teacher/seed-0/final", "a teacher of 4 classes")
        try place.folder.write(Workplace.recipe, to: "r.yaml")
        try place.folder.write("", to: "rows.csv")
        expect(try place.train(), .badData, "rows.csv")
        try FileManager.default.removeItem(atPath: place.folder.path("rows.csv"))
        expect(try place.train(), .missingInput, "rows.csv")
        try FileManager.default.removeItem(atPath: place.folder.path("r.yaml"))
        expect(try place.train(), .missingInput, "r.yaml")
    }

    // MARK: Output

    @Test("output that cannot be created: 73; another run's directory stays as it is")
    func output() throws {
        let place = try Workplace()
        try place.folder.write("a file", to: "file")
        expect(try place.train("--output", "file/run"), .cannotCreate, "file")
        expect(try place.train("--output", "file"), .cannotCreate, "file")
        expect(try place.train("--output", "/proc/run"), .cannotCreate, "/proc/run")

        #expect(try place.train("--output", "run", "seeds=[0]").exit == 0)
        let before = try contents(of: place.folder.path("run"))
        expect(try place.train("--output", "run"), .cannotCreate, "'run'", "another run", "--output")
        expect(try place.train("--output", "run", "seeds=[0]"), .cannotCreate, "finished")
        #expect(try contents(of: place.folder.path("run")) == before)
    }

    @Test("without --output a new folder below runs/ each time")
    func freshOutput() throws {
        let place = try Workplace()
        for _ in 0..<2 { #expect(try place.train("--seed", "3").exit == 0) }
        let runs = try FileManager.default.contentsOfDirectory(atPath: place.folder.path("runs")).sorted()
        #expect(runs.count == 2)
        #expect(runs.allSatisfy { $0.hasPrefix("r-20") } && runs.map { $0.suffix(2) } == ["-1", "-2"], "\(runs)")
    }

    @Test("a full disk: 74")
    func fullDisk() throws {
        let place = try Workplace()
        // stdout alone on a full device: the run itself is complete.
        let script = "$RETORT train r.yaml --device cpu --quiet --output run > /dev/full"
        let child = try Child.shell(script, in: place.folder.path)
        #expect(child.exit == ExitCode.io.rawValue && child.stderr.contains("full"), "\(child.stderr)")
        #expect(try JSON.read(place.folder.path("run/manifest.json"))["status"] == "finished")
    }

    @Test("a full disk below the run directory: 74, and what was there stays whole")
    func fullDiskOutput() throws {
        let place = try Workplace()
        try Folder.createWithParents(place.folder.path("disk"))
        let mounted = try Child.shell("mount -t tmpfs -o size=48k tmpfs disk", in: place.folder.path).exit == 0
        // A file size limit stands in where nothing may be mounted: it fails the same call with EFBIG.
        let limit = mounted ? "" : "ulimit -f 8; trap '' XFSZ; "
        let child = try Child.shell(
            limit + "$RETORT train r.yaml --device cpu --output disk/run 'student.model.layers=[4, 2000, 3]'",
            in: place.folder.path)
        #expect(child.exit == ExitCode.io.rawValue, "\(child.stderr)")
        #expect(child.stderr.contains(mounted ? "the disk is full" : "size limit"), "\(child.stderr)")
        let files = try contents(of: place.folder.path("disk"))
        #expect(!files.keys.contains { $0.hasSuffix(".tmp") }, "\(files.keys)")
        #expect(files.keys.contains { $0.hasSuffix("teacher/seed-0/result.json") }, "\(files.keys)")
        if mounted { _ = try Child.shell("umount disk", in: place.folder.path) }
    }

    @Test("a file size limit (ulimit -f): 74, not the end by SIGXFSZ")
    func fileSizeLimit() throws {
        let place = try Workplace()
        let child = try Child.shell(
            // Whoever runs the tests may ignore the signal, and children inherit that.
            "ulimit -f 8; env --default-signal=XFSZ $RETORT train r.yaml --device cpu --output run 'student.model.layers=[4, 2000, 3]'",
            in: place.folder.path)
        expect(child, .io, "size limit")
    }

    @Test("an argument that is not UTF-8 is refused, not read with replacement characters")
    func brokenArgument() throws {
        let child = try Child.shell("$RETORT generate model --prompt $'a\\xff'")
        expect(child, .usage, "argument 4 is not UTF-8")
    }

    @Test("a closed stdout never kills a run")
    func closedOutput() throws {
        let place = try Workplace()
        let head = try Child.shell("$RETORT devices | head -c 1; exit ${PIPESTATUS[0]}")
        #expect(head.exit == 0 && head.stdout.utf8.count == 1 && head.stderr == "", "\(head.stderr)")
        let script = "$RETORT train r.yaml --device cpu --json --quiet --output run | true; exit ${PIPESTATUS[0]}"
        let train = try Child.shell(script, in: place.folder.path)
        #expect(train.exit == 0 && train.stderr == "", "\(train.stderr)")
        #expect(try JSON.read(place.folder.path("run/manifest.json"))["status"] == "finished")
        // Both closed from the start.
        #expect(
            try Child.shell("$RETORT train r.yaml --device cpu --output both >&- 2>&-", in: place.folder.path).exit == 0
        )
        #expect(try JSON.read(place.folder.path("both/manifest.json"))["status"] == "finished")
        #expect(
            try contents(of: place.folder.path("both")).filter { !$0.key.hasPrefix("recipe") }.count == 6 + 3 * 2 * 3)
    }

    // MARK: Devices

    @Test("devices: a table, and one JSON object")
    func devices() throws {
        let table = try Child.retort(["devices"])
        #expect(table.exit == 0 && table.stdout.contains("cpu") && table.stdout.contains("OpenBLAS"))
        let json = try JSON.parse(try Child.retort(["devices", "--json"]).stdout, file: "stdout")
        let devices = try rows(json, "devices")
        #expect(devices.count >= (Self.hasOpenCL ? 2 : 1))
        #expect(devices[0]["device"] == "cpu")
    }

    @Test("a named device that is not there: 69, with those that are", openCL)
    func noSuchDevice() throws {
        let place = try Workplace()
        expect(try place.train(device: "opencl:42"), .device, "opencl:42", "opencl:0", "cpu")
        expect(try place.train(device: "voodoo"), .device, "voodoo", "opencl:0")
        expect(try place.train("--output", "run", device: "opencl:"), .device, "opencl:0")
        let child = try Child.retort(
            ["train", "r.yaml"], environment: ["RETORT_DEVICE": "voodoo"], in: place.folder.path)
        expect(child, .device, "RETORT_DEVICE is 'voodoo'", "no device is called")
        expect(try place.train(device: ""), .device, "no device is called ''")
    }

    @Test("kernels of a family that is not there: 69, with those that are", openCL)
    func noSuchFamily() throws {
        let place = try Workplace()
        expect(
            try place.train(device: "opencl:0", environment: ["RETORT_FAMILY": "smit"]), .device, "RETORT_FAMILY",
            "smit",
            "vector, simt, nvptx")
    }

    @Test("a core type that OpenBLAS does not take: 69; one that it takes runs, in any case")
    func noSuchCore() throws {
        let place = try Workplace()
        expect(
            try place.train(environment: ["RETORT_OPENBLAS_CORETYPE": "Bogus"]), .device, "RETORT_OPENBLAS_CORETYPE",
            "Bogus", "OpenBLAS took")
        #expect(try place.train("--output", "run", environment: ["RETORT_OPENBLAS_CORETYPE": ""]).exit == 0)
    }

    @Test("no OpenCL loader: 69 for OpenCL, nothing for the rest")
    func noLoader() throws {
        let place = try Workplace()
        let none = ["RETORT_OPENCL_LIBRARY": "/nonexistent.so" as String?]
        expect(try place.train(device: "opencl:0", environment: none), .device, "no OpenCL loader", "--device cpu")
        expect(try place.train(device: "gpu", environment: none), .device, "no OpenCL loader")
        #expect(try place.train("--output", "run", environment: none).exit == 0)
        #expect(try Child.retort(["--help"], environment: none).exit == 0)
        let devices = try Child.retort(["devices"], environment: none)
        #expect(devices.exit == 0 && devices.stdout.contains("no OpenCL"), "\(devices.stdout)")
        // The default device never needs OpenCL.
        #expect(
            try Child.retort(["train", "r.yaml", "--output", "auto"], environment: none, in: place.folder.path).exit
                == 0)
    }

    @Test("a loader without any device: 69", openCL)
    func loaderWithoutDevice() throws {
        let place = try Workplace()
        try Folder.createWithParents(place.folder.path("vendors"))
        let none = ["OCL_ICD_VENDORS": place.folder.path("vendors") as String?]
        expect(try place.train(device: "opencl:0", environment: none), .device, "--device cpu")
        #expect(try Child.retort(["devices"], environment: none).exit == 0)
    }

    @Test("no OpenBLAS: 69 for the CPU, nothing for the rest")
    func noOpenBLAS() throws {
        let place = try Workplace()
        let none = ["RETORT_OPENBLAS_LIBRARY": "/nonexistent.so" as String?]
        expect(try place.train(environment: none), .device, "OpenBLAS", "libopenblas")
        #expect(try Child.retort(["--help"], environment: none).exit == 0)
        let devices = try Child.retort(["devices"], environment: none)
        #expect(devices.exit == 0 && devices.stdout.contains("not available"), "\(devices.stdout)")
        // The help has a line of its own.
        #expect(devices.stdout.contains("\nhelp: install it") && !devices.stdout.contains(#"\n"#), "\(devices.stdout)")
        if Self.hasOpenCL {
            #expect(try place.train("--output", "run", device: "opencl:0", environment: none).exit == 0)
        }
    }

    @Test("a kernel that does not build: 69 with the compiler's words", openCL)
    func kernelDoesNotBuild() throws {
        let place = try Workplace()
        // One slip that only the optimizer's kernels notice, one that every kernel does, the first of all the probe.
        for (option, file) in [("-Dweight_decay=.", "optimizer.cl"), ("-Dfloat=flot", "probe.cl")] {
            let broken = ["RETORT_KERNEL_OPTIONS": option as String?]
            let child = try place.train("--output", "broken", "--quiet", device: "opencl:0", environment: broken)
            expect(child, .device, file, option, "error: ")
            let message = child.stderr[try #require(child.stderr.range(of: "error: ")).lowerBound...]
            #expect(!message.contains("\\n") && message.utf8.count < 6000, "\(message)")
            #expect(
                try place.train("--output", "cpu", "seeds=[0]", environment: broken).exit == 0,
                "the CPU builds no kernels")
            try FileManager.default.removeItem(atPath: place.folder.path("cpu"))
            try? FileManager.default.removeItem(atPath: place.folder.path("broken"))
        }
    }

    @Test("more memory than there is: 69 at once", openCL, arguments: ["cpu", "opencl:0"])
    func tooLarge(_ device: String) throws {
        let place = try Workplace()
        let child = try place.train("student.model.layers=[4, 300000, 300000, 3]", device: device)
        #expect(child.exit == ExitCode.device.rawValue, "\(child.stderr)")
        #expect(child.stderr.contains("GiB") && child.stderr.contains("smaller"), "\(child.stderr)")
    }

    // MARK: Running

    @Test("stdout is the table; progress are plain lines on stderr")
    func plainOutput() throws {
        let place = try Workplace()
        let child = try place.train("--output", "run")
        #expect(child.exit == 0)
        for word in ["teacher", "student-alone", "student", "accuracy %", "macro-F1 %", "report: run/report.html"] {
            #expect(child.stdout.contains(word), "\(word) in \(child.stdout)")
        }
        #expect(child.stderr.contains("student: minimise 0.9·T²·KL"))
        #expect(child.stderr.contains("teacher seed 1: accuracy"))
        for output in [child.stdout, child.stderr] {
            #expect(!output.contains("\r") && !output.contains("\u{1B}"))
        }
        let quiet = try place.train("--output", "quiet", "--quiet")
        #expect(quiet.exit == 0 && quiet.stderr == "" && quiet.stdout.contains("accuracy %"))
    }

    @Test("--json is one object with DESIGN's keys")
    func json() throws {
        let place = try Workplace()
        let child = try place.train("--output", "run", "--json")
        #expect(child.exit == 0 && child.stderr.contains("teacher seed 0"))
        let root = JSONCursor(try JSON.parse(child.stdout, file: "stdout"), file: "stdout")
        try root.expectKeys(["device", "rows"])
        #expect(try root.member("device").string() == "cpu")
        let roles = try root.member("rows").elements()
        #expect(try roles.map { try $0.member("role").string() } == ["teacher", "student-alone", "student"])
        for (index, row) in roles.enumerated() {
            try row.expectKeys(["role", "seeds", "metrics"])
            #expect(try row.member("seeds").int() == 2)
            let metrics = try row.member("metrics").members()
            let own = ["accuracy", "macro_f1", "parameters", "bytes", "latency_us", "peak_bytes", "step_us"]
            #expect(Set(metrics.map(\.key)) == Set(own + (index == 0 ? [] : ["agreement", "kl_to_teacher"])))
            for metric in metrics {
                try metric.value.expectKeys(["mean", "sd"])
                #expect(try metric.value.member("mean").double() >= 0)
                _ = try metric.value.member("sd").double()
            }
            for key in ["accuracy", "macro_f1"] {
                #expect(try row.member("metrics").member(key).member("mean").double() <= 1)
            }
            let parameters = try row.member("metrics").member("parameters").member("mean").int()
            #expect(parameters == (index == 0 ? 4 * 8 + 8 + 8 * 3 + 3 : 15))
        }
        // One seed has no deviation.
        let single = try JSON.parse(
            try place.train("--seed", "0", "--json", "--output", "single").stdout, file: "stdout")
        #expect(try rows(single)[0]["metrics"]?["accuracy"]?["sd"] == .null)
    }

    @Test("a diverging training: 86")
    func diverges() throws {
        let place = try Workplace()
        let child = try place.train(
            "--output", "run", "train.optimizer={kind: sgd, lr: 1e6, weight-decay: 1e3}", "--quiet")
        expect(child, .diverged, "diverged", "step", "learning rate")
        #expect(!child.stderr.contains("-nan"), "\(child.stderr)")
        try place.write(replacing: "lr: 0.01", with: "lr: 1e30")
        // The schema's own limit comes first; below it Adam cannot leave the finite numbers in one step.
        expect(try place.train(), .recipe, "train.optimizer.lr is 1e30")
    }

    @Test(
        "SIGINT stops, saves and exits 75; the same command finishes as if nothing had been",
        arguments: ["cpu", "opencl:0"])
    func interrupted(_ device: String) throws {
        guard device == "cpu" || Self.hasOpenCL else { return }
        let place = try Workplace()
        // Long enough that the signal, sent after the first teacher's two epochs, finds the run at work.
        let words = [device == "cpu" ? "train.epochs=1000" : "train.epochs=200", "seeds=[0, 1, 2]"]
        let whole = try place.train("--output", "whole", words[0], words[1], device: device)
        #expect(whole.exit == 0)
        let stopped = try place.train(
            "--output", "run", words[0], words[1], device: device, stopAfter: "teacher seed 0: accuracy")
        expect(stopped, .stopped, "SIGINT", "--output run")
        #expect(try JSON.read(place.folder.path("run/manifest.json"))["status"] == "stopped")
        #expect(!FileManager.default.fileExists(atPath: place.folder.path("run/results.json")))
        #expect(try Child.retort(["report", "run"], in: place.folder.path).exit == ExitCode.missingInput.rawValue)

        let resumed = try place.train("--output", "run", words[0], words[1], device: device)
        #expect(resumed.exit == 0, "\(resumed.stderr)")
        #expect(!resumed.stderr.contains("teacher seed 0: accuracy"), "what was finished is not trained again")
        let (a, b) = (try contents(of: place.folder.path("whole")), try contents(of: place.folder.path("run")))
        let models = a.filter { $0.key.contains("/final/") }
        #expect(models.count == 3 * 3 * 2)
        for (path, bytes) in models { #expect(b[path] == bytes, "\(path)") }
        func scores(_ folder: String) throws -> [JSON?] {
            let report = try JSON.parse(
                try Child.retort(["report", folder, "--json"], in: place.folder.path).stdout, file: folder)
            return try rows(report).flatMap { row in
                ["accuracy", "macro_f1", "agreement", "kl_to_teacher"].map { row["metrics"]?[$0] }
            }
        }
        #expect(try scores("run") == scores("whole") && scores("run").count == 12)
    }

    // MARK: What was saved

    @Test("eval, inspect and report work on what was saved")
    func saved() throws {
        let place = try Workplace()
        let trained = try JSON.parse(try place.train("--output", "run", "--seed", "0", "--json").stdout, file: "stdout")
        let roles = try rows(trained)
        let evaluated = try Child.retort(
            [
                "eval", "run/student/seed-0/final", "--teacher", "run/teacher/seed-0/final", "--data", "rows.csv",
                "--test-every", "5",
                "--device", "cpu", "--json",
            ], in: place.folder.path)
        #expect(evaluated.exit == 0, "\(evaluated.stderr)")
        let result = try JSON.parse(evaluated.stdout, file: "stdout")
        let measured = try rows(result)
        for key in ["accuracy", "macro_f1", "agreement", "kl_to_teacher", "parameters"] {
            #expect(measured[1]["metrics"]?[key] == roles[2]["metrics"]?[key], "\(key)")
        }
        #expect(measured[0]["metrics"]?["accuracy"] == roles[0]["metrics"]?["accuracy"])

        func run(_ words: String...) throws -> Child { try Child.retort(words, in: place.folder.path) }
        #expect(try run("inspect", "run").stdout.contains("status: finished"))
        #expect(try run("inspect", "run/teacher/seed-0/final").stdout.contains("layers.1.weight"))
        #expect(
            try run("inspect", "run/teacher/seed-0/final/model.safetensors", "--json").stdout.contains("\"tensors\""))
        let report = place.folder.path("run/report.html")
        let before = try Data(contentsOf: URL(fileURLWithPath: report))
        try FileManager.default.removeItem(atPath: report)
        #expect(try run("report", "run").stdout.contains("report: run/report.html"))
        #expect(try Data(contentsOf: URL(fileURLWithPath: report)) == before)
        #expect(!String(decoding: before, as: UTF8.self).contains("src=\"http"))
        // Where the page cannot be written there is the table still, and JSON does not ask for it.
        try FileManager.default.removeItem(atPath: report)
        try place.folder.folder("run/report.html")
        let unwritten = try run("report", "run")
        #expect(unwritten.exit == ExitCode.cannotCreate.rawValue && unwritten.stdout.contains("student-alone"))
        #expect(unwritten.stderr.contains("report.html") && !unwritten.stderr.contains("--output"))
        let printed = try run("report", "run", "--json")
        #expect(printed.exit == 0 && printed.stderr == "")
        #expect(try rows(JSON.parse(printed.stdout, file: "stdout")) == roles)
        try FileManager.default.removeItem(atPath: report)

        // And say what is wrong with what was not.
        expect(try run("eval", "nowhere", "--data", "rows.csv"), .missingInput, "nowhere")
        expect(
            try run("eval", "run/student/seed-0/final", "--data", "none.csv", "--device", "cpu"), .missingInput,
            "none.csv")
        expect(try run("inspect", "nowhere"), .missingInput, "nowhere")
        expect(try run("report", "nowhere"), .missingInput, "nowhere")
        try place.folder.write("{}", to: "run/results.json")
        expect(try run("report", "run"), .badData, "results.json")
        try place.folder.write("junk", to: "run/student/seed-0/final/model.safetensors")
        expect(try run("inspect", "run/student/seed-0/final"), .badData, "model.safetensors")
        expect(
            try run("eval", "run/student/seed-0/final", "--data", "rows.csv", "--device", "cpu"), .badData,
            "model.safetensors")
        try place.folder.write("a,b,label\n1,2,0\n3,4,1\n", to: "narrow.csv")
        expect(
            try run("eval", "run/teacher/seed-0/final", "--data", "narrow.csv", "--device", "cpu"), .badData,
            "4 features")
        expect(
            try run("eval", "run/teacher/seed-0/final", "--data", "rows.csv", "--test-every", "1", "--device", "cpu"),
            .usage, "--test-every")
    }

    @Test("--profile prints a table per kernel on stderr", arguments: ["cpu", "opencl:0"])
    func profile(_ device: String) throws {
        guard device == "cpu" || Self.hasOpenCL else { return }
        let place = try Workplace()
        let child = try place.train("--output", "run", "--profile", "--quiet", "--json", "--seed", "0", device: device)
        #expect(child.exit == 0, "\(child.stderr)")
        let words = ["matmul", "roof", "GB/s", "adam", "data: training took", "making batches"]
        for word in words { #expect(child.stderr.contains(word), "\(word)") }
        _ = try JSON.parse(child.stdout, file: "stdout")
    }
}
