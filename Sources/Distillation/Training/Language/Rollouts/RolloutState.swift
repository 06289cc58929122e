import RetortSupport

extension RolloutText {
    /// With all that is known of it, exactly.
    var state: JSON {
        func numbers(_ values: [Float]) -> JSON { .array(values.map { .double(Double($0)) }) }
        func tokens(_ ids: [Int32]) -> JSON { .array(ids.map { .int(Int($0)) }) }
        var members: [(key: String, value: JSON)] = [
            ("prompt", tokens(prompt)), ("answer", tokens(answer)), ("teachers", .bool(isTeachers)),
        ]
        if let signals {
            members += [
                ("student", numbers(signals.student)), ("teacher", numbers(signals.teacher)),
                ("importance", numbers(signals.importance)),
            ]
        }
        return .object(members)
    }

    /// - Throws: `RetortError` 65.
    init(state: JSONCursor) throws {
        func numbers(_ key: String) throws -> [Float] {
            try state.member(key).elements().map { Float(try $0.double(allowingNonFinite: true)) }
        }
        func tokens(_ key: String) throws -> [Int32] {
            try state.member(key).elements().map { Int32(try $0.int(in: 0...Int(Int32.max))) }
        }
        self.init(
            prompt: try tokens("prompt"), answer: try tokens("answer"), isTeachers: try state.member("teachers").bool())
        guard try state.optional("student") != nil else { return }
        signals = Signals(
            student: try numbers("student"), teacher: try numbers("teacher"), importance: try numbers("importance"))
        let counts = [signals?.student.count, signals?.teacher.count, signals?.importance.count]
        guard counts.allSatisfy({ $0 == answer.count }) else {
            throw state.failure("a text of \(answer.count) tokens with what is known of another number")
        }
    }
}
