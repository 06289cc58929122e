import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

@Suite("Report")
struct ReportTests {
    // MARK: The page

    @Test("every element of the page is closed, in order", arguments: Samples.all)
    func wellFormed(_ sample: Sample) {
        let page = htmlReport(sample.results, facts: [("Retort", "0.1"), ("Date", "<now> & \"then\"")])
        #expect(firstImbalance(page) == nil)
    }

    @Test(
        "the check of the page's tags finds what it should",
        arguments: ["<p>", "<p><b></p></b>", "</p>", "<p x=\"></p>"])
    func balanceCheck(_ text: String) {
        #expect(firstImbalance("\n" + text) != nil)
        #expect(firstImbalance("\n<p x=\"1\">a<br /></p>") == nil)
    }

    @Test("texts and attributes are escaped, empty elements closed")
    func escaping() {
        let markup = Markup.element("a", ["b": "\"x\" <&> 'y'"], ["1 < 2", .element("br")])
        #expect(markup.rendered == "<a b=\"&quot;x&quot; &lt;&amp;&gt; &#39;y&#39;\">1 &lt; 2<br /></a>")
    }

    @Test("names from files never become markup")
    func hostileNames() {
        let page = htmlReport(Samples.hostile, facts: [("<script>a</script>", "' onload='x")])
        let lower = page.lowercased()
        let forbidden = ["<script", "<img", "<b>", "onload='", "onload=\"", "</title><", "\u{202E}", "\u{0}"]
        #expect(forbidden.filter { lower.contains($0) } == [])
        let wanted = ["&lt;script&gt;alert(1)&lt;/script&gt;", "a&amp;b", "\\u{202E}"]
        #expect(wanted.filter { !page.contains($0) } == [])
    }

    @Test("the page needs nothing from outside", arguments: Samples.all)
    func selfContained(_ sample: Sample) {
        let page = htmlReport(sample.results, facts: [])
        let style = page.components(between: "<style>", and: "</style>")
        // What is in the page itself may be pointed to.
        let markup = (page.components(between: "<", and: ">") + style).joined(separator: "\n")
            .replacing("src=\"data:image/", with: "").replacing("url(data:image/", with: "")
        let forbidden = ["http:", "https:", "src=", "href=", "url(", "@import", "\nlink", "\nscript"]
        #expect(forbidden.filter { markup.contains($0) } == [])
    }

    @Test("numbers that are not finite draw nothing")
    func notFinite() {
        let page = htmlReport(Samples.diverged, facts: [])
        let pictures = page.components(between: "<svg", and: "</svg>")
        #expect(pictures.allSatisfy { !$0.contains("nan\"") && !$0.contains("nan ") && !$0.contains("inf ") })
        let captions = page.components(between: "<figcaption>", and: "</figcaption>")
        #expect(captions.contains { $0.contains("student from epoch 2 (seed 1).") }, "\(captions)")
    }

    @Test("a picture has a title, a description and ids of its own")
    func accessible() {
        let page = htmlReport(Samples.plain, facts: [])
        let pictures = page.components(between: "<svg", and: "</svg>").filter { !$0.contains("aria-hidden") }
        #expect(pictures.count == 8)
        #expect(pictures.allSatisfy { $0.contains("<title id=") && $0.contains("<desc id=") })
        let ids = page.components(between: " id=\"", and: "\"")
        #expect(Set(ids).count == ids.count)
        #expect(page.components(between: "<th scope=\"", and: "\"").count == 4 + 8)
    }

    @Test("a table of many arms may be as wide as the page, its scroll bar on top")
    func wideTable() {
        #expect(htmlReport(Samples.manyArms, facts: []).contains("class=\"scroll wide\""))
        #expect(!htmlReport(Samples.plain, facts: []).contains("class=\"scroll wide\""))
        // Turned over, and what is in it turned back: else the numbers stand on their heads.
        for rule in [".wide { transform: translateX(-50%) rotateX(180deg)", ".wide table { transform: rotateX(180deg)"]
        {
            #expect(reportStyleSheet.contains(rule))
        }
        #expect(reportStyleSheet.contains(".wide, .wide table { transform: none; }"), "on paper nothing scrolls")
    }

    @Test("a fact of the caller replaces ours")
    func facts() {
        let page = htmlReport(Samples.plain, facts: [("device", "a better description")])
        let values = page.components(between: "<dd>", and: "</dd>")
        #expect(values == ["digits", "0, 18446744073709551615", "2", "a better description"])
    }

    // MARK: What is said

    @Test(
        "the headline says what the numbers say",
        arguments: [
            (
                [("student-alone", [0.81, 0.82, 0.83]), ("student", [0.89, 0.90, 0.91])],
                "Distillation lifted the student from 82.0 % to 90.0 % (teacher 98.0 %), 3 seeds."
            ),
            (
                [("student-alone", [0.81, 0.82, 0.83]), ("student", [0.77, 0.78, 0.79])],
                "Distillation cost the student 4.0 points here: 78.0 % instead of 82.0 % (teacher 98.0 %), 3 seeds."
            ),
            (
                [("student-alone", [0.81, 0.82, 0.83]), ("student", [0.82, 0.83, 0.84])],
                "No clear difference: 83.0 % distilled, 82.0 % alone (teacher 98.0 %), 3 seeds. The 1.0 points between "
                    + "them are within the noise of the seeds (± 2.3 points)."
            ),
            (
                [("student-alone", [0.82]), ("student", [0.9])],
                "One seed each: 90.0 % distilled, 82.0 % alone (teacher 98.0 %). The difference of 8.0 points may be "
                    + "luck; run several seeds to know."
            ),
            (
                [("student-alone", [0.81, 0.82, 0.83]), ("dkd", [0.89, 0.90, 0.91]), ("rkd", [0.8, 0.8, 0.8])],
                "Distillation (dkd, the best of 2 arms) lifted the student from 82.0 % to 90.0 % (teacher 98.0 %), "
                    + "3 seeds."
            ),
            (
                [("student", [0.9, 0.9])],
                "The distilled student reached 90.0 % (teacher 98.0 %), 2 seeds; no student trained alone to compare "
                    + "with."
            ),
            (
                [("student-alone", [0.82]), ("dkd", [0.9]), ("rkd", [0.8])],
                "One seed each: 90.0 % distilled (dkd, the best of 2 arms), 82.0 % alone (teacher 98.0 %). The "
                    + "difference of 8.0 points may be luck; run several seeds to know."
            ),
            (
                [("student-alone", [0.81, 0.82, 0.83]), ("dkd", [0.82, 0.83, 0.84])],
                "No clear difference: 83.0 % distilled (dkd), 82.0 % alone (teacher 98.0 %), 3 seeds. The 1.0 points "
                    + "between them are within the noise of the seeds (± 2.3 points)."
            ),
            ([], "The teacher reached 98.0 %, 1 seed."),
        ] as [([(String, [Double])], String)])
    func headline(_ arms: [(String, [Double])], _ expected: String) {
        let results = Samples.results(accuracies: [("teacher", [0.98])] + arms)
        #expect(Verdict(results).headline == expected)
    }

    @Test("a model that was measured is called no distilled student, and no student alone is missed")
    func evaluation() {
        let alone = EvaluationReport(Samples.results(accuracies: [("student", [0.9])])).table
        #expect(alone.hasSuffix("\nThe model reached 90.0 %.\n"), "\(alone)")
        let taught = EvaluationReport(Samples.results(accuracies: [("teacher", [0.98]), ("student", [0.9])])).table
        #expect(taught.hasSuffix("\nThe model reached 90.0 % (teacher 98.0 %).\n"), "\(taught)")
    }

    @Test("the distance to the teacher, the other arms and what could not be measured are named")
    func details() {
        let results = Samples.results(accuracies: [
            ("teacher", [0.98]), ("student-alone", [0.81, 0.83]), ("student", [0.9, 0.9]), ("rkd", [0.83, 0.82]),
            ("broken", [.nan, 0.5]),
        ])
        let verdict = Verdict(results)
        #expect(verdict.relation == ["This closes 50 % of the gap to the teacher."])
        #expect(verdict.others == ["rkd: 82.5 %, 0.5 points above the student alone, within the noise."])
        #expect(verdict.warnings == ["broken: the accuracy is not a finite number in every seed."])
    }

    @Test("many arms are named in groups: above the student alone, below it, unclear")
    func manyArms() {
        let values: [(String, [Double])] = [
            ("a", [0.90, 0.90]), ("b", [0.85, 0.85]), ("c", [0.86, 0.86]), ("d", [0.7, 0.7]), ("e", [0.8, 0.8]),
            ("f", [0.6, 1.0]), ("g", [0.8, 0.8]), ("h", [0.8, 0.8]),
        ]
        let verdict = Verdict(
            Samples.results(accuracies: [("teacher", [0.98, 0.98]), ("student-alone", [0.8, 0.8])] + values))
        #expect(
            verdict.others == [
                "Also above the student alone: c, b.", "Below the student alone: d.",
                "4 of 7 are not clearly different from the student alone.",
            ])
    }

    @Test("a peer, however good, does not speak for its arm: it is no arm to choose, and is compared with nothing")
    func peers() {
        let results = Samples.results(accuracies: [
            ("teacher", [0.98, 0.98]), ("student-alone", [0.81, 0.83]), ("pair", [0.9, 0.9]),
            ("pair/peer-1", [0.95, 0.95]), ("rkd", [0.83, 0.82]),
        ])
        let verdict = Verdict(results)
        #expect(verdict.headline.contains("(pair, the best of 2 arms)"), "\(verdict.headline)")
        #expect(verdict.others == ["rkd: 82.5 %, 0.5 points above the student alone, within the noise."])
        let lines = methodsTable(results).split(separator: "\n").dropFirst(2)
        #expect(
            lines.map { $0.split(separator: " ")[1] } == ["teacher", "student-alone", "pair", "pair/peer-1", "rkd"])
        #expect(lines.dropFirst(3).first?.hasPrefix("| pair/peer-1 | 95.0 ± 0.0 |  |") == true, "\(lines)")
        #expect(Role.arm(ofPeer: "pair/peer-12") == "pair" && Role.arm(ofPeer: "teacher/peer-1") == nil)
        #expect(Role.arm(ofPeer: "peer-1") == nil && Role.arm(ofPeer: "pair/peer-x") == nil)
    }

    // MARK: Text and JSON

    @Test("a deviation has its mean's digits")
    func digits() {
        func text(_ metric: Metric, _ values: [Double]) -> String {
            let (mean, deviation) = MetricFormat(key: metric.rawValue, heading: "", explanation: "").texts(
                Spread(values))
            return mean + " ± " + deviation
        }
        #expect(text(.klToTeacher, [0.3294, 0.3306]) == "0.330 ± 0.001")
        #expect(text(.klToTeacher, [0.00021, 0.00039]) == "0.00030 ± 0.00013")
        #expect(text(.stepTime, [3475, 3545]) == "3 510 ± 49")
        #expect(text(.stepTime, [3.5, 4.5]) == "4.0 ± 0.7")
    }

    @Test("the summary for a terminal")
    func summary() {
        #expect(
            summaryTable(Samples.plain) == """
                               accuracy %  macro-F1 %  agreement %  KL to teacher (nats)
                teacher        98.0 ± 1.4        97.0            –                     –
                student-alone  82.0 ± 1.4        81.0         80.0         0.500 ± 0.014
                student        90.0 ± 1.4        89.0         88.0         0.200 ± 0.014

                               parameters       size  latency (µs)  peak memory
                teacher            85 002  332.0 KiB          41.0      1.6 MiB
                student-alone       1 210    4.7 KiB           6.2    311.9 KiB
                student             1 210    4.7 KiB           6.2    311.9 KiB

                Distillation lifted the student from 82.0 % to 90.0 % (teacher 98.0 %), 2 seeds. This closes 50 % of
                the gap to the teacher. The teacher has 70 times as many parameters.

                """)
        #expect(summaryTable(Samples.empty) == "No accuracy was measured.\n")
        for sample in Samples.all {
            for line in summaryTable(sample.results).split(separator: "\n") {
                #expect(line.unicodeScalars.count <= 100)
            }
        }
    }

    @Test("the object of --json")
    func summaryJSON() {
        let json = Samples.results(accuracies: [("teacher", [0.75]), ("student", [0.25, 0.75, 0.5])]).summaryJSON
        #expect(
            json.text() == #"{"device":"opencl:0","rows":[{"role":"teacher","seeds":1,"metrics":{"accuracy":"#
                + #"{"mean":0.75,"sd":null}}},{"role":"student","seeds":3,"metrics":{"accuracy":"#
                + #"{"mean":0.5,"sd":0.25}}}]}"#)
        let diverged = Samples.results(accuracies: [("student", [.nan, 1])]).summaryJSON
        #expect(diverged.text().contains(#""accuracy":{"mean":null,"sd":null}"#))
        let keys = Samples.plain.summaryJSON["rows"].flatMap { rows -> [String]? in
            guard case .array(let rows) = rows, case .object(let metrics) = rows.last?["metrics"] else { return nil }
            return metrics.keys
        }
        let ofClassifiers: [Metric] = [
            .accuracy, .macroF1, .agreement, .klToTeacher, .parameters, .bytes, .latency, .peakBytes,
        ]
        #expect(keys == ofClassifiers.map(\.rawValue))
    }

    @Test("a directory without results: what it is, and what to do")
    func noResults() throws {
        let folder = try ScratchFolder()
        let none = thrown(RetortError.self) { _ = try RunDirectory.results(in: folder.path) }
        #expect(none?.exit == .missingInput && none?.what.contains("is no run directory") == true)
        try folder.write("{}", to: "manifest.json")
        let unfinished = thrown(RetortError.self) { _ = try RunDirectory.results(in: folder.path) }
        #expect(unfinished?.exit == .missingInput && unfinished?.what.contains("is not finished") == true)
        #expect(unfinished?.help.contains("--output") == true)
    }

    @Test("results.json loses nothing", arguments: Samples.all)
    func roundTrip(_ sample: Sample) throws {
        let text = sample.results.fileJSON.text()
        let read = try RunResults(json: try JSON.parse(text, file: "results.json"), file: "results.json")
        #expect(read.fileJSON.text() == text)
        #expect(htmlReport(read, facts: []) == htmlReport(sample.results, facts: []))
    }

    @Test(
        "a wrong results.json is refused, with the place",
        arguments: [
            ("{}", "'format' is missing"),
            (#"{"format": "other"}"#, "it is not the results of a run"),
            (#"{"format": "retort-results", "version": 2}"#, "this retort reads version 1"),
            (Samples.file.replacing(#""recipe""#, with: #""recipes""#), "'recipes' is not known"),
            (Samples.file.replacing(#""loss":[1.0"#, with: #""loss":["x""#), "'arms[0].seeds[0].curve.loss[0]'"),
            (Samples.file.replacing(#""loss":[1.0"#, with: #""loss":[1.0,1.0"#), "its columns differ in length"),
            (Samples.file.replacing(#""confusion":[[9"#, with: #""confusion":[[-9"#), "outside the allowed range"),
            (
                Samples.file.replacing(#""confusion":[["#, with: #""teacher_confusion":[[0.5]],"confusion":[["#),
                "arms[0].seeds[0].teacher_confusion[0][0]"
            ),
        ])
    func wrongFile(_ text: String, _ expected: String) throws {
        let json = try JSON.parse(text, file: "results.json")
        let error = #expect(throws: RetortError.self) { try RunResults(json: json, file: "results.json") }
        #expect(error?.exit == .badData)
        #expect(error.map { "\($0)" }?.contains(expected) == true, "\(error.map { "\($0)" } ?? "")")
    }

    // MARK: Parts

    @Test("linear axes end at round numbers and cover the values")
    func linearAxis() {
        let axis = ChartAxis("", covering: [0.13, 0.87])
        #expect(axis.ticks.map(\.label) == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"])
        let accuracies = ChartAxis("", covering: [81.2, 97.9], limits: 0...100)
        #expect(accuracies.ticks.map(\.label) == ["80", "85", "90", "95", "100"])
        #expect(ChartAxis("", covering: [100], limits: 0...100).upper == 100)
        #expect(ChartAxis("", covering: [0, 2], whole: true).ticks.map(\.label) == ["0", "1", "2"])
        #expect(ChartAxis("", covering: [-3, 4]).ticks.map(\.label) == ["−4", "−2", "0", "2", "4"])
        for values in [[], [.nan], [0], [5, 5], [.infinity, 1], [-1e200, 1e200], [1e-200, 2e-200]] as [[Double]] {
            let axis = ChartAxis("", covering: values)
            #expect(axis.upper > axis.lower)
            #expect(axis.ticks.count > 1 && axis.ticks.count < 20)
            for value in values { #expect((0...1).contains(axis.position(value))) }
        }
    }

    @Test("logarithmic axes have powers of ten, or 1, 2, 5 in a short range")
    func logarithmicAxis() {
        #expect(ChartAxis("", coveringLogarithmically: [0.002, 14]).ticks.map(\.label) == ["0.01", "0.1", "1", "10"])
        #expect(ChartAxis("", coveringLogarithmically: [3, 40]).ticks.map(\.label) == ["2", "5", "10", "20", "50"])
        for values in [[], [.nan], [1], [1e-200, 1e200], [-1, 0]] as [[Double]] {
            let axis = ChartAxis("", coveringLogarithmically: values)
            #expect(axis.upper > axis.lower && axis.lower > 0)
            #expect(!axis.ticks.isEmpty && axis.ticks.count < 20)
            for value in values + [0, -1] { #expect((0...1).contains(axis.position(value))) }
        }
    }

    @Test("a confusion matrix sums over seeds; missing rows count as 0")
    func confusion() throws {
        let seeds = [[[3, 1], [0, 2]], [], [[1], [1, 1, 4]]].map {
            SeedResult(seed: 0, metrics: [:], curve: [], confusion: $0)
        }
        let arm = ArmResult(role: "student", contract: [], seeds: seeds)
        let matrix = try #require(ConfusionMatrix(arm, classes: ["a", "b"]))
        #expect(matrix.counts == [[4, 1, 0], [1, 3, 4], [0, 0, 0]])
        #expect(matrix.classes == ["a", "b", "#2"])
        #expect(matrix.classAccuracies == [0.8, 0.375, nil])
        #expect(matrix.confusions(1).map(\.count) == [4])
        #expect(ConfusionMatrix(ArmResult(role: "", contract: [], seeds: []), classes: ["a"]) == nil)
    }

    @Test("the students' answers stand beside the teacher's where those are known, and only there")
    func teacherConfusion() throws {
        let arms = Samples.taught.arms
        let matrices = arms.map { ConfusionMatrix($0, against: .teacher, classes: ["zero", "one"]) }
        #expect(matrices.map { $0?.counts } == [nil, [[8, 3], [4, 5]], [[20, 2], [2, 16]]])
        let matrix = try #require(matrices[1])
        #expect(matrix.confusionTexts(1) == ["one by the teacher, zero by the student: 4"])
        let page = htmlReport(Samples.taught, facts: [])
        #expect(page.contains("<h2>Teacher against student</h2>"))
        let titles = page.components(between: "<title id=\"teacher-confusion-", and: "</title>")
        #expect(
            titles.map { $0.drop { $0 != ">" } }
                == [">Answers of the teacher and of student-alone", ">Answers of the teacher and of student"])
        // Results of an older run have none.
        let plain = Samples.plain.fileJSON.text()
        #expect(!plain.contains("teacher_confusion"))
        #expect(!htmlReport(Samples.plain, facts: []).contains("Teacher against"))
    }

    @Test("a curve is the mean of the finite values, in runs")
    func averageCurve() {
        func seed(_ id: UInt64, _ losses: [Double]) -> SeedResult {
            let curve = losses.enumerated().map {
                CurvePoint(epoch: $0.offset + 1, step: 0, loss: $0.element, accuracy: nil)
            }
            return SeedResult(seed: id, metrics: [:], curve: curve, confusion: [])
        }
        let arm = ArmResult(role: "", contract: [], seeds: [seed(3, [1, .nan, .nan, 7]), seed(4, [3, 5, .infinity])])
        let curve = AverageCurve(arm) { $0.loss }
        #expect(curve.runs.map { $0.map(\.mean) } == [[2, 5], [7]])
        #expect(curve.runs.map { $0.map(\.epoch) } == [[1, 2], [4]])
        #expect(curve.epochs == 4)
        #expect(curve.broken.map(\.seed) == [3, 4])
        #expect(curve.broken.map(\.epoch) == [2, 3])
        #expect(AverageCurve(arm) { $0.accuracy }.samples.isEmpty)
    }
}

/// The first place where the page's tags do not balance; nil when they do. Knows only what our own writer makes.
private func firstImbalance(_ page: String) -> String? {
    var open: [Substring] = []
    var rest = page.drop { $0 != "\n" }
    while let start = rest.firstIndex(of: "<") {
        guard let end = rest[start...].firstIndex(of: ">") else { return "unfinished tag" }
        let tag = rest[rest.index(after: start)..<end]
        if tag.hasPrefix("/") {
            guard open.popLast() == tag.dropFirst() else { return "</\(tag.dropFirst())> closes nothing" }
        } else if !tag.hasSuffix("/") {
            let name = tag.prefix { $0 != " " }
            guard !name.isEmpty, name.allSatisfy({ $0.isLetter || $0.isNumber }) else { return "a tag named \(name)" }
            guard tag.count(where: { $0 == "\"" }).isMultiple(of: 2) else { return "a quote in <\(tag)>" }
            open.append(name)
        }
        rest = rest[rest.index(after: end)...]
    }
    return open.isEmpty ? nil : "not closed: \(open)"
}

extension String {
    /// The texts between each `start` and the next `end`.
    fileprivate func components(between start: String, and end: String) -> [String] {
        var found: [String] = []
        var rest = self[...]
        while let from = rest.firstRange(of: start) {
            rest = rest[from.upperBound...]
            guard let to = rest.firstRange(of: end) else { break }
            found.append(String(rest[..<to.lowerBound]))
            rest = rest[to.upperBound...]
        }
        return found
    }
}
