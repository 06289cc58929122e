import RetortModels
import RetortSupport
import Testing

@testable import RetortDistillation

@Suite("Text metrics")
struct TextMetricTests {
    /// Reference, prediction, precision, recall and F of the Python package rouge_score 0.1.2, without stemming.
    private static let published: [(String, String, Double, Double, Double)] = [
        (
            "The quick brown fox jumps over the lazy dog.", "A quick brown dog jumps on the log.", 0.5,
            0.4444444444444444, 0.47058823529411764
        ),
        ("police killed the gunman", "the gunman killed police", 0.5, 0.5, 0.5),
        ("It's 3.5 km, isn't it?", "it is 35 km", 0.5, 0.25, 0.3333333333333333),
        ("", "anything", 0, 0, 0),
        ("same words here", "Same   WORDS, here!", 1, 1, 1),
        ("naïve café — 12,000 people", "naive cafe 12000 people", 0.25, 0.16666666666666666, 0.2),
        ("one two three four five six", "six five four three two one", 1 / 6.0, 1 / 6.0, 1 / 6.0),
        ("a a a b", "a b a", 0.6666666666666666, 0.5, 0.5714285714285715),
        ("x_y z", "x y z", 1, 1, 1),
        ("Straße", "strasse", 0, 0, 0),
        ("日本 語 text", "text", 1, 1, 1),
        ("İstanbul \u{212A} kelvin", "istanbul k kelvin", 0.6666666666666666, 0.5, 0.5714285714285715),
    ]

    @Test("ROUGE-L has the published package's numbers", arguments: published.indices)
    func rougeL(_ index: Int) {
        let (reference, prediction, precision, recall, f) = Self.published[index]
        let score = RougeL(prediction, reference: reference)
        #expect(abs(score.precision - precision) < 1e-15 && abs(score.recall - recall) < 1e-15, "\(score)")
        #expect(abs(score.f - f) < 1e-15, "\(score)")
    }

    @Test("answers are compared without case, punctuation, articles and white space")
    func exactMatch() {
        let pairs = [
            ("The Eiffel Tower!", "eiffel   tower"), ("a  dog", "dog"), ("U.S.", "us"), ("", "the"),
            ("an—apple", "—apple"), ("3,000", "3000"),
        ]
        for (a, b) in pairs { #expect(AnswerMatch.isExact(a, b), "\(a) \(b): \(AnswerMatch.normalized(a))") }
        for (a, b) in [("theatre", "atre"), ("data", "dt"), ("Ä", "A"), ("an1", "1")] {
            #expect(!AnswerMatch.isExact(a, b), "\(a) \(b)")
        }
        #expect(AnswerMatch.normalized("\tThe  answer:\n(a) Yes. ") == "answer yes")
    }

    @Test("F1 of words counts each as often as it stands")
    func tokenF1() {
        #expect(AnswerMatch.tokenF1("the cat sat", "cat sat down") == 2.0 * 2 / 5)
        #expect(AnswerMatch.tokenF1("no no no", "no") == 2.0 * 1 / 4)
        #expect(AnswerMatch.tokenF1("", "the") == 1 && AnswerMatch.tokenF1("", "cat") == 0)
        #expect(AnswerMatch.tokenF1("Cat!", "a cat") == 1 && AnswerMatch.tokenF1("dog", "cat") == 0)
    }

    @Test("the last number, GSM8K's mark, MATH's box")
    func numbers() throws {
        let cases: [(String, String?)] = [
            ("So 3 + 4 = 7.\n#### 1,234,000", "1234000"), ("she pays $1,234.50 in all.", "1234.5"),
            (#"It is \boxed{\frac{1}{2}} or 9"#, "0.5"), (#"first \boxed{3}, no, \boxed{-4.0} of 9"#, "-4"),
            (#"\boxed{5, and 6"#, "6"), ("no number", nil), ("from 3-2 remain", "2"), ("it is -5 degrees", "-5"),
            ("x-1", "1"), ("(-7)", "-7"), ("−8 °C", "-8"), ("-$20", "-20"), ("1,2 and 3,4567", "4567"), (".50", "0.5"),
            ("007", "7"), ("-0.0", "0"), ("version 1.5.", "1.5"), ("#### none, 12", "12"), ("#### about 4 of 5", "4"),
            ("a 50% share", "50"), ("", nil), ("1,234,56", "56"), ("12,345,678.900", "12345678.9"),
            (#"\boxed{\frac{3}{2}}"#, "1.5"), (#"\boxed{\dfrac{-2}{6}}"#, "-1/3"), (#"\boxed{2\tfrac12}"#, "2.5"),
            (#"\boxed{-2\frac{1}{3}}"#, "-7/3"),
            (#"\boxed{6/4}"#, "1.5"), ("half, 1/2", "0.5"), ("#### 10/4", "2.5"), ("on 12/25/2024", "2024"),
            ("3/0", "0"),
            (#"\boxed{1{,}234}"#, "1234"), (#"\boxed{10\,000}"#, "10000"), (#"\boxed{\$5}"#, "5"),
            (#"\boxed{50\%}"#, "50"),
            (#"\boxed{12\text{ cm}^2}"#, "12"), (#"\boxed{\text{12 apples}}"#, "12"), (#"\boxed{90^\circ}"#, "90"),
            (#"\boxed{x = 5}"#, "5"),
            // More than a number: none, whatever else the text says.
            (#"\boxed{3, 4} of 9"#, nil), (#"\boxed{2\sqrt{3}}"#, nil), (#"\boxed{\sqrt{2}}"#, nil),
            (#"\boxed{3\pi}"#, nil),
            (#"\boxed{x^2}"#, nil), (#"\boxed{\frac{\pi}{2}}"#, nil), (#"\boxed{\frac{x}{2}}"#, nil),
        ]
        for (text, answer) in cases {
            #expect(try AnswerRule.lastNumber.answer(in: text) == answer, "\(text)")
        }
    }

    @Test("the letter that is chosen")
    func choices() throws {
        let cases: [(String, String?)] = [
            ("B", "B"), ("b) because A is wrong", "B"), ("(C)", "C"), ("C. Paris", "C"), ("The answer is (D).", "D"),
            ("Of A and B, the correct answer is option B because C lacks it", "B"), ("Answer: **a**", "A"),
            ("I think it is E", "E"), ("A cat sat.", nil), ("I'd say nothing", nil), ("Both (A) and (B) hold", "B"),
            (#"so \boxed{\text{C}} it is, not A"#, "C"), ("the answer is a number", nil), ("the answer is 'B'", "B"),
            ("There is no answer. D is a letter", "D"), ("grade-b_2", nil), ("", nil), ("Zebra", nil),
            ("Answer:\nJ", "J"), ("K", nil),
        ]
        for (text, answer) in cases {
            #expect(try AnswerRule.choice().answer(in: text) == answer, "\(text)")
        }
    }

    @Test("a user's pattern: the last match; wrong and endless ones are errors")
    func patterns() throws {
        let rule = AnswerRule.pattern(try AnswerPattern(#"answer:\K.*"#))
        #expect(try rule.answer(in: "answer: one\nanswer:  two \nend") == "two")
        #expect(try rule.answer(in: "none") == nil && rule.answer(in: "answer:") == nil)
        let wrong = #expect(throws: RetortError.self) { try AnswerPattern("(a") }
        #expect(wrong?.exit == .usage)
        let endless = AnswerRule.pattern(try AnswerPattern(#"(?:a+)+$(?<!a)b|(a|a)*\1c"#))
        let long = #expect(throws: RetortError.self) {
            try endless.answer(in: String(repeating: "a", count: 5000) + "!")
        }
        #expect(long?.exit == .badData && long?.what.contains("tokenizer") == false, "\(String(describing: long))")
    }
}
