import RetortSupport

/// Reads `{"token": id, …}` and vocab.txt.
enum VocabularyReader {
    /// - Throws: `RetortError` 65.
    static func read(_ cursor: JSONCursor) throws -> Vocabulary {
        let object = try cursor.object()
        guard object.count <= Vocabulary.Limit.size else {
            throw cursor.failure("it has more than \(Vocabulary.Limit.size) tokens, the limit")
        }
        var vocabulary = Vocabulary(capacity: object.count)
        for member in object.members {
            guard case .int(let id) = member.value else {
                throw try cursor.member(member.key).failure("an id is a whole number")
            }
            do throws(Vocabulary.Refusal) {
                try vocabulary.add(member.key, id: id)
            } catch {
                throw try cursor.member(member.key).failure(why(error, id: id))
            }
        }
        return vocabulary
    }

    /// One token a line, its id the line's number from 0.
    /// - Throws: `RetortError` 65, 66.
    static func readLines(_ path: String) throws -> Vocabulary {
        let file = try TextLines(path)
        var vocabulary = Vocabulary(capacity: file.count)
        for index in 0..<file.count {
            do throws(Vocabulary.Refusal) {
                try vocabulary.add(file.text(index), id: index)
            } catch {
                throw file.failure(index, why(error, id: index))
            }
        }
        return vocabulary
    }

    static func why(_ refusal: Vocabulary.Refusal, id: Int) -> String {
        switch refusal {
        case .idOutOfRange: "the id \(id) is outside the allowed range, 0 to \(Vocabulary.Limit.size - 1)"
        case .tooLong: "a token may have \(Vocabulary.Limit.tokenBytes) bytes, and all together 2 GiB"
        case .idTaken(let other): "the id \(id) belongs to \(other.quoted()) already"
        case .tokenTaken(let other): "the token is there already, with the id \(other)"
        }
    }
}
