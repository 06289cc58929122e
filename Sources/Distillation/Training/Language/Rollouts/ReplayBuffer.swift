import RetortRuntime
import RetortSupport

/// Texts that the student wrote, the newest of them.
struct ReplayBuffer {
    private var texts: [RolloutText] = []
    let capacity: Int
    /// Where the next text goes once it is full.
    private var next = 0

    init(capacity: Int) { self.capacity = capacity }

    var count: Int { texts.count }
    var isFull: Bool { texts.count == capacity }

    mutating func add(_ new: [RolloutText]) {
        for text in new {
            if isFull { texts[next] = text } else { texts.append(text) }
            next = (next + 1) % capacity
        }
    }

    /// Some of them, each at most once.
    func sample(_ count: Int, _ random: Philox) -> [RolloutText] {
        random.permutation(texts.count).prefix(count).map { texts[Int($0)] }
    }
}

extension ReplayBuffer {
    var state: JSON { ["texts": .array(texts.map(\.state)), "next": .int(next)] }

    /// - Throws: `RetortError` 65.
    init(capacity: Int, state: JSONCursor) throws {
        self.init(capacity: capacity)
        texts = try state.member("texts").elements().map(RolloutText.init(state:))
        next = try state.member("next").int(in: 0...max(0, capacity - 1))
        guard texts.count <= capacity else { throw state.failure("more texts than the buffer holds") }
    }
}
