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
}
