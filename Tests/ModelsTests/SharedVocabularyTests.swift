import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@Suite("Shared vocabulary")
struct SharedVocabularyTests {
    private let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    /// A byte-level tokenizer whose ids are the places of its tokens.
    private func tokenizer(_ tokens: [String], _ name: String) throws -> Tokenizer {
        let members = tokens.enumerated().map { "\"\($0.element)\": \($0.offset)" }
        try folder.write("{" + members.joined(separator: ", ") + "}", to: "\(name)/vocab.json")
        try folder.write("#version: 0.2\n", to: "\(name)/merges.txt")
        return try Tokenizer.load(folder.path(name))
    }

    private static let tokens = (0..<149).map { "t\($0)" }

    /// A head of this many rows, filled by a function of row and column.
    private func head(_ rows: Int, width: Int = 6, on device: Device, _ value: (Int, Int) -> Float) throws -> (
        OutputHead, Parameter
    ) {
        let numbers = (0..<(rows * width)).map { value($0 / width, $0 % width) }
        let (weight, leaf) = try Tensor.variable(numbers, [rows, width], on: device)
        return (try OutputHead(weight: weight), leaf)
    }

    private func wave(_ a: Int, _ b: Int) -> Float { Float((a * 31 + b * 17) % 23) * 0.1 - 1.1 }

    @Test("heads of 160 and 152 rows over 149 tokens are the loss over 149 classes", arguments: TestBackend.available)
    func padded(_ backend: TestBackend) throws {
        let device = try backend.device()
        let shared = try SharedVocabulary(
            student: tokenizer(Self.tokens, "a"), teacher: tokenizer(Self.tokens, "b"))
        #expect(shared.studentIDs == Array(0..<149) && shared.teacherIDs == shared.studentIDs)
        let x = try Tensor((0..<60).map { wave($0, 3) * 2 }, [10, 6], on: device)
        let labels = try device.compute.view((0..<10).map { Int32($0 * 16) }, [10], .i32)
        let op = Divergence(.forwardKL, temperature: 2, softWeight: 2, hardWeight: 0.5, scale: 0.1)
        var results: [(loss: Float, gradient: [Float])] = []
        for (ours, theirs) in [(149, 149), (160, 152), (152, 160), (149, 160)] {
            // Rows beyond the vocabulary are loud: a softmax that saw them would be another.
            let (student, leaf) = try head(ours, on: device) { $0 < 149 ? wave($0, $1) : 40 }
            let (teacher, _) = try head(theirs, on: device) { $0 < 149 ? wave($1 + 5, $0) : -35 }
            let loss = try x.chunkedDivergence(
                op, head: shared.studentHead(student), teacher: HeadLogits(x, shared.teacherHead(teacher)),
                labels: labels, chunk: .rows(4))
            try loss.total.backward()
            let gradient = try leaf.gradientValues()
            #expect(gradient.dropFirst(149 * 6).allSatisfy { $0 == 0 })
            results.append((try loss.total.item(), Array(gradient.prefix(149 * 6))))
        }
        for result in results {
            #expect(result.loss == results[0].loss)
            #expect(result.gradient == results[0].gradient)
        }
        let (short, _) = try head(148, on: device, wave)
        #expect(throws: TensorError.self) { try shared.studentHead(short) }
    }

    @Test("ids in another order, and tokens of one side only", arguments: TestBackend.available)
    func permuted(_ backend: TestBackend) throws {
        let device = try backend.device()
        // The student lacks every seventh token and has some of its own; the teacher counts in another order.
        let ours = Self.tokens.filter { Int($0.dropFirst())! % 7 != 3 } + ["own1", "own2"]
        let theirs = (0..<149).map { Self.tokens[$0 * 38 % 149] } + ["their1"]
        let shared = try SharedVocabulary(student: tokenizer(ours, "a"), teacher: tokenizer(theirs, "b"))
        #expect(shared.count == ours.count - 2)
        for (a, b) in zip(shared.studentIDs, shared.teacherIDs) { #expect(ours[Int(a)] == theirs[Int(b)]) }

        let x = try Tensor((0..<60).map { wave($0, 3) * 2 }, [10, 6], on: device)
        let op = Divergence(.reverseKL, temperature: 2, scale: 0.1)
        let (student, leaf) = try head(160, on: device) { wave($0, $1) }
        let (teacher, _) = try head(152, on: device) { wave($1 + 5, $0) }
        let loss = try x.chunkedDivergence(
            op, head: shared.studentHead(student), teacher: HeadLogits(x, shared.teacherHead(teacher)), chunk: .rows(4))
        try loss.total.backward()

        // The same from logits whose columns were put in order on the host.
        func columns(_ head: OutputHead, _ ids: [Int32]) throws -> Tensor {
            let logits = try head.logits(x).values()
            let width = head.classes
            let numbers = (0..<10).flatMap { r in ids.map { logits[r * width + Int($0)] } }
            return try Tensor(numbers, [10, ids.count], on: device)
        }
        let dense = try columns(student, shared.studentIDs).divergence(
            op, teacher: columns(teacher, shared.teacherIDs).view)
        expectClose([try loss.total.item()], [Double(try dense.total.item())], absolute: 1e-7, relative: 1e-5)
        let gradient = try leaf.gradientValues()
        let unused = Set(0..<160).subtracting(shared.studentIDs.map(Int.init))
        for row in unused { #expect(gradient[(row * 6)..<(row * 6 + 6)].allSatisfy { $0 == 0 }) }
        #expect(gradient.contains { $0 != 0 })
    }

    @Test("labels and ids; what the teacher does not know has no place")
    func labels() throws {
        let shared = try SharedVocabulary(
            student: tokenizer(["a", "b", "own", "c"], "a"), teacher: tokenizer(["c", "x", "b", "a"], "b"))
        #expect(shared.studentIDs == [0, 1, 3] && shared.teacherIDs == [3, 2, 0])
        #expect(shared.labels([3, -100, 0, 2, 1, 4, -1]) == [2, -100, 0, -100, 1, -100, -100])
        #expect([0, 1, 2, 3, 4].map { shared.teacherID(of: $0) } == [3, 2, nil, 0, nil])
        #expect((0..<5).map { shared.knows(teacherID: $0) } == [true, false, true, true, false])
    }

    @Test("tokens are the same by what they write: spellings that differ in bytes are not, those of other kinds can be")
    func written() throws {
        // é as one scalar and as two: equal for Swift's strings.
        let shared = try SharedVocabulary(
            student: tokenizer(["a", "\u{e9}"], "a"), teacher: tokenizer(["a", "e\u{301}"], "b"))
        #expect(shared.count == 1)
        #expect(try SharedVocabulary(student: tokenizer(["a"], "a"), teacher: tokenizer(["b"], "b")).count == 0)
        // WordPiece's "the" writes " the", as byte-level BPE's "Ġthe" does.
        let pieces = try Tokenizer.load(TokenizerFixtures.folder + "/bert-cased")
        let ids = try pieces.encode("the", addSpecialTokens: false).ids
        let across = try SharedVocabulary(student: tokenizer(["the", "\u{120}the"], "c"), teacher: pieces)
        #expect(across.studentIDs.contains(1) == (ids.count == 1) && across.teacherID(of: 1) == ids.first)
        // "</s>" ends texts in one and has no role in the other.
        let marks = try SharedVocabulary(student: TinyTokenizer.make(), teacher: TinyTokenizer.make(settings: [:]))
        #expect(marks.count == 260 && marks.teacherID(of: 303) == 303)
        // A byte's token and the letter write the same: each is its own.
        let llama = try Tokenizer.load(TokenizerFixtures.folder + "/stories260K")
        let itself = try SharedVocabulary(student: llama, teacher: llama)
        #expect(itself.studentIDs == itself.teacherIDs && itself.count == llama.vocabularySize)
    }

    @Test("Qwen2's tokenizer with itself, and with GPT-2's", .enabled(if: TokenizerFixtures.data != nil))
    func published() throws {
        let folder = try #require(TokenizerFixtures.data) + "/tokenizers/"
        let (qwen, gpt) = (try Tokenizer.load(folder + "qwen2"), try Tokenizer.load(folder + "gpt2"))
        let same = try SharedVocabulary(student: qwen, teacher: qwen)
        #expect(same.studentIDs == same.teacherIDs && same.count == qwen.vocabularySize)
        let both = try SharedVocabulary(student: gpt, teacher: qwen)
        #expect(both.count > 40_000)
        let hello = try gpt.encode("Hello world").ids
        #expect(try qwen.decode(hello.compactMap { both.teacherID(of: $0) }) == "Hello world")
    }
}
