import RetortSupport

extension RetortError {
    /// A recipe's error gets a place where it has none.
    static func placed<T>(at location: Location?, _ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch var error as RetortError where error.exit == .recipe && error.location == nil {
            error.location = location
            throw error
        }
    }

    /// Exit 78: a section has several keys of which it is to have one, or none of them.
    /// - Parameter whose: the section in words: "the teacher".
    static func notOne(of keys: [String], _ whose: String, _ node: RecipeNode) -> RetortError {
        let given = keys.filter { node[$0] != nil }
        guard given.count > 1 else {
            let all = keys.count == 2 ? "either \(keys[0]) or \(keys[1])" : "one of " + keys.joined(separator: ", ")
            return .recipe("\(whose) needs \(all)", at: node.location)
        }
        return .recipe(
            "\(whose) has both \(given.joined(separator: " and "))", at: node[given[1]]?.location ?? node.location,
            help: "keep one of them")
    }
}
